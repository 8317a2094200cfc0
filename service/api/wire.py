"""Records of classifiers -> JSON, and embeddings as they are written."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from service.api.shapes.base import ImageSeen, JsonObject
from service.api.shapes.base import etag as etag
from service.api.shapes.base import number_of as number_of
from service.api.shapes.base import read_cursor as read_cursor
from service.api.shapes.base import version_of as version_of
from service.api.shapes.base import write_cursor as write_cursor
from service.api.shapes.filter_shapes import FilterBody
from service.api.shapes.scan_shapes import ScanAnswer
from service.catalog.records import ClassifierVersion, Scan, ScanFilter, VersionExample
from service.classifiers.examples import Example, labels_of
from service.classifiers.fitting import MULTI
from service.embedding.pipeline import EmbeddedImage
from service.gallery.acceptance import image_of

Floats: TypeAlias = npt.NDArray[np.float32]


def seen_json(embedded: EmbeddedImage) -> JsonObject:
    """What was read of an uploaded file."""
    return ImageSeen.of(image_of(embedded)).to_json()


def scan_json(scan: Scan, *, dim: int) -> JsonObject:
    """A stored scan as clients see it."""
    return ScanAnswer.of(scan, dim).to_json()


def scan_filter(body: FilterBody) -> ScanFilter:
    """As the gallery filters."""
    return body.where()


def is_calibrated(version: ClassifierVersion) -> bool:
    """Whether its probabilities are, of every label; its report says why not."""
    if version.kind == MULTI:
        parts = version.report.get("per_label", {}).values()
        return bool(parts) and all(p.get("calibration", {}).get("calibrated") for p in parts)
    return bool(version.report.get("calibration", {}).get("calibrated", False))


def reference_json(example: Example | VersionExample) -> JsonObject:
    """Which example it is; ``collection`` and ``scan_id`` are null for an upload."""
    collection, scan_id = example.scan or (None, None)
    return {"example_id": example.example_id, "collection": collection, "scan_id": scan_id}


def label_json(label: str | None, kind: str) -> JsonObject:
    """``label`` of a single-label classifier's example, ``labels`` of a multi-label one's."""
    if kind == MULTI:
        return {"label": None, "labels": sorted(labels_of(label or "[]"))}
    return {"label": label, "labels": None}


def page_json(items: list[JsonObject], kind: str, after: str | None) -> JsonObject:
    """One page of a list."""
    return {"items": items, "next_cursor": write_cursor(kind, after)}


def batch_status(items: Sequence[Mapping[str, Any]]) -> int:
    """200 when every item succeeded, 207 otherwise."""
    return 207 if any("problem" in item for item in items) else 200

"""Records -> JSON, and the small conventions of the wire: cursors, ETags, embeddings."""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, date, datetime
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from service.api.looking import analysis_json
from service.api.schemas import AttributeTest, FilterBody, JsonObject, Presence, TimeRange
from service.catalog.records import (
    Collection,
    Range,
    Scan,
    ScanFilter,
    ScanImage,
)
from service.embedding.pipeline import EmbeddedImage
from service.embedding.pooling import index_and_region
from service.errors import InputError, InvalidCursor
from service.gallery.frame_search import BestFrame

Floats: TypeAlias = npt.NDArray[np.float32]
INT8_SCALE = 127.0
_IMAGE_FACTS = [field.name for field in fields(ScanImage) if field.name != "analysis"]


def collection_json(collection: Collection) -> JsonObject:
    """As clients see it."""
    return {
        "name": collection.name,
        "description": collection.description,
        "encoder_id": collection.encoder_id,
        "dim": collection.dim,
        "scans": collection.scans,
        "keep_images": collection.keep_images,
        "retention_days": collection.retention_days,
        "intake": {"refuse_burned_in": None, "refuse_quality": []} | dict(collection.intake),
        "created_at": collection.created_at,
        "etag": etag(collection.version),
    }


def image_json(image: ScanImage) -> JsonObject:
    """Facts of the file and what was seen in it."""
    facts = {name: getattr(image, name) for name in _IMAGE_FACTS}
    return facts | dict(image.analysis)


def seen_json(embedded: EmbeddedImage) -> JsonObject:
    """What was looked at, before anything is stored."""
    return image_json(scan_image(embedded))


def scan_image(embedded: EmbeddedImage) -> ScanImage:
    """Facts of an uploaded file."""
    return ScanImage(
        sha256=embedded.sha256,
        kind=embedded.info.kind,
        format=embedded.format,
        width_px=embedded.width_px,
        height_px=embedded.height_px,
        content_sha256=embedded.content_sha256,
        frames=embedded.info.frames_in_file,
        frames_used=embedded.frames_used,
        frame_rate_hz=embedded.info.frame_rate_hz,
        regions_used=embedded.regions_used,
        analysis=analysis_json(embedded),
    )


def frame_json(frame: BestFrame | None, image: ScanImage) -> JsonObject | None:
    """The nearest frame of a cine, or region of a frame; None for a still of one region."""
    if frame is None:
        return None
    index, region = index_and_region(frame.place, image.regions_used)
    return {"index": index, "region": region, "time_s": frame.time_s, "score": frame.score}


def scan_json(scan: Scan, *, dim: int) -> JsonObject:
    """As clients see it; row ids and vectors stay inside."""
    return {
        "scan_id": scan.scan_id,
        "collection": scan.collection,
        "subject_id": scan.subject_id,
        "study_id": scan.study_id,
        "labels": dict(scan.labels),
        "attributes": dict(scan.attributes),
        "encoder_id": scan.encoder_id,
        "dim": dim,
        "image": image_json(scan.image),
        "created_at": scan.created_at,
        "updated_at": scan.updated_at,
        "etag": etag(scan.version),
    }


def embedding_json(embedding_D: Floats, encoding_format: str, dtype: str) -> Any:
    """Numbers, or base64 of little-endian values; int8 is the value x 127, rounded."""
    if dtype == "int8":
        values = np.rint(np.clip(embedding_D, -1, 1) * INT8_SCALE).astype(np.int8)
    else:
        values = embedding_D.astype({"float32": "<f4", "float16": "<f2"}[dtype])
    if encoding_format == "base64":
        return base64.b64encode(values.tobytes()).decode("ascii")
    return values.tolist()


def scan_filter(body: FilterBody) -> ScanFilter:
    """A single value means a list of one."""
    tests = {n: v for n, v in body.attributes.items() if isinstance(v, AttributeTest)}
    values = {n: _many(v) for n, v in body.attributes.items() if n not in tests}
    asked = {n: v.any_of for n, v in tests.items() if v.any_of}
    refused = [ScanFilter(attributes={n: tuple(v.none_of)}) for n, v in tests.items() if v.none_of]
    spans = {n: Range(v.gte, v.lte, v.gt, v.lt) for n, v in tests.items()}
    return ScanFilter(
        labels={n: _many(v) for n, v in body.labels.items() if not isinstance(v, Presence)},
        attributes=values | {n: tuple(v) for n, v in asked.items()},
        subject_ids=_given(body.subject_id),
        study_ids=_given(body.study_id),
        not_subject_ids=_given(body.not_subject_id),
        not_study_ids=_given(body.not_study_id),
        label_presence={n: v.exists for n, v in body.labels.items() if isinstance(v, Presence)},
        attribute_presence={n: v.exists for n, v in tests.items() if v.exists is not None},
        attribute_ranges={n: span for n, span in spans.items() if span != Range()},
        has_subject=_known(body.subject_id),
        has_study=_known(body.study_id),
        created=_span(body.created_at),
        updated=_span(body.updated_at),
        all_of=tuple(scan_filter(inner) for inner in body.all_of or ()),
        any_of=tuple(scan_filter(inner) for inner in body.any_of or ()),
        none_of=(*refused, *((scan_filter(body.none_of),) if body.none_of else ())),
    )


def _many(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list) else (value,)


def _given(value: Any) -> tuple[Any, ...]:
    return () if value is None or isinstance(value, Presence) else _many(value)


def _known(value: Any) -> bool | None:
    return value.exists if isinstance(value, Presence) else None


def _span(times: TimeRange | None) -> Range:
    if times is None:
        return Range()
    return Range(_moment(times.gte), _moment(times.lte), _moment(times.gt), _moment(times.lt))


def _moment(said: date | datetime | None) -> str | None:
    """As the catalog writes times: its text sorts by time."""
    if said is None:
        return None
    moment = said if isinstance(said, datetime) else datetime(said.year, said.month, said.day)
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    try:
        utc = aware.astimezone(UTC)
    except OverflowError as error:
        raise InputError("expected a time between the years 1 and 9999") from error
    return utc.isoformat(timespec="microseconds").replace("+00:00", "Z")


def etag(version: int) -> str:
    """Strong entity tag of a version."""
    return f'"{version}"'


def version_of(if_match: str | None) -> int | None:
    """The version that an If-Match header names; None for ``*`` or no header.

    Raises:
        InputError: not one of our entity tags.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    text = if_match.strip().strip('"')
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise InputError("expected If-Match to hold one ETag of this service")
    return int(text)


def write_cursor(kind: str, after: str | None) -> str | None:
    """An opaque cursor of the list ``kind``; None on the last page."""
    if after is None:
        return None
    text = json.dumps([kind, after], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode("ascii")


def read_cursor(kind: str, cursor: str | None) -> str | None:
    """Where the list goes on. Raises InvalidCursor: not a cursor of this list."""
    if cursor is None:
        return None
    try:
        found = json.loads(base64.urlsafe_b64decode(cursor.encode("ascii")))
    except (binascii.Error, ValueError) as error:
        raise InvalidCursor("expected a cursor that this service gave") from error
    if not (isinstance(found, list) and len(found) == 2 and found[0] == kind):
        raise InvalidCursor("expected a cursor of this list")
    if not isinstance(found[1], str):
        raise InvalidCursor("expected a cursor that this service gave")
    return found[1]


def page_json(items: list[JsonObject], kind: str, after: str | None) -> JsonObject:
    """One page of a list."""
    return {"items": items, "next_cursor": write_cursor(kind, after)}


def batch_status(items: Sequence[Mapping[str, Any]]) -> int:
    """200 when every item succeeded, 207 otherwise."""
    return 207 if any("problem" in item for item in items) else 200


def number_of(text: str) -> int:
    """What a cursor over numbers holds. Raises InvalidCursor."""
    # The length goes first: int() refuses texts of many thousand digits with a ValueError.
    if len(text) < 16 and text.isascii() and text.isdecimal():
        return int(text)
    raise InvalidCursor("expected a cursor that this service gave")

"""The client's calls that predict."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, Unpack

from service.client.request_parts import JsonObject, files, given, part


class PredictOptions(TypedDict, total=False):
    """What a prediction may be asked for.

    Attributes:
        version: a number, ``published`` or ``latest``; the published version if left out.
        heatmap: ``array`` or ``png``.
        thresholds: label -> probability at which it is called.
        cine: the images are frames of one cine, in order: ``cine`` answers for all of them.
        region: ``auto``, ``none`` or ``x0,y0,x1,y1``.
    """

    version: int | str | None
    coverage: float | None
    nearest: int | None
    heatmap: str | None
    heatmap_label: str | None
    thresholds: Mapping[str, float] | None
    cine: bool
    region: str | None


class PredictingCalls(ABC):
    """A part of ``Client``, which sends what this asks for."""

    @abstractmethod
    def _json(self, method: str, path: str, **options: Any) -> JsonObject:
        """Send, and decode the answer."""

    def predict(
        self, name: str, images: Sequence[bytes], **options: Unpack[PredictOptions]
    ) -> JsonObject:
        """POST .../predict; one item per image."""
        return self._json("POST", _path(name), files=files(images), params=_query(options))

    def predict_scans(
        self, name: str, collection: str, scan_ids: Sequence[str], **options: Unpack[PredictOptions]
    ) -> JsonObject:
        """POST .../predict for stored scans, which have no heat map."""
        body = {"collection": collection, "scan_ids": list(scan_ids)}
        return self._json("POST", _path(name), json=body, params=_query(options))


def _path(name: str) -> str:
    return f"/v1/classifiers/{part(name)}/predict"


def _query(options: PredictOptions) -> JsonObject:
    """The options as query parameters; those left out or None take the service's defaults."""
    thresholds = options.get("thresholds") or {}
    query = given(**{key: value for key, value in options.items() if key != "thresholds"})
    if thresholds:
        query["threshold"] = [f"{label}:{value!r}" for label, value in thresholds.items()]
    return query

"""The client's calls that predict."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from service.client.request_parts import JsonObject, files, given, part


class PredictingCalls(ABC):
    """A part of ``Client``, which sends what this asks for."""

    @abstractmethod
    def _json(self, method: str, path: str, **options: Any) -> JsonObject:
        """Send, and decode the answer."""

    def predict(
        self,
        name: str,
        images: Sequence[bytes],
        *,
        version: int | None = None,
        coverage: float | None = None,
        nearest: int | None = None,
        heatmap: str | None = None,
        heatmap_label: str | None = None,
        thresholds: Mapping[str, float] | None = None,
        cine: bool = False,
        region: str | None = None,
    ) -> JsonObject:
        """POST .../predict; one item per image; the published version unless one is named.

        Args:
            heatmap: ``array`` or ``png``.
            thresholds: class -> probability at which it is called.
            cine: the images are frames of one cine, in order: ``cine`` answers for all.
            region: ``auto``, ``none`` or ``x0,y0,x1,y1``.
        """
        path = f"/v1/classifiers/{part(name)}/predict"
        asked = given(version=version, coverage=coverage, nearest=nearest)
        asked |= _predicting(thresholds, cine)
        asked |= given(heatmap=heatmap, heatmap_label=heatmap_label, region=region)
        return self._json("POST", path, files=files(images), params=asked)

    def predict_scans(
        self,
        name: str,
        collection: str,
        scan_ids: Sequence[str],
        *,
        version: int | None = None,
        coverage: float | None = None,
        nearest: int | None = None,
        thresholds: Mapping[str, float] | None = None,
        cine: bool = False,
    ) -> JsonObject:
        """POST .../predict for stored scans."""
        body = {"collection": collection, "scan_ids": list(scan_ids)}
        asked = given(version=version, coverage=coverage, nearest=nearest)
        asked |= _predicting(thresholds, cine)
        return self._json("POST", f"/v1/classifiers/{part(name)}/predict", json=body, params=asked)


def _predicting(thresholds: Mapping[str, float] | None, cine: bool) -> JsonObject:
    asked: JsonObject = {"cine": True} if cine else {}
    if thresholds:
        asked["threshold"] = [f"{label}:{value!r}" for label, value in thresholds.items()]
    return asked

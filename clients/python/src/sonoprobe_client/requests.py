"""Parts of requests: paths, forms, queries."""

import json
from collections.abc import Generator, Mapping, Sequence
from typing import Any, TypeAlias, TypedDict
from urllib.parse import quote

import httpx

JsonObject: TypeAlias = dict[str, Any]


class PredictOptions(TypedDict, total=False):
    """Options of a prediction.

    Attributes:
        version: a number, ``published`` or ``latest``; the published version if left out.
        heatmap: ``array`` or ``png``.
        thresholds: label -> probability at which it is called.
        cine: the images are frames of one cine, in order: ``cine`` answers for all of them.
        region: ``auto``, ``none`` or ``x0,y0,x1,y1``.
        accuracy: ``high`` or ``standard``; left out, the one for which the version was fitted.
    """

    version: int | str | None
    coverage: float | None
    nearest: int | None
    heatmap: str | None
    heatmap_label: str | None
    thresholds: Mapping[str, float] | None
    cine: bool
    region: str | None
    accuracy: str | None


def prediction_query(options: PredictOptions) -> JsonObject:
    """The options as query parameters; those left out or None take the service's defaults."""
    thresholds = options.get("thresholds") or {}
    query = without_none({key: value for key, value in options.items() if key != "thresholds"})
    if thresholds:
        query["threshold"] = [f"{label}:{value!r}" for label, value in thresholds.items()]
    return query


class KeyOfNow(httpx.Auth):
    """An API key or a token, or a function that gives the one of now."""

    def __init__(self, key: Any) -> None:
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Called by httpx for each request."""
        key = self._key() if callable(self._key) else self._key
        request.headers["Authorization"] = f"Bearer {key}"
        yield request


def files(images: Sequence[bytes]) -> list[tuple[str, tuple[str, bytes]]]:
    """Form parts under neutral names: a file name may name a patient."""
    return [("files", (f"image-{index}", data)) for index, data in enumerate(images)]


def json_part(name: str, document: Any) -> dict[str, str]:
    """A form part that holds JSON; nothing for None."""
    return {} if document is None else {name: json.dumps(document)}


def part(text: str) -> str:
    """One step of a path; an id may hold any character."""
    return quote(text, safe="")


def collection_path(collection: str, scan_id: str | None = None) -> str:
    """Path of a collection, or of one of its scans."""
    path = f"/v1/collections/{part(collection)}"
    return path if scan_id is None else f"{path}/scans/{part(scan_id)}"


def classifier_path(name: str, version: int | str | None = None) -> str:
    """Path of a classifier, or of one of its versions."""
    path = f"/v1/classifiers/{part(name)}"
    return path if version is None else f"{path}/versions/{part(str(version))}"


def without_none(values: Mapping[str, Any]) -> JsonObject:
    """The entries that have a value."""
    return {name: value for name, value in values.items() if value is not None}

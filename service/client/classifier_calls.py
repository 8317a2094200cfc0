"""The client's calls of classifiers: fit, change, publish, evaluate, review, export."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import httpx

from service.client.request_parts import JsonObject, files, given, match, once, options, part


class ClassifierCalls(ABC):
    """A part of ``Client``; a version is its number, ``published`` or ``latest``."""

    @abstractmethod
    def request(self, method: str, path: str, **sent: Any) -> httpx.Response:
        """Send."""

    @abstractmethod
    def _json(self, method: str, path: str, **sent: Any) -> JsonObject:
        """Send, and decode the answer."""

    @abstractmethod
    def _pages(self, path: str, params: JsonObject) -> Iterator[JsonObject]:
        """Items of all pages."""

    def fit(
        self, body: JsonObject, *, idempotency_key: str | None = None, respond_async: bool = False
    ) -> JsonObject:
        """POST /v1/classifiers from stored scans: ``task`` or ``examples`` of a collection.

        With ``respond_async`` the answer is an operation to ``wait`` for.
        """
        headers = once(idempotency_key)
        headers |= {"Prefer": "respond-async"} if respond_async else {}
        return self._json("POST", "/v1/classifiers", json=body, headers=headers)

    def fit_images(
        self,
        name: str,
        images: Sequence[bytes],
        examples: Sequence[Mapping[str, Any]],
        *,
        fields: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> JsonObject:
        """POST /v1/classifiers from uploads; one ``{"label": ...}`` per image.

        ``fields``: ``kind``, ``class_weights``, ``counted``, ``thresholds``; a multi-label example
        is ``{"labels": [...]}``. Examples with a ``scan_id`` are stored scans and have no image.
        """
        body = {**(fields or {}), "name": name, "examples": list(examples)}
        headers = once(idempotency_key)
        return self._post_labelled("/v1/classifiers", body, images, headers=headers)

    def classifiers(self) -> Iterator[JsonObject]:
        """GET /v1/classifiers, all pages."""
        return self._pages("/v1/classifiers", {})

    def classifier(self, name: str) -> JsonObject:
        """GET /v1/classifiers/{name}."""
        return self._json("GET", _path(name))

    def publish(self, name: str, number: int, *, if_match: str | None = None) -> JsonObject:
        """PATCH /v1/classifiers/{name}: let this version predict; an earlier one rolls back."""
        body = {"published_version": number}
        return self._json("PATCH", _path(name), json=body, headers=match(if_match))

    def delete_classifier(self, name: str, *, if_match: str | None = None) -> JsonObject:
        """DELETE /v1/classifiers/{name}."""
        return self._json("DELETE", _path(name), headers=match(if_match))

    def import_classifier(
        self, name: str, classifier: JsonObject, *, idempotency_key: str | None = None
    ) -> JsonObject:
        """POST /v1/classifiers/import of what ``export`` gave."""
        body = {"name": name, "classifier": classifier}
        headers = once(idempotency_key)
        return self._json("POST", "/v1/classifiers/import", json=body, headers=headers)

    # versions -----------------------------------------------------------------------------

    def versions(self, name: str) -> Iterator[JsonObject]:
        """GET .../versions, all pages, newest first."""
        return self._pages(f"{_path(name)}/versions", {})

    def version(self, name: str, version: int | str) -> JsonObject:
        """GET .../versions/{version}."""
        return self._json("GET", _path(name, version))

    def version_examples(self, name: str, version: int | str) -> Iterator[JsonObject]:
        """GET .../versions/{version}/examples, all pages."""
        return self._pages(f"{_path(name, version)}/examples", {})

    def change_examples(
        self,
        name: str,
        changes: JsonObject,
        *,
        images: Sequence[bytes] = (),
        version: int | str = "latest",
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> JsonObject:
        """POST .../versions/{version}/examples: add ``examples``, ``relabel``, ``drop``.

        With ``images``, ``changes`` holds one ``{"label": ...}`` per image in ``examples``.
        """
        headers = once(idempotency_key) | match(if_match)
        path = f"{_path(name, version)}/examples"
        return self._post_labelled(path, changes, images, headers=headers)

    def export(self, name: str, *, version: int | str = "published") -> JsonObject:
        """GET .../versions/{version}/export as JSON, for ``import_classifier``."""
        return self._json("GET", f"{_path(name, version)}/export")

    def export_onnx(self, name: str, *, version: int | str = "published") -> bytes:
        """GET .../export as ONNX: ``embedding`` (N, D) to ``probabilities`` (N, C)."""
        path = f"{_path(name, version)}/export"
        return self.request("GET", path, params={"format": "onnx"}).content

    # evaluation ---------------------------------------------------------------------------

    def evaluate(
        self,
        name: str,
        body: JsonObject,
        *,
        images: Sequence[bytes] = (),
        version: int | str | None = None,
    ) -> JsonObject:
        """POST .../evaluate; with ``images``, ``body`` holds ``examples``, one per image."""
        params = given(version=version)
        return self._post_labelled(f"{_path(name)}/evaluate", body, images, params=params)

    def compare(self, name: str, version: int | str, other: int | str) -> JsonObject:
        """GET .../versions/{version}/compare: two versions on the examples that both have."""
        return self._json("GET", f"{_path(name, version)}/compare", params={"with": other})

    def review(
        self,
        name: str,
        kind: Literal["next", "suspect", "conflict"],
        *,
        collection: str | None = None,
        tasks: Sequence[str] = (),
        version: int | str | None = None,
        limit: int | None = None,
    ) -> JsonObject:
        """GET .../review: labels to give next (of ``collection``), doubtful or contradicting."""
        asked = given(kind=kind, collection=collection, version=version, limit=limit)
        return self._json("GET", f"{_path(name)}/review", params=asked | {"task": list(tasks)})

    def agreement(self, collection: str, task: str, other_task: str) -> JsonObject:
        """POST /v1/collections/{collection}/agreement of two label tasks."""
        path, body = f"/v1/collections/{part(collection)}/agreement", {"task": task}
        return self._json("POST", path, json=body | {"other_task": other_task})

    def set_thresholds(
        self,
        name: str,
        body: JsonObject,
        *,
        version: int | str = "published",
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> JsonObject:
        """POST .../thresholds: ``thresholds`` by value, sensitivity or specificity."""
        headers = once(idempotency_key) | match(if_match)
        return self._json("POST", f"{_path(name, version)}/thresholds", json=body, headers=headers)

    def thresholds(
        self,
        name: str,
        *,
        labels: Sequence[str] = (),
        version: int | str = "published",
        **target: float,
    ) -> JsonObject:
        """GET .../thresholds by ``sensitivity``, ``specificity`` or ``threshold``."""
        asked: JsonObject = {**target, "label": list(labels)}
        return self._json("GET", f"{_path(name, version)}/thresholds", params=asked)

    def confusion(
        self,
        name: str,
        version: int | str = "published",
        *,
        label: str | None = None,
        actual: str | None = None,
        predicted: str | None = None,
        limit: int | None = None,
    ) -> JsonObject:
        """GET .../confusion with the examples behind each cell."""
        asked = given(label=label, actual=actual, predicted=predicted, limit=limit)
        return self._json("GET", f"{_path(name, version)}/confusion", params=asked)

    def forecast(self, name: str, version: int | str = "published") -> JsonObject:
        """GET .../forecast: what more examples would give."""
        return self._json("GET", f"{_path(name, version)}/forecast")

    def _post_labelled(
        self, path: str, body: JsonObject, images: Sequence[bytes], **sent: Any
    ) -> JsonObject:
        if not images:
            return self._json("POST", path, json=body, **sent)
        return self._json("POST", path, files=files(images), data=options(body), **sent)


def _path(name: str, version: int | str | None = None) -> str:
    path = f"/v1/classifiers/{part(name)}"
    return path if version is None else f"{path}/versions/{part(str(version))}"

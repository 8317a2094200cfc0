"""The calls about versions of classifiers: examples, thresholds, comparison, export."""

import base64
from collections.abc import AsyncIterator, Sequence
from typing import Any

from sonoprobe_client.asynchronous.classifier_calls import AsyncClassifierCalls
from sonoprobe_client.batches import Images
from sonoprobe_client.bodies import ExampleChangesBody, ThresholdsBody
from sonoprobe_client.models import (
    ComparisonAnswer,
    ConfusionAnswer,
    ExampleAnswer,
    ForecastAnswer,
    ThresholdsAnswer,
    VersionAnswer,
)
from sonoprobe_client.requests import JsonObject, classifier_path, without_none


class AsyncVersionCalls(AsyncClassifierCalls):
    """The part for versions of classifiers."""

    def versions(self, name: str) -> AsyncIterator[VersionAnswer]:
        """GET .../versions, all pages, newest first."""
        return self._pages(VersionAnswer, f"{classifier_path(name)}/versions")

    async def version(self, name: str, version: int | str) -> VersionAnswer:
        """GET .../versions/{version}."""
        return self._read(VersionAnswer, await self._json("GET", classifier_path(name, version)))

    def version_examples(self, name: str, version: int | str) -> AsyncIterator[ExampleAnswer]:
        """GET .../versions/{version}/examples, all pages."""
        return self._pages(ExampleAnswer, f"{classifier_path(name, version)}/examples")

    async def change_examples(
        self,
        name: str,
        changes: ExampleChangesBody,
        *,
        images: Images = (),
        version: int | str = "latest",
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> VersionAnswer:
        """POST .../versions/{version}/examples: add ``examples``, ``relabel``, ``drop``.

        With ``images``, ``changes`` holds one ``{"label": ...}`` per image in ``examples``.
        """
        path, key = f"{classifier_path(name, version)}/examples", self._repeatable(idempotency_key)
        request: JsonObject = {"if_match": if_match, "idempotency_key": key}
        return self._read(VersionAnswer, await self._post(path, changes, images, **request))

    async def export(self, name: str, *, version: int | str = "published") -> dict[str, Any]:
        """GET .../versions/{version}/export as JSON, for ``import_classifier``."""
        return await self._json("GET", f"{classifier_path(name, version)}/export")

    async def export_onnx(self, name: str, *, version: int | str = "published") -> bytes:
        """GET .../export as ONNX: ``embedding`` (N, D) to ``probabilities`` (N, C)."""
        path = f"{classifier_path(name, version)}/export"
        return (await self.request("GET", path, params={"format": "onnx"})).content

    async def export_signed_onnx(
        self, name: str, *, version: int | str = "published"
    ) -> tuple[bytes, bytes]:
        """GET .../export as ONNX, and its Ed25519 signature (64 bytes)."""
        path = f"{classifier_path(name, version)}/export"
        answer = await self.request("GET", path, params={"format": "onnx"})
        return answer.content, base64.b64decode(answer.headers["Signature-Ed25519"])

    async def compare(self, name: str, version: int | str, other: int | str) -> ComparisonAnswer:
        """GET .../versions/{version}/compare: two versions on the examples that both have."""
        path = f"{classifier_path(name, version)}/compare"
        answer = await self._json("GET", path, params={"with": other})
        return self._read(ComparisonAnswer, answer)

    async def set_thresholds(
        self,
        name: str,
        body: ThresholdsBody,
        *,
        version: int | str = "published",
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> VersionAnswer:
        """POST .../thresholds: ``thresholds`` by value, sensitivity or specificity."""
        path = f"{classifier_path(name, version)}/thresholds"
        key = self._repeatable(idempotency_key)
        request: JsonObject = {"if_match": if_match, "idempotency_key": key}
        return self._read(VersionAnswer, await self._json("POST", path, json=body, **request))

    async def thresholds(
        self,
        name: str,
        *,
        labels: Sequence[str] = (),
        version: int | str = "published",
        **target: float,
    ) -> ThresholdsAnswer:
        """GET .../thresholds by ``sensitivity``, ``specificity`` or ``threshold``."""
        params: JsonObject = {**target, "label": list(labels)}
        path = f"{classifier_path(name, version)}/thresholds"
        return self._read(ThresholdsAnswer, await self._json("GET", path, params=params))

    async def confusion(
        self,
        name: str,
        version: int | str = "published",
        *,
        label: str | None = None,
        actual: str | None = None,
        predicted: str | None = None,
        limit: int | None = None,
    ) -> ConfusionAnswer:
        """GET .../confusion with the examples behind each cell."""
        params = {"label": label, "actual": actual, "predicted": predicted, "limit": limit}
        path = f"{classifier_path(name, version)}/confusion"
        answer = await self._json("GET", path, params=without_none(params))
        return self._read(ConfusionAnswer, answer)

    async def forecast(self, name: str, version: int | str = "published") -> ForecastAnswer:
        """GET .../forecast: the accuracy to expect from more examples."""
        path = f"{classifier_path(name, version)}/forecast"
        return self._read(ForecastAnswer, await self._json("GET", path))

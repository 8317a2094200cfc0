"""The calls about classifiers: fit, predict, evaluate, review, publish, monitor."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal, Unpack, overload

from sonoprobe_client.asynchronous.transport import AsyncTransport
from sonoprobe_client.batches import MAX_FILES, Batch, ImageQueue, Images, OnProgress
from sonoprobe_client.bodies import (
    EvaluationBody,
    LabelledExample,
    NewClassifierBody,
    OutcomeBody,
    RefitBody,
)
from sonoprobe_client.models import (
    ClassifierAnswer,
    Deleted,
    EvaluationAnswer,
    MonitorAnswer,
    OperationAnswer,
    OutcomesStored,
    PredictionsAnswer,
    ReviewAnswer,
    VersionAnswer,
)
from sonoprobe_client.requests import (
    JsonObject,
    PredictOptions,
    classifier_path,
    files,
    json_part,
    prediction_query,
    without_none,
)


class AsyncClassifierCalls(AsyncTransport):
    """The part for classifiers. A version: a number, ``published`` or ``latest``."""

    @overload
    async def fit(
        self,
        body: NewClassifierBody,
        *,
        idempotency_key: str | None = None,
        respond_async: Literal[False] = False,
    ) -> ClassifierAnswer: ...

    @overload
    async def fit(
        self,
        body: NewClassifierBody,
        *,
        idempotency_key: str | None = None,
        respond_async: Literal[True],
    ) -> OperationAnswer: ...

    async def fit(
        self,
        body: NewClassifierBody,
        *,
        idempotency_key: str | None = None,
        respond_async: bool = False,
    ) -> ClassifierAnswer | OperationAnswer:
        """POST /v1/classifiers from stored scans: ``task`` or ``examples`` of a collection.

        ``unlabelled``: ``{"collection": ..., "filter": ...}``, scans that take part without a
        label where that helps. With ``respond_async`` the answer is an operation to ``wait`` for.
        """
        answer = await self._json(
            "POST",
            "/v1/classifiers",
            json=body,
            idempotency_key=self._repeatable(idempotency_key),
            prefer="respond-async" if respond_async else None,
        )
        if respond_async:
            return self._read(OperationAnswer, answer)
        return self._read(ClassifierAnswer, answer)

    async def fit_images(
        self,
        name: str,
        images: Images,
        examples: Sequence[LabelledExample],
        *,
        fields: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> ClassifierAnswer:
        """POST /v1/classifiers from uploads; one ``{"label": ...}`` per image, all in one request.

        ``fields``: ``kind``, ``class_weights``, ``counted``, ``thresholds``, ``unlabelled``,
        ``views``; a multi-label example is ``{"labels": [...]}``. Examples with a ``scan_id`` are
        stored scans and have no image.
        """
        body = {**(fields or {}), "name": name, "examples": list(examples)}
        key = self._repeatable(idempotency_key)
        answer = await self._post("/v1/classifiers", body, images, idempotency_key=key)
        return self._read(ClassifierAnswer, answer)

    def classifiers(self) -> AsyncIterator[ClassifierAnswer]:
        """GET /v1/classifiers, all pages."""
        return self._pages(ClassifierAnswer, "/v1/classifiers")

    async def classifier(self, name: str) -> ClassifierAnswer:
        """GET /v1/classifiers/{name}."""
        return self._read(ClassifierAnswer, await self._json("GET", classifier_path(name)))

    @overload
    async def refit(
        self,
        name: str,
        body: RefitBody | None = None,
        *,
        if_match: str | None = None,
        idempotency_key: str | None = None,
        respond_async: Literal[False] = False,
    ) -> VersionAnswer: ...

    @overload
    async def refit(
        self,
        name: str,
        body: RefitBody | None = None,
        *,
        if_match: str | None = None,
        idempotency_key: str | None = None,
        respond_async: Literal[True],
    ) -> OperationAnswer: ...

    async def refit(
        self,
        name: str,
        body: RefitBody | None = None,
        *,
        if_match: str | None = None,
        idempotency_key: str | None = None,
        respond_async: bool = False,
    ) -> VersionAnswer | OperationAnswer:
        """POST .../refit: a new version from the labels that its source has now.

        ``body``: ``version``, ``publish``, options of the fit, or another source by ``collection``
        and ``task``. With ``respond_async`` the answer is an operation to ``wait`` for.
        """
        answer = await self._json(
            "POST",
            f"{classifier_path(name)}/refit",
            json=body or {},
            if_match=if_match,
            idempotency_key=self._repeatable(idempotency_key),
            prefer="respond-async" if respond_async else None,
        )
        if respond_async:
            return self._read(OperationAnswer, answer)
        return self._read(VersionAnswer, answer)

    async def publish(
        self, name: str, number: int, *, if_match: str | None = None
    ) -> ClassifierAnswer:
        """PATCH /v1/classifiers/{name}: let this version predict; an earlier one rolls back."""
        body, path = {"published_version": number}, classifier_path(name)
        answer = await self._json("PATCH", path, json=body, if_match=if_match)
        return self._read(ClassifierAnswer, answer)

    async def delete_classifier(self, name: str, *, if_match: str | None = None) -> Deleted:
        """DELETE /v1/classifiers/{name}."""
        answer = await self._json("DELETE", classifier_path(name), if_match=if_match)
        return self._read(Deleted, answer)

    async def import_classifier(
        self, name: str, classifier: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> ClassifierAnswer:
        """POST /v1/classifiers/import of what ``export`` returned."""
        body, path = {"name": name, "classifier": classifier}, "/v1/classifiers/import"
        key = self._repeatable(idempotency_key)
        answer = await self._json("POST", path, json=body, idempotency_key=key)
        return self._read(ClassifierAnswer, answer)

    # predictions --------------------------------------------------------------------------

    async def predict(
        self,
        name: str,
        images: Images,
        *,
        on_progress: OnProgress | None = None,
        **options: Unpack[PredictOptions],
    ) -> PredictionsAnswer:
        """POST .../predict; one item per image.

        Several requests ask the version that answered the first one. The frames of a ``cine`` go in
        one request.
        """
        path, query = f"{classifier_path(name)}/predict", prediction_query(options)

        async def send(batch: Batch) -> JsonObject:
            answer = await self._json("POST", path, files=files(batch.images), params=query)
            query["version"] = answer["version"]
            return answer

        max_files = None if options.get("cine") else MAX_FILES
        answer = await self._in_batches(ImageQueue(images), send, on_progress, max_files)
        return self._read(PredictionsAnswer, answer)

    async def predict_scans(
        self, name: str, collection: str, scan_ids: Sequence[str], **options: Unpack[PredictOptions]
    ) -> PredictionsAnswer:
        """POST .../predict for stored scans; heat maps need a collection that keeps images."""
        body = {"collection": collection, "scan_ids": list(scan_ids)}
        path, query = f"{classifier_path(name)}/predict", prediction_query(options)
        answer = await self._json("POST", path, json=body, params=query)
        return self._read(PredictionsAnswer, answer)

    async def evaluate(
        self,
        name: str,
        body: EvaluationBody,
        *,
        images: Images = (),
        version: int | str | None = None,
    ) -> EvaluationAnswer:
        """POST .../evaluate; with ``images``, ``body`` holds ``examples``, one per image."""
        params, path = without_none({"version": version}), f"{classifier_path(name)}/evaluate"
        answer = await self._post(path, body, images, params=params)
        return self._read(EvaluationAnswer, answer)

    async def review(
        self,
        name: str,
        kind: Literal["next", "suspect", "conflict"],
        *,
        collection: str | None = None,
        tasks: Sequence[str] = (),
        version: int | str | None = None,
        limit: int | None = None,
    ) -> ReviewAnswer:
        """GET .../review: labels to give next (in ``collection``), doubtful or contradicting."""
        params: JsonObject = {"kind": kind, "collection": collection, "task": list(tasks)}
        params = without_none(params | {"version": version, "limit": limit})
        path = f"{classifier_path(name)}/review"
        return self._read(ReviewAnswer, await self._json("GET", path, params=params))

    # in use -------------------------------------------------------------------------------

    async def monitor(self, name: str, version: int | str | None = None) -> MonitorAnswer:
        """GET .../monitor: what a version answers in use, against its labelled examples."""
        params, path = without_none({"version": version}), f"{classifier_path(name)}/monitor"
        return self._read(MonitorAnswer, await self._json("GET", path, params=params))

    async def put_outcomes(
        self, name: str, outcomes: Sequence[OutcomeBody], *, idempotency_key: str | None = None
    ) -> OutcomesStored:
        """POST .../outcomes: what predictions turned out to be; ``outcome_of`` makes them."""
        body, path = {"outcomes": list(outcomes)}, f"{classifier_path(name)}/outcomes"
        key = self._repeatable(idempotency_key)
        answer = await self._json("POST", path, json=body, idempotency_key=key)
        return self._read(OutcomesStored, answer)

    async def _post(
        self, path: str, body: Mapping[str, Any], images: Images, **request: Any
    ) -> JsonObject:
        """Send JSON, or a form when there are images."""
        images = list(images)
        if not images:
            return await self._json("POST", path, json=body, **request)
        return await self._upload(path, images, json_part("options", body), **request)

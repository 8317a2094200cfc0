"""The client's calls about classifiers: fit, change, predict, evaluate, review, export."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypedDict, Unpack

from sonoprobe_client.transport import JsonObject, Transport, files, json_part, part, without_none


class PredictOptions(TypedDict, total=False):
    """Options of a prediction.

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


class ClassifierCalls(Transport):
    """The part for classifiers. A version: a number, ``published`` or ``latest``."""

    def fit(
        self, body: JsonObject, *, idempotency_key: str | None = None, respond_async: bool = False
    ) -> JsonObject:
        """POST /v1/classifiers from stored scans: ``task`` or ``examples`` of a collection.

        ``unlabelled``: ``{"collection": ..., "filter": ...}``, scans that take part without a
        label where that helps. With ``respond_async`` the answer is an operation to ``wait`` for.
        """
        return self._json(
            "POST",
            "/v1/classifiers",
            json=body,
            idempotency_key=idempotency_key,
            prefer="respond-async" if respond_async else None,
        )

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

        ``fields``: ``kind``, ``class_weights``, ``counted``, ``thresholds``, ``unlabelled``; a
        multi-label example is ``{"labels": [...]}``. Examples with a ``scan_id`` are stored scans
        and have no image.
        """
        body = {**(fields or {}), "name": name, "examples": list(examples)}
        return self._post("/v1/classifiers", body, images, idempotency_key=idempotency_key)

    def classifiers(self) -> Iterator[JsonObject]:
        """GET /v1/classifiers, all pages."""
        return self._pages("/v1/classifiers")

    def classifier(self, name: str) -> JsonObject:
        """GET /v1/classifiers/{name}."""
        return self._json("GET", _path(name))

    def monitor(self, name: str, version: int | str | None = None) -> JsonObject:
        """GET .../monitor: what a version answers in use, against its labelled examples."""
        params = without_none({"version": version})
        return self._json("GET", f"{_path(name)}/monitor", params=params)

    def put_outcomes(
        self, name: str, outcomes: Sequence[JsonObject], *, idempotency_key: str | None = None
    ) -> JsonObject:
        """POST .../outcomes: what predictions turned out to be; ``outcome_of`` makes them."""
        body = {"outcomes": list(outcomes)}
        path = f"{_path(name)}/outcomes"
        return self._json("POST", path, json=body, idempotency_key=idempotency_key)

    def refit(
        self,
        name: str,
        body: JsonObject | None = None,
        *,
        if_match: str | None = None,
        idempotency_key: str | None = None,
        respond_async: bool = False,
    ) -> JsonObject:
        """POST .../refit: a new version from the labels that its source has now.

        ``body``: ``version``, ``publish``, options of the fit, or another source by ``collection``
        and ``task``. With ``respond_async`` the answer is an operation to ``wait`` for.
        """
        return self._json(
            "POST",
            f"{_path(name)}/refit",
            json=body or {},
            if_match=if_match,
            idempotency_key=idempotency_key,
            prefer="respond-async" if respond_async else None,
        )

    def publish(self, name: str, number: int, *, if_match: str | None = None) -> JsonObject:
        """PATCH /v1/classifiers/{name}: let this version predict; an earlier one rolls back."""
        body = {"published_version": number}
        return self._json("PATCH", _path(name), json=body, if_match=if_match)

    def delete_classifier(self, name: str, *, if_match: str | None = None) -> JsonObject:
        """DELETE /v1/classifiers/{name}."""
        return self._json("DELETE", _path(name), if_match=if_match)

    def import_classifier(
        self, name: str, classifier: JsonObject, *, idempotency_key: str | None = None
    ) -> JsonObject:
        """POST /v1/classifiers/import of what ``export`` returned."""
        body = {"name": name, "classifier": classifier}
        path = "/v1/classifiers/import"
        return self._json("POST", path, json=body, idempotency_key=idempotency_key)

    # predictions --------------------------------------------------------------------------

    def predict(
        self, name: str, images: Sequence[bytes], **options: Unpack[PredictOptions]
    ) -> JsonObject:
        """POST .../predict; one item per image."""
        path = f"{_path(name)}/predict"
        return self._json("POST", path, files=files(images), params=_query(options))

    def predict_scans(
        self, name: str, collection: str, scan_ids: Sequence[str], **options: Unpack[PredictOptions]
    ) -> JsonObject:
        """POST .../predict for stored scans; heat maps need a collection that keeps images."""
        body = {"collection": collection, "scan_ids": list(scan_ids)}
        return self._json("POST", f"{_path(name)}/predict", json=body, params=_query(options))

    # versions -----------------------------------------------------------------------------

    def versions(self, name: str) -> Iterator[JsonObject]:
        """GET .../versions, all pages, newest first."""
        return self._pages(f"{_path(name)}/versions")

    def version(self, name: str, version: int | str) -> JsonObject:
        """GET .../versions/{version}."""
        return self._json("GET", _path(name, version))

    def version_examples(self, name: str, version: int | str) -> Iterator[JsonObject]:
        """GET .../versions/{version}/examples, all pages."""
        return self._pages(f"{_path(name, version)}/examples")

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
        path = f"{_path(name, version)}/examples"
        return self._post(path, changes, images, if_match=if_match, idempotency_key=idempotency_key)

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
        params = without_none({"version": version})
        return self._post(f"{_path(name)}/evaluate", body, images, params=params)

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
        """GET .../review: labels to give next (in ``collection``), doubtful or contradicting."""
        params: JsonObject = {"kind": kind, "collection": collection, "task": list(tasks)}
        params |= {"version": version, "limit": limit}
        return self._json("GET", f"{_path(name)}/review", params=without_none(params))

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
        path = f"{_path(name, version)}/thresholds"
        return self._json(
            "POST", path, json=body, if_match=if_match, idempotency_key=idempotency_key
        )

    def thresholds(
        self,
        name: str,
        *,
        labels: Sequence[str] = (),
        version: int | str = "published",
        **target: float,
    ) -> JsonObject:
        """GET .../thresholds by ``sensitivity``, ``specificity`` or ``threshold``."""
        params: JsonObject = {**target, "label": list(labels)}
        return self._json("GET", f"{_path(name, version)}/thresholds", params=params)

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
        params = {"label": label, "actual": actual, "predicted": predicted, "limit": limit}
        path = f"{_path(name, version)}/confusion"
        return self._json("GET", path, params=without_none(params))

    def forecast(self, name: str, version: int | str = "published") -> JsonObject:
        """GET .../forecast: the accuracy to expect from more examples."""
        return self._json("GET", f"{_path(name, version)}/forecast")

    def _post(
        self, path: str, body: JsonObject, images: Sequence[bytes], **request: Any
    ) -> JsonObject:
        """Send JSON, or a form when there are images."""
        if not images:
            return self._json("POST", path, json=body, **request)
        form = json_part("options", body)
        return self._json("POST", path, files=files(images), data=form, **request)


def outcome_of(
    answer: JsonObject, item: JsonObject, actual: Sequence[str], *, patient: str | None = None
) -> JsonObject:
    """An outcome for ``put_outcomes``.

    Args:
        answer: of ``predict_images`` or ``predict_scans``.
        item: one of its items, or its ``cine``.
        actual: the true class, or the labels that are present.
        patient: a keyed digest, or the subject_id of the stored scans.
    """
    return without_none(
        {
            "prediction_id": item["prediction_id"],
            "version": answer["version"],
            "probabilities": {o["label"]: o["probability"] for o in item["outputs"]},
            "abstained": item["decision"] == "abstained",
            "actual": list(actual),
            "patient": patient,
        }
    )


def _path(name: str, version: int | str | None = None) -> str:
    path = f"/v1/classifiers/{part(name)}"
    return path if version is None else f"{path}/versions/{part(str(version))}"


def _query(options: PredictOptions) -> JsonObject:
    """The options as query parameters; those left out or None take the service's defaults."""
    thresholds = options.get("thresholds") or {}
    query = without_none({key: value for key, value in options.items() if key != "thresholds"})
    if thresholds:
        query["threshold"] = [f"{label}:{value!r}" for label, value in thresholds.items()]
    return query

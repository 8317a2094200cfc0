"""Typed client of the HTTP API: one method per route, plain dictionaries back.

Shape suffixes: N images, D embedding width.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeAlias

import httpx

from service.client.classifier_calls import ClassifierCalls
from service.client.lifecycle_calls import LifeCalls
from service.client.prediction_calls import PredictingCalls
from service.client.request_parts import files as _files
from service.client.request_parts import given as _given
from service.client.request_parts import match as _match
from service.client.request_parts import metadata as _metadata
from service.client.request_parts import once as _once
from service.client.request_parts import part as _part
from service.client.search_calls import SearchCalls

JsonObject: TypeAlias = dict[str, Any]
TIMEOUT_S = 120.0


class ApiError(Exception):
    """The service answered with a problem document.

    Attributes:
        status: HTTP status.
        code: from the closed list in ``docs/errors.md``.
        retry_after_s: when the service asked to come back later.
    """

    def __init__(self, problem: JsonObject, retry_after_s: float | None = None) -> None:
        self.status = int(problem.get("status", 0))
        self.code = str(problem.get("code", "unknown"))
        self.request_id = str(problem.get("request_id", ""))
        self.retry_after_s = retry_after_s
        super().__init__(f"{self.code} ({self.status}): {problem.get('detail', '')}")


class Client(LifeCalls, ClassifierCalls, PredictingCalls, SearchCalls):
    """Talks to one service with one API key. Use as a context manager."""

    def __init__(
        self,
        base_url: str,
        *,
        key: str | None = None,
        timeout_s: float = TIMEOUT_S,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # The service is named by its caller; a proxy of the environment must not see patients.
        self._http = httpx.Client(
            base_url=base_url,
            headers=headers,
            timeout=timeout_s,
            transport=transport,
            trust_env=False,
        )

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the connections."""
        self._http.close()

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Any call; raises ApiError for a problem document or another failure."""
        response = self._http.request(method, path, **options)
        if response.is_success:
            return response
        try:
            problem = response.json()
        except ValueError:
            problem = {}
        if not isinstance(problem, dict) or "code" not in problem:
            problem = {"status": response.status_code, "code": "unknown", "detail": "no problem"}
        after = response.headers.get("retry-after", "")
        raise ApiError(problem, float(after) if after.isdigit() else None)

    def _json(self, method: str, path: str, **options: Any) -> JsonObject:
        found: JsonObject = self.request(method, path, **options).json()
        return found

    # health and encoder -------------------------------------------------------------------

    def live(self) -> JsonObject:
        """GET /health/live."""
        return self._json("GET", "/health/live")

    def ready(self) -> JsonObject:
        """GET /health/ready; ApiError 503 while it is not."""
        return self._json("GET", "/health/ready")

    def metrics(self) -> str:
        """GET /metrics, Prometheus text."""
        return self.request("GET", "/metrics").text

    def encoder(self) -> JsonObject:
        """GET /v1/encoder: manifest and model card."""
        return self._json("GET", "/v1/encoder")

    def embed(
        self,
        images: Sequence[bytes],
        *,
        encoding_format: str = "float",
        dtype: str = "float32",
        frames: str | None = None,
        region: str | None = None,
        pool: str = "mean",
    ) -> JsonObject:
        """POST /v1/embeddings; one item per file, each with ``embedding`` or ``problem``."""
        options = _given(
            encoding_format=encoding_format, dtype=dtype, pool=pool, frames=frames, region=region
        )
        return self._json("POST", "/v1/embeddings", files=_files(images), params=options)

    # collections --------------------------------------------------------------------------

    def create_collection(
        self,
        name: str,
        *,
        description: str = "",
        keep_images: bool = False,
        retention_days: float | None = None,
        intake: JsonObject | None = None,
        idempotency_key: str | None = None,
    ) -> JsonObject:
        """POST /v1/collections; ``intake`` names what it refuses."""
        body: JsonObject = {"name": name, "description": description, "keep_images": keep_images}
        body |= {"retention_days": retention_days, "intake": intake or {}}
        return self._json("POST", "/v1/collections", json=body, headers=_once(idempotency_key))

    def collections(self) -> Iterator[JsonObject]:
        """GET /v1/collections, all pages."""
        return self._pages("/v1/collections", {})

    def collection(self, name: str) -> JsonObject:
        """GET /v1/collections/{name}."""
        return self._json("GET", f"/v1/collections/{_part(name)}")

    def delete_collection(self, name: str, *, if_match: str | None = None) -> JsonObject:
        """DELETE /v1/collections/{name}."""
        return self._json("DELETE", f"/v1/collections/{_part(name)}", headers=_match(if_match))

    # scans --------------------------------------------------------------------------------

    def add_scans(
        self,
        collection: str,
        images: Sequence[bytes],
        metadata: Sequence[Mapping[str, Any]] | None = None,
        *,
        frames: str | None = None,
        region: str | None = None,
        idempotency_key: str | None = None,
    ) -> JsonObject:
        """POST .../scans; one item per file, each with ``scan`` or ``problem``."""
        return self._json(
            "POST",
            f"/v1/collections/{_part(collection)}/scans",
            files=_files(images),
            data=_metadata(None if metadata is None else list(metadata)),
            params=_given(frames=frames, region=region),
            headers=_once(idempotency_key),
        )

    def known(self, collection: str, sha256s: Sequence[str]) -> dict[str, str]:
        """POST .../known: {sha256: scan_id} of files that need not be sent again."""
        path = f"/v1/collections/{_part(collection)}/known"
        found: dict[str, str] = self._json("POST", path, json=list(sha256s))["known"]
        return found

    def scans(
        self,
        collection: str,
        *,
        label: Sequence[str] = (),
        subject_id: str | None = None,
        study_id: str | None = None,
        attribute: Sequence[str] = (),
        where: JsonObject | None = None,
    ) -> Iterator[JsonObject]:
        """GET .../scans, all pages; ``label`` holds task:class, ``attribute`` name:value.

        ``where`` is a filter as of searches.
        """
        asked: JsonObject = {"label": list(label), "subject_id": subject_id, "study_id": study_id}
        asked["filter"] = None if where is None else json.dumps(where)
        asked["attribute"] = list(attribute)
        given = {name: value for name, value in asked.items() if value}
        return self._pages(f"/v1/collections/{_part(collection)}/scans", given)

    def scan(self, collection: str, scan_id: str) -> JsonObject:
        """GET .../scans/{scan_id}."""
        return self._json("GET", f"/v1/collections/{_part(collection)}/scans/{_part(scan_id)}")

    def thumbnail(self, collection: str, scan_id: str) -> bytes:
        """GET .../scans/{scan_id}/thumbnail, JPEG."""
        path = f"/v1/collections/{_part(collection)}/scans/{_part(scan_id)}/thumbnail"
        return self.request("GET", path).content

    def patch_scan(
        self, collection: str, scan_id: str, changes: JsonObject, *, if_match: str | None = None
    ) -> JsonObject:
        """PATCH .../scans/{scan_id}; null removes a label or attribute."""
        path = f"/v1/collections/{_part(collection)}/scans/{_part(scan_id)}"
        return self._json("PATCH", path, json=changes, headers=_match(if_match))

    def delete_scan(
        self, collection: str, scan_id: str, *, if_match: str | None = None, refit: bool = False
    ) -> JsonObject:
        """DELETE .../scans/{scan_id}; names the classifiers that learnt from it."""
        path = f"/v1/collections/{_part(collection)}/scans/{_part(scan_id)}"
        return self._json("DELETE", path, headers=_match(if_match), params={"refit": refit})

    def erase_subject(self, subject_id: str, *, refit: bool = False) -> JsonObject:
        """DELETE /v1/subjects/{subject_id}; returns the receipt."""
        path = f"/v1/subjects/{_part(subject_id)}"
        return self._json("DELETE", path, params={"refit": refit})

    # search -------------------------------------------------------------------------------

    def search(self, collection: str, query: JsonObject) -> JsonObject:
        """POST .../search by ``scan_id``, ``vector`` or ``positive`` and ``negative``."""
        return self._json("POST", f"/v1/collections/{_part(collection)}/search", json=query)

    def search_image(
        self, collection: str, image: bytes, options: JsonObject | None = None
    ) -> JsonObject:
        """POST .../search by an uploaded image."""
        return self._json(
            "POST",
            f"/v1/collections/{_part(collection)}/search",
            files=_files([image]),
            data=_metadata(options),
        )

    def _pages(self, path: str, params: JsonObject) -> Iterator[JsonObject]:
        cursor: str | None = None
        while True:
            asked = params | ({"cursor": cursor} if cursor else {})
            page = self._json("GET", path, params=asked)
            yield from page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

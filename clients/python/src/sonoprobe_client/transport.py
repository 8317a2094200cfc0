"""How the client sends requests, reads answers and walks through pages."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Self, TypeAlias
from urllib.parse import quote

import httpx

JsonObject: TypeAlias = dict[str, Any]
TIMEOUT_S = 120.0


class ApiError(Exception):
    """The service answered with a problem document.

    Attributes:
        status: HTTP status.
        code: from the closed list in ``docs/errors.md``.
        retry_after_s: when the service asked to come back later.
        problem: the whole document.
    """

    def __init__(self, problem: JsonObject, retry_after_s: float | None = None) -> None:
        self.status = int(problem.get("status", 0))
        self.code = str(problem.get("code", "unknown"))
        self.request_id = str(problem.get("request_id", ""))
        self.retry_after_s = retry_after_s
        self.problem = problem
        super().__init__(f"{self.code} ({self.status}): {problem.get('detail', '')}")


class Transport:
    """The connection of one client to one service."""

    def __init__(
        self,
        base_url: str,
        *,
        key: str | None = None,
        timeout_s: float = TIMEOUT_S,
        transport: httpx.BaseTransport | None = None,
        login: httpx.Auth | None = None,
    ) -> None:
        # The caller names the service; a proxy from the environment must not see patients.
        self._http = httpx.Client(
            base_url=base_url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            auth=login,
            timeout=timeout_s,
            transport=transport,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the connections."""
        self._http.close()

    def request(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Send any request. Raises ApiError for a problem document or another failure."""
        response = self._http.request(method, path, **request)
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

    def _json(
        self,
        method: str,
        path: str,
        *,
        if_match: str | None = None,
        idempotency_key: str | None = None,
        prefer: str | None = None,
        **request: Any,
    ) -> JsonObject:
        headers = {"If-Match": if_match, "Idempotency-Key": idempotency_key, "Prefer": prefer}
        answer: JsonObject = self.request(
            method, path, headers=without_none(headers), **request
        ).json()
        return answer

    def _pages(self, path: str, params: JsonObject | None = None) -> Iterator[JsonObject]:
        params = dict(params or {})
        while True:
            page = self._json("GET", path, params=params)
            yield from page["items"]
            if page["next_cursor"] is None:
                return
            params["cursor"] = page["next_cursor"]


def files(images: Sequence[bytes]) -> list[tuple[str, tuple[str, bytes]]]:
    """Form parts under neutral names: a file name may name a patient."""
    return [("files", (f"image-{index}", data)) for index, data in enumerate(images)]


def json_part(name: str, document: Any) -> dict[str, str]:
    """A form part that holds JSON; nothing for None."""
    return {} if document is None else {name: json.dumps(document)}


def part(text: str) -> str:
    """One step of a path; an id may hold any character."""
    return quote(text, safe="")


def without_none(values: JsonObject) -> JsonObject:
    """The entries that have a value."""
    return {name: value for name, value in values.items() if value is not None}

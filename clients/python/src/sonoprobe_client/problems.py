"""What can go wrong.

SonoprobeError
├── ApiError            the service answered with a problem document
│   ├── NotSignedIn     401
│   ├── Forbidden       403
│   ├── NotFound        404
│   ├── Conflict        409
│   ├── ChangedSince    412: the resource is not the one of ``if_match`` any more
│   ├── Refused         every other 4xx
│   ├── Busy            429 and 503: the same request may succeed later
│   └── ServiceFailed   every other 5xx
├── NoAnswer            no connection, or a broken one
├── ItemsError          some items of a batch failed
├── OperationFailed     an operation ended with a problem, or was cancelled
└── LoginFailed         the identity provider gave no access token
"""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx

BUSY = frozenset({429, 503})


class SonoprobeError(Exception):
    """Everything that the client raises by itself."""


class ApiError(SonoprobeError):
    """The service answered with a problem document.

    Attributes:
        status: HTTP status.
        code: from the closed list in ``docs/errors.md``; ``not_a_problem_document`` for the answer
            of a proxy, for example.
        request_id: stands in the log of the service too.
        retry_after_s: when the service asked to come back later.
        problem: the whole document.
    """

    def __init__(self, problem: Mapping[str, Any], retry_after_s: float | None = None) -> None:
        self.status = int(problem.get("status", 0))
        self.code = str(problem.get("code", "unknown"))
        self.request_id = str(problem.get("request_id", ""))
        self.retry_after_s = retry_after_s
        self.problem = dict(problem)
        super().__init__(f"{self.code} ({self.status}): {problem.get('detail', '')}")


class NotSignedIn(ApiError):
    """401: the key or token is missing, unknown or expired."""


class Forbidden(ApiError):
    """403: the key may not do this."""


class NotFound(ApiError):
    """404: there is no such thing in the workspace."""


class Conflict(ApiError):
    """409: it exists already, or does not fit to what is stored."""


class ChangedSince(ApiError):
    """412: it was changed since ``if_match`` was read."""


class Refused(ApiError):
    """Another 4xx: the request is not what the service accepts."""


class Busy(ApiError):
    """429 and 503: the same request may succeed after ``retry_after_s``."""


class ServiceFailed(ApiError):
    """Another 5xx: the service could not do it."""


class NoAnswer(SonoprobeError):
    """No connection to the service, or one that broke; the cause is the error of httpx."""


class ItemsError(SonoprobeError):
    """Some items of a batch failed; the others were answered.

    Attributes:
        failed: position in the batch -> problem document.
    """

    def __init__(self, failed: Mapping[int, Mapping[str, Any]], total: int) -> None:
        self.failed = {position: dict(problem) for position, problem in failed.items()}
        first = next(iter(self.failed.values()), {})
        super().__init__(f"{len(self.failed)} of {total} items failed; the first: {_reason(first)}")


class OperationFailed(SonoprobeError):
    """An operation failed or was cancelled.

    Attributes:
        operation: the whole document.
    """

    def __init__(self, operation: Mapping[str, Any]) -> None:
        self.operation = dict(operation)
        problem = operation.get("problem") or {}
        self.code = str(problem.get("code", operation.get("state", "unknown")))
        super().__init__(
            f"the {operation.get('kind')} {operation.get('state')}: {_reason(problem)}"
        )


class LoginFailed(SonoprobeError):
    """The identity provider gave no access token; the message has its reason."""


_KINDS: dict[int, type[ApiError]] = {
    401: NotSignedIn,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: ChangedSince,
}


def error_of(response: httpx.Response) -> ApiError:
    """The error for an answer without success, or one that is none of the service."""
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    if not _is_problem(problem):
        detail = f"the answer has status {response.status_code} and is no problem document"
        problem = {"status": response.status_code, "code": "not_a_problem_document"}
        problem["detail"] = detail
    return api_error(problem, retry_after_s(response), status=response.status_code)


def _is_problem(document: object) -> bool:
    """Whether it is the service's; other programs have a ``code`` and a ``status`` too."""
    if not isinstance(document, dict) or not isinstance(document.get("code"), str):
        return False
    return isinstance(document.get("status"), int)


def api_error(
    problem: Mapping[str, Any], after_s: float | None = None, *, status: int | None = None
) -> ApiError:
    """The error of the kind that its status says."""
    code = int(problem.get("status", 0)) if status is None else status
    kind = _KINDS.get(code)
    if kind is None:
        kind = Busy if code in BUSY else Refused if 400 <= code < 500 else ServiceFailed
    return kind(problem, after_s)


def retry_after_s(response: httpx.Response) -> float | None:
    """Seconds that the service asks to wait; None = it does not."""
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdigit() else None


def failed_items(items: Sequence[Mapping[str, Any]]) -> dict[int, Mapping[str, Any]]:
    """Position -> problem of the items that failed."""
    return {at: item["problem"] for at, item in enumerate(items) if item.get("problem")}


def _reason(problem: Mapping[str, Any]) -> str:
    return str(problem.get("detail") or problem.get("code") or "no reason")

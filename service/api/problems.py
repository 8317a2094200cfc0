"""Errors as HTTP answers: RFC 9457 problem documents."""

import json
import logging
import re
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.routing import Match

from service import errors
from service.api.security_headers import SECURITY_HEADERS

log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:sonoprobe:error:"  # described in docs/errors.md

STATUS: dict[type[errors.ServiceError], int] = {
    errors.ServiceError: 500,
    errors.InputError: 422,
    errors.UnsupportedFormat: 415,
    errors.FrameRefused: 422,
    errors.PolicyRefused: 422,
    errors.CorruptImage: 422,
    errors.ImageTooLarge: 413,
    errors.ClipTooLong: 413,
    errors.DecodeLimit: 413,
    errors.UploadTooLarge: 413,
    errors.TooManyItems: 413,
    errors.MalformedRequest: 400,
    errors.HostNotAllowed: 400,
    errors.RequestTimeout: 408,
    errors.HeadersTooLarge: 431,
    errors.InvalidCursor: 400,
    errors.InvalidSettings: 500,
    errors.InvalidArtifact: 422,
    errors.BrokenSignature: 422,
    errors.UntrustedSignature: 422,
    errors.ConflictingLabels: 422,
    errors.ExamplesRefused: 422,
    errors.NotEnoughExamples: 422,
    errors.Unauthenticated: 401,
    errors.InvalidToken: 401,
    errors.TooManyFailedKeys: 429,
    errors.Forbidden: 403,
    errors.MissingScope: 403,
    errors.UnknownWorkspace: 403,
    errors.RateLimited: 429,
    errors.OutsideLimits: 403,
    errors.OriginNotAllowed: 403,
    errors.WorkspaceSuspended: 403,
    errors.UnknownItem: 404,
    errors.NoThumbnail: 404,
    errors.Conflict: 409,
    errors.Erased: 409,
    errors.NameTaken: 409,
    errors.IdempotencyConflict: 409,
    errors.EncoderMismatch: 409,
    errors.ImagesNotKept: 409,
    errors.ViewsMissing: 409,
    errors.WrongAccuracy: 409,
    errors.NoLabelSource: 409,
    errors.QuotaExceeded: 409,
    errors.NothingChanged: 409,
    errors.NotSupported: 409,
    errors.PreconditionFailed: 412,
    errors.Overloaded: 503,
    errors.IdentityProviderFailure: 503,
    errors.EncoderFailure: 503,
    errors.DecoderFailure: 503,
    errors.TemporaryFolderFailure: 503,
    errors.PseudonymKeyMissing: 503,
    errors.Stopping: 503,
    errors.WorkspaceMoving: 503,
    errors.Interrupted: 503,
    errors.LeaseLost: 500,
    errors.ArtifactMismatch: 500,
    errors.CatalogFailure: 503,
    errors.FolderInUse: 503,
    errors.DamagedBackup: 503,
    errors.AuditFailure: 503,
    errors.AuditFull: 503,
    errors.AuditDiffers: 503,
    errors.IndexDamaged: 500,
}
# Fields whose keys callers choose.
_FREE_FORM = frozenset({"labels", "attributes", "tasks", "class_weights", "thresholds"})
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
MAX_RULES = 20  # in one answer; a request of a million wrong items breaks a million
MAX_DETAIL = 2000  # characters
MAX_RULE = 500
CLIENT_CLOSED = 499  # in metrics and the audit log only: nobody is left to receive it
_HTTP_CODES = {404: "not_found", 405: "method_not_allowed", 413: "upload_too_large"}


def problem(error: errors.ServiceError, request_id: str) -> dict[str, Any]:
    """The problem document of a deliberate error."""
    document = problem_document(error.code, STATUS[type(error)], str(error), request_id)
    return document | dict(error.members)


def internal_error(request_id: str) -> dict[str, Any]:
    """The problem document of a bug, without any detail of it."""
    detail = "the service failed; see the log line with this request_id"
    return problem_document("internal_error", 500, detail, request_id)


def codes_of(status: int) -> list[str]:
    """Every code of a status, the most specific first."""
    ours = [kind.code for kind, of_kind in STATUS.items() if of_kind == status]
    framework = [code for of_code, code in _HTTP_CODES.items() if of_code == status]
    others = {422: ["validation_error"], 500: ["internal_error"]}.get(status, [])
    # Base classes, an error of commands, one of workers, and one of WebSockets.
    never = {"service_error", "conflict", "forbidden", "invalid_settings", "lease_lost"}
    never |= {"origin_not_allowed"}
    return [code for code in dict.fromkeys(others + ours + framework) if code not in never]


def problem_document(code: str, status: int, detail: str, request_id: str) -> dict[str, Any]:
    """The members of an RFC 9457 problem document."""
    return {
        "type": f"{TYPE_PREFIX}{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": shortened(detail, MAX_DETAIL),
        "code": code,
        "request_id": request_id,
    }


def shortened(text: str, most: int) -> str:
    """The text, cut to ``most`` characters: no answer grows with what a request contains."""
    return text if len(text) <= most else text[: max(most - 3, 0)] + "..."


def headers_of(error: errors.ServiceError, retry_after_s: int) -> dict[str, str]:
    """The headers that belong to the status of an error."""
    status = STATUS[type(error)]
    waits = errors.TooManyFailedKeys | errors.RateLimited | errors.IdentityProviderFailure
    if isinstance(error, waits):
        return {"Retry-After": str(error.retry_after_s)}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return {"Retry-After": str(retry_after_s)}
    # RFC 6750, section 3
    if isinstance(error, errors.MissingScope):
        scope = error.members["scope"]
        return {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'}
    if isinstance(error, errors.InvalidToken):
        return {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    return {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else {}


def raw_answer(error: errors.ServiceError, *, retry_after_s: int) -> bytes:
    """A whole HTTP/1.1 answer, for a connection that is closed before there is a request."""
    status, request_id = STATUS[type(error)], f"req_{secrets.token_hex(8)}"
    body = json.dumps(problem(error, request_id)).encode()
    headers = SECURITY_HEADERS | headers_of(error, retry_after_s)
    headers |= {
        "Content-Type": MEDIA_TYPE,
        "Content-Length": str(len(body)),
        "X-Request-Id": request_id,
        "Connection": "close",
    }
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    lines += [f"{name.lower()}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def install(app: FastAPI, *, retry_after_s: int) -> None:
    """Answer every error, FastAPI's own included, with a problem document."""

    async def on_service_error(request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, errors.ServiceError):
            raise error
        if STATUS[type(error)] >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error(
                "request failed",
                extra={
                    "code": error.code,
                    "cause": type(error.__cause__).__name__,  # its text may quote data
                    "request_id": request_id_of(request),
                },
            )
        headers = headers_of(error, retry_after_s)
        return _answer(problem(error, request_id_of(request)), headers)

    async def on_http(request: Request, error: Exception) -> JSONResponse:
        # FastAPI wraps what it meets while it reads a body.
        if isinstance(error.__cause__, errors.ServiceError):
            return await on_service_error(request, error.__cause__)
        if isinstance(error.__cause__, RequestValidationError):
            return await _on_invalid(request, error.__cause__)
        return await _on_http(request, error)

    app.add_exception_handler(errors.ServiceError, on_service_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, on_http)


def request_id_of(request: HTTPConnection) -> str:
    """The id that the outermost middleware gave this request."""
    return str(request.scope.get("sonoprobe.request_id", ""))


async def _on_invalid(request: Request, error: Exception) -> JSONResponse:
    """Name the fields and rules that failed, not the values: those may be patient data."""
    if not isinstance(error, RequestValidationError):
        raise error
    failures = error.errors()
    rules = [
        {
            "where": _place(failure),
            "rule": failure["type"],
            # Pydantic puts the kind of exception before the message of our own rules.
            "says": shortened(failure["msg"].removeprefix("Value error, "), MAX_RULE),
        }
        for failure in failures[:MAX_RULES]
    ]
    lines = [f"{rule['where']}: {rule['says']}".removeprefix(": ") for rule in rules[:5]]
    more = {"more_errors": len(failures) - MAX_RULES} if len(failures) > MAX_RULES else {}
    if len(failures) > len(lines):
        lines.append(f"and {len(failures) - len(lines)} more")
    detail, request_id = "; ".join(lines), request_id_of(request)
    document = problem_document("validation_error", 422, detail, request_id)
    return _answer(document | {"errors": rules} | more)


def _place(failure: Mapping[str, Any]) -> str:
    """A dotted path; keys that callers choose are masked because they may be patient data."""
    loc = failure["loc"]
    steps = [
        "*" if parent in _FREE_FORM or not _is_plain(step) else str(step)
        for parent, step in zip((None, *loc), loc, strict=False)
    ]
    return ".".join(steps[:4])


def _is_plain(step: object) -> bool:
    """Whether a step is a position, or can be the name of a field."""
    return isinstance(step, int) or _PLAIN_NAME.fullmatch(str(step)) is not None


async def _on_http(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    status, code = status_and_code(error)
    document = problem_document(code, status, str(error.detail), request_id_of(request))
    headers = dict(error.headers or {})
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_allowed_methods(request))
    return _answer(document, headers)


def status_and_code(error: HTTPException) -> tuple[int, str]:
    """Of the answer to an exception of the framework."""
    # FastAPI answers 400 for JSON that does not parse; here that is one code, one status.
    status = 422 if error.status_code == HTTPStatus.BAD_REQUEST else error.status_code
    return status, _HTTP_CODES.get(status, "invalid_input" if status < 500 else "internal_error")


def _allowed_methods(request: Request) -> list[str]:
    """The methods of all routes of an address; Starlette names those of the first alone."""
    allowed = [
        method
        for method in ("DELETE", "GET", "PATCH", "POST", "PUT")
        for route in request.app.router.routes
        if route.matches({**request.scope, "method": method})[0] is Match.FULL
    ]
    return sorted({*allowed, *(["HEAD"] if "GET" in allowed else [])})


def _answer(document: dict[str, Any], headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(
        document, status_code=document["status"], headers=headers, media_type=MEDIA_TYPE
    )

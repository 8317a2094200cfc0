"""Errors as HTTP answers: RFC 9457 problem documents."""

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from service import errors

log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:sonoprobe:error:"  # described in docs/errors.md

STATUS: dict[type[errors.ServiceError], int] = {
    errors.ServiceError: 500,
    errors.InputError: 422,
    errors.UnsupportedFormat: 415,
    errors.FrameRefused: 422,
    errors.CorruptImage: 422,
    errors.ImageTooLarge: 413,
    errors.ClipTooLong: 413,
    errors.DecodeLimit: 413,
    errors.UploadTooLarge: 413,
    errors.TooManyItems: 413,
    errors.InvalidCursor: 400,
    errors.InvalidSettings: 500,
    errors.InvalidArtifact: 422,
    errors.ConflictingLabels: 422,
    errors.ExamplesRefused: 422,
    errors.NotEnoughExamples: 422,
    errors.Unauthenticated: 401,
    errors.UnknownItem: 404,
    errors.Conflict: 409,
    errors.NameTaken: 409,
    errors.IdempotencyConflict: 409,
    errors.EncoderMismatch: 409,
    errors.ImagesNotKept: 409,
    errors.NoLabelSource: 409,
    errors.NothingChanged: 409,
    errors.PreconditionFailed: 412,
    errors.Overloaded: 503,
    errors.EncoderFailure: 503,
    errors.DecoderFailure: 503,
    errors.TemporaryFolderFailure: 503,
    errors.Stopping: 503,
    errors.Interrupted: 503,
    errors.ArtifactMismatch: 500,
    errors.CatalogFailure: 503,
    errors.FolderInUse: 503,
    errors.DamagedBackup: 503,
    errors.IndexDamaged: 500,
}
_FREE_FORM = frozenset({"labels", "attributes"})
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
    never = {
        "service_error",
        "conflict",
        "invalid_settings",
    }  # base classes, and an error of commands
    return [code for code in dict.fromkeys(others + ours + framework) if code not in never]


def problem_document(code: str, status: int, detail: str, request_id: str) -> dict[str, Any]:
    """The members of an RFC 9457 problem document."""
    return {
        "type": f"{TYPE_PREFIX}{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
    }


def install(app: FastAPI, *, retry_after_s: int) -> None:
    """Answer every error, FastAPI's own included, with a problem document."""

    async def on_service_error(request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, errors.ServiceError):
            raise error
        status = STATUS[type(error)]
        headers = (
            {"Retry-After": str(retry_after_s)} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
        )
        if status == HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error(
                "request failed",
                extra={
                    "code": error.code,
                    "cause": type(error.__cause__).__name__,  # its text may quote data
                    "request_id": request_id_of(request),
                },
            )
        return _answer(problem(error, request_id_of(request)), headers)

    app.add_exception_handler(errors.ServiceError, on_service_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)


def request_id_of(request: Request) -> str:
    """The id that the outermost middleware gave this request."""
    return str(request.scope.get("sonoprobe.request_id", ""))


async def _on_invalid(request: Request, error: Exception) -> JSONResponse:
    """Name the fields and rules that failed, not the values: those may be patient data."""
    if not isinstance(error, RequestValidationError):
        raise error
    rules = [
        {
            "where": _place(failure["loc"]),
            "rule": failure["type"],
            # Pydantic puts the kind of exception before the message of our own rules.
            "says": failure["msg"].removeprefix("Value error, "),
        }
        for failure in error.errors()
    ]
    lines = (f"{rule['where']}: {rule['says']}".removeprefix(": ") for rule in rules[:5])
    detail, request_id = "; ".join(lines), request_id_of(request)
    document = problem_document("validation_error", 422, detail, request_id)
    return _answer(document | {"errors": rules})


def _place(loc: tuple[Any, ...]) -> str:
    """A dotted path; keys that callers choose are masked because they may be patient data."""
    steps = (
        "*" if parent in _FREE_FORM else str(step)
        for parent, step in zip((None, *loc), loc, strict=False)
    )
    return ".".join(list(steps)[:4])


async def _on_http(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    # FastAPI answers 400 for JSON that does not parse; here that is one code, one status.
    status = 422 if error.status_code == HTTPStatus.BAD_REQUEST else error.status_code
    code = _HTTP_CODES.get(status, "invalid_input" if status < 500 else "internal_error")
    document = problem_document(code, status, str(error.detail), request_id_of(request))
    return _answer(document, dict(error.headers or {}))


def _answer(document: dict[str, Any], headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(
        document, status_code=document["status"], headers=headers, media_type=MEDIA_TYPE
    )

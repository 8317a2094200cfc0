"""The entries of a request in the audit log: what is recorded, when, and of what it tells.

A write has two entries. ``begun`` is on disk before the work begins, the outcome before the answer
is sent. So a crash between leaves an entry without an outcome, and never a write without an entry.
A read has one, on disk before the answer is sent; it may be written while the answer is made, and
a second one says so if that fails. If an entry cannot be stored the request fails.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Future
from dataclasses import replace
from typing import TypeAlias

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from service.access.audit.audit_entries import (
    SERVICE_CHAIN,
    UNKNOWN,
    AuditEvent,
    as_given,
    outcome_of,
    who_is,
)
from service.access.audit.audit_log import SUMMED_UP, AuditLog
from service.access.audit.touched import Names, start_noting, stop_noting
from service.access.keys import Caller
from service.access.workspace_rules import stored_name
from service.api.problems import CLIENT_CLOSED, STATUS, request_id_of, status_and_code
from service.errors import AuditFailure, ServiceError

# Who only reads these leaves no entry: they hold nothing of a patient, and clients poll them.
QUIET_SCOPES = frozenset({"encoder.read", "collection.read", "classifier.read", "operation.read"})
# But these: they show single scans, with labels and groups of patients.
TELLING_ACTIONS = frozenset({"list_examples", "get_confusion"})
# A POST that needs only these changes nothing.
READ_SCOPES = QUIET_SCOPES | {"embed", "search", "predict", "scan.read", "subject.read"}
_KINDS = {"name": "classifier"}  # of the parameters in paths; others end with _id, or are kinds
_IN_QUERIES = ("subject_id", "study_id", "scan_id", "collection")
_PLACE = re.compile(r"/(collection|scan|classifier|version|operation|key|workspace)s/([^/?]+)")
_KNOWN_STATUSES = frozenset({409, 412})  # of refusals about things that exist
Handle: TypeAlias = Callable[[], Awaitable[Response]]


class RequestTrail:
    """The entries of one request.

    Args:
        action: name of the route.
        scopes: that the route needs.
    """

    def __init__(
        self, log: AuditLog, request: Request, action: str, scopes: tuple[str, ...]
    ) -> None:
        self._log = log
        self._request = request
        self._action = action
        self._is_quiet = is_quiet(request.method, action, scopes)
        self._is_read = request.method == "GET" or READ_SCOPES.issuperset(scopes)
        self._has_begun = False
        self._caller: Caller | None = None
        self._foreseen: tuple[int, Names, Future[None]] | None = None
        self.names: Names = {}

    def is_of(self, caller: Caller) -> None:
        """Note who sent the request: what happens from now on is recorded in their workspace."""
        self._caller = caller
        _add_parameters(self.names, self._request)

    async def begin(self) -> None:
        """Return when a write may begin. Raises AuditFailure."""
        if not self._is_read:
            await self._log.record(replace(self._event(0), outcome="begun", are_known=False))
            self._has_begun = True

    def foresee(self, status: int) -> None:
        """Submit the entry of a read that will be answered so. Raises AuditFailure."""
        if self._is_read and not self._is_quiet and self._foreseen is None:
            names = {kind: list(of_kind) for kind, of_kind in self.names.items()}
            written = self._log.submit(replace(self._event(status), names=names))
            self._foreseen = (status, names, written)

    async def end(self, status: int, code: str = "", location: str = "") -> None:
        """Record the outcome. Raises AuditFailure: it cannot be stored."""
        if self._caller is None:
            if status in SUMMED_UP:
                self._log.note_refusal(self._event(status, code))
            return
        for kind, name in _PLACE.findall(location):
            self.names.setdefault(kind, [])
            if name not in self.names[kind]:
                self.names[kind].append(name)
        if status < 400 and self._is_quiet:
            return
        if self._foreseen is not None and self._foreseen[:2] == (status, self.names):
            await asyncio.wrap_future(self._foreseen[2])
            return
        event = self._event(status, code)
        if status in SUMMED_UP and not self._has_begun:
            self._log.note_refusal(replace(event, names={}))
        else:
            await self._log.record(event)

    def _event(self, status: int, code: str = "") -> AuditEvent:
        caller = self._caller
        return AuditEvent(
            chain=SERVICE_CHAIN if caller is None else caller.workspace_id,
            action=self._action,
            who=UNKNOWN if caller is None else who_is(caller),
            outcome=outcome_of(status),
            names=self.names,
            are_known=status < 400 or status in _KNOWN_STATUSES,
            status=status,
            code=code,
            request_id=request_id_of(self._request),
            stored=as_given if caller is None else self._stored_name,
        )

    def _stored_name(self, kind: str, name: str) -> str:
        return stored_name(kind, name, self._request.state.policy.rules)


def is_quiet(method: str, action: str, scopes: Iterable[str]) -> bool:
    """Whether a request of this route leaves an entry only if it is refused or fails."""
    return method == "GET" and QUIET_SCOPES.issuperset(scopes) and action not in TELLING_ACTIONS


async def recorded(trail: RequestTrail, handle: Handle) -> Response:
    """Handle a request and record its outcome.

    Raises:
        AuditFailure: the outcome could not be stored. What was done stays done.
    """
    token = start_noting(trail)
    try:
        response = await handle()
    except AuditFailure:
        raise  # nothing was begun, or nothing can be stored
    except Exception as error:
        await trail.end(*_answer_to(error))
        raise
    finally:
        stop_noting(token)
    await trail.end(response.status_code, location=response.headers.get("location", ""))
    return response


def _add_parameters(names: Names, request: Request) -> None:
    """What the address names."""
    found = dict(request.path_params)
    query = request.query_params
    found |= {name: query[name] for name in _IN_QUERIES if name in query}
    for parameter, value in found.items():
        kind = _KINDS.get(parameter, parameter.removesuffix("_id"))
        names.setdefault(kind, []).append(str(value))


def _answer_to(error: Exception) -> tuple[int, str]:
    """Status and code of the answer that an exception becomes."""
    wrapped = error.__cause__
    if isinstance(error, HTTPException) and isinstance(
        wrapped, ServiceError | RequestValidationError
    ):
        error = wrapped
    if isinstance(error, ServiceError):
        return STATUS[type(error)], error.code
    if isinstance(error, RequestValidationError):
        return 422, "validation_error"
    if isinstance(error, HTTPException):
        return status_and_code(error)
    if isinstance(error, ClientDisconnect):
        return CLIENT_CLOSED, "client_closed"
    return 500, "internal_error"

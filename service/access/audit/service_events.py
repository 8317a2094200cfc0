"""Entries about what no request does: retention, operations that end; and the copy at a backup."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

from service.access.audit.audit_archive import archive
from service.access.audit.audit_entries import SERVICE, AuditEvent, Outcome
from service.access.audit.audit_heads import HeadsFile
from service.access.audit.audit_log import AuditLog
from service.catalog.audit.audit_place import store_of
from service.catalog.interface import Catalog
from service.catalog.operation_records import Operation
from service.errors import AuditFailure

log = logging.getLogger(__name__)
BeforeEnd: TypeAlias = Callable[[Operation, str, str], None]
OnSwept: TypeAlias = Callable[[str, int], None]
_OUTCOMES: dict[str, Outcome] = {"done": "ok", "cancelled": "refused"}


@asynccontextmanager
async def running_audit(
    catalog: Catalog, heads_folder: Path | None, *, is_on: bool
) -> AsyncIterator[AuditLog | None]:
    """The audit log of a service while the block runs; None = it is off.

    Raises:
        AuditFailure: it cannot be opened, so the service must not start.
    """
    if not is_on:
        yield None
        return
    audit = AuditLog(await asyncio.to_thread(store_of, catalog), HeadsFile(heads_folder))
    await asyncio.to_thread(audit.open)
    try:
        yield audit
    finally:
        await asyncio.to_thread(audit.close)


def before_operation_ends(audit: AuditLog | None, backup_dir: Path | None) -> BeforeEnd:
    """Write how an operation ends before it can be seen; it raises AuditFailure."""

    def write(operation: Operation, outcome: str, code: str) -> None:
        if audit is None:
            return
        event = AuditEvent(
            operation.workspace_id,
            f"operation.{operation.kind}",
            SERVICE,
            _OUTCOMES.get(outcome, "failed"),
            names={"operation": [operation.operation_id]},
            code=code,
        )
        audit.write(event)
        if operation.kind == "delete_workspace" and outcome == "done":
            audit.close_chain(str(operation.request["workspace_id"]), SERVICE)
        if operation.kind == "backup" and outcome == "done" and backup_dir is not None:
            try:
                archive(audit.store, backup_dir)
            except AuditFailure as error:  # the next backup tries again; the catalog is copied
                log.error("audit log not copied", extra={"code": error.code})

    return write


def on_swept(audit: AuditLog | None) -> OnSwept:
    """Write how many scans of a workspace a step of retention has deleted."""

    def write(workspace_id: str, scans: int) -> None:
        if audit is not None:
            # Nobody waits: what is due goes, and is not brought back by a log that fails.
            audit.note(AuditEvent(workspace_id, "retention", SERVICE, "ok", facts={"scans": scans}))

    return write

"""Entries of the audit log about commands that change a catalog."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager

from service.access.audit.audit_archive import write_now
from service.access.audit.audit_entries import SERVICE_CHAIN, AuditEvent, Outcome, Who
from service.access.audit.touched import Names
from service.catalog.audit.audit_place import store_of
from service.catalog.interface import Catalog
from service.errors import ServiceError
from service.settings import Settings


def command_user() -> Who:
    """Who runs the command, by the number of the user of the system."""
    user = getattr(os, "getuid", lambda: "unknown")()  # Windows has none
    return Who("command", f"uid:{user}")


@contextmanager
def audited(
    settings: Settings, catalog: Catalog, action: str, chain: str = SERVICE_CHAIN
) -> Iterator[Names]:
    """Record a command: an entry before it begins, and one of how it ended.

    Yields:
        {kind: names} of what it concerns, for the block to fill.

    Raises:
        AuditFailure: an entry cannot be stored. What was done stays done.
    """
    names: Names = {}
    if not settings.audit:
        yield names
        return
    with closing(store_of(catalog)) as store:
        write_now(store, AuditEvent(chain, action, command_user(), "begun"))
        try:
            yield names
        except BaseException as error:
            code = error.code if isinstance(error, ServiceError) else "interrupted"
            write_now(store, _ended(chain, action, "failed", names, code))
            raise
        write_now(store, _ended(chain, action, "ok", names))


def _ended(chain: str, action: str, outcome: Outcome, names: Names, code: str = "") -> AuditEvent:
    return AuditEvent(chain, action, command_user(), outcome, names=names, code=code)

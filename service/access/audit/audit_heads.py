"""Heads of chains in a place of their own: ``audit-heads.jsonl`` and the log of the service.

Whoever can write the audit log can compute a chain anew. What they cannot change is a head that
was written elsewhere before. So the file belongs on another disk than the log, and the log lines
belong on another machine.
"""

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from service.catalog.audit.audit_records import AuditHead
from service.catalog.data_folder import PRIVATE_FILE, make_private_folder, sync
from service.catalog.ids import now
from service.errors import AuditFailure

HEADS_FILE = "audit-heads.jsonl"
log = logging.getLogger(__name__)


class HeadsFile:
    """The file, one JSON object per line; any number of processes append to it.

    Args:
        folder: None = there is no file, and heads are logged only.
    """

    def __init__(self, folder: Path | None) -> None:
        self.file = None if folder is None else folder / HEADS_FILE

    def note(self, heads: Sequence[AuditHead]) -> None:
        """Log heads, and append them with the present time; on disk at the return.

        Raises:
            AuditFailure: the file cannot be written; they are logged all the same.
        """
        for head in heads:
            fields = {"chain": head.chain, "seq": head.seq, "sha256": head.sha256}
            log.info("audit head", extra=fields)
        if self.file is None:
            return
        moment = now()
        lines = "".join(json.dumps(asdict(head) | {"at": moment}) + "\n" for head in heads)
        try:
            is_new = not self.file.exists()
            make_private_folder(self.file.parent)
            # O_APPEND: lines of two processes never overwrite each other.
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
            handle = os.open(self.file, flags, PRIVATE_FILE)
            try:
                # A kill may have cut a line off: the next one starts on a line of its own.
                size = os.lseek(handle, 0, os.SEEK_END)
                is_torn = size > 0 and _last_byte(handle) != b"\n"
                os.write(handle, (b"\n" if is_torn else b"") + lines.encode())
                os.fsync(handle)
            finally:
                os.close(handle)
            if is_new:
                sync(self.file.parent)
        except OSError as error:
            raise AuditFailure("the heads of the audit log cannot be written") from error

    def read(self) -> tuple[AuditHead, ...]:
        """All heads, oldest first; none if there is no file. See ``read_heads``."""
        return read_heads(self.file) if self.file is not None and self.file.exists() else ()


def read_heads(file: Path) -> tuple[AuditHead, ...]:
    """The heads in a file: one JSON object per line, such as lines of the service's log.

    Lines that are no heads are left out: a log has others, and a kill may have cut one off.

    Raises:
        AuditFailure: the file cannot be read.
    """
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise AuditFailure("the heads of the audit log cannot be read") from error
    return tuple(head for head in map(_head, lines) if head is not None)


def _last_byte(handle: int) -> bytes:
    os.lseek(handle, -1, os.SEEK_END)
    return os.read(handle, 1)


def _head(line: str) -> AuditHead | None:
    try:
        fields = json.loads(line)
        at = fields.get("at") or fields["time"]
        head = AuditHead(fields["chain"], fields["seq"], fields["sha256"], at)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    types = (type(head.chain), type(head.seq), type(head.sha256), type(head.at))
    return head if types == (str, int, str, str) else None

"""Copies of scans in SQLite, whose one writer keeps erasures away while it copies."""

from collections.abc import Sequence

from service.catalog.copying.copied_rows import chosen, in_place, require_other
from service.catalog.copying.copy_interface import Accept
from service.catalog.plain_text import name_of
from service.catalog.records import NewScan, StoredScan
from service.catalog.scan_changes import require_encoder
from service.catalog.sqlite.rows import SqliteTable, json_list, require_collection
from service.catalog.sqlite.scan_reads import whole_rows
from service.catalog.sqlite.scan_writes import store_scans
from service.errors import ServiceError

_NAMED = "r.scan_id IN (SELECT value FROM json_each(?)) ORDER BY r.row_id"


class SqliteCopies(SqliteTable):
    """The part of the catalog that copies scans."""

    def copy_scans(
        self,
        workspace_id: str,
        source: str,
        target: str,
        scan_ids: Sequence[str],
        *,
        encoder_id: str,
        accept: Accept,
    ) -> list[StoredScan | ServiceError]:
        require_other(source, target)
        rules, admit = self._rules.intake(workspace_id), self._rules.admission(workspace_id)
        payer = self._rules.payer()
        with self._database.write() as connection:
            origin = require_collection(connection, workspace_id, source)
            parent = require_collection(connection, workspace_id, target)
            for row in (origin, parent):
                require_encoder(row["encoder_id"], encoder_id)
            names = json_list(name_of(scan_id) for scan_id in scan_ids)
            choices = chosen(scan_ids, whole_rows(connection, origin, _NAMED, names), accept)
            scans = [choice for choice in choices if isinstance(choice, NewScan)]
            return in_place(choices, store_scans(connection, parent, scans, rules, admit, payer))

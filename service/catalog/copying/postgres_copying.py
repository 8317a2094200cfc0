"""Copies of scans in PostgreSQL."""

from collections.abc import Sequence

from service.catalog.copying.copied_rows import chosen, in_place, require_other
from service.catalog.copying.copy_interface import Accept
from service.catalog.plain_text import name_of
from service.catalog.postgres.postgres_locks import keep_erasures_away
from service.catalog.postgres.postgres_rows import (
    PostgresTable,
    comparable,
    lock_collections,
    require_collection,
)
from service.catalog.postgres.postgres_scan_reads import whole_rows
from service.catalog.postgres.postgres_scan_writes import store_scans
from service.catalog.records import NewScan, StoredScan
from service.catalog.scan_changes import require_encoder
from service.errors import ServiceError

_NAMED = "r.scan_id = ANY(%s::text[]) ORDER BY r.row_id"


class PostgresCopies(PostgresTable):
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
        both = (source, target)
        with self._database.write(workspace_id) as connection:
            # An erasure that began would not see the copies of the scans that it deletes.
            keep_erasures_away(connection, workspace_id)
            rows = [require_collection(connection, workspace_id, name) for name in both]
            # The source too: a change of its encoder between two reads would mix vectors of two.
            lock_collections(connection, [row["collection_id"] for row in rows])
            origin, parent = (require_collection(connection, workspace_id, name) for name in both)
            for row in (origin, parent):
                require_encoder(row["encoder_id"], encoder_id)
            names = comparable(name_of(scan_id) for scan_id in scan_ids)
            choices = chosen(scan_ids, whole_rows(connection, origin, _NAMED, names), accept)
            scans = [choice for choice in choices if isinstance(choice, NewScan)]
            return in_place(choices, store_scans(connection, parent, scans, rules, admit, payer))

"""The keys that sign exported classifiers, in SQLite."""

from service.catalog.codec import to_columns
from service.catalog.ids import now
from service.catalog.signing.signing_records import SigningKey, SigningPair
from service.catalog.sqlite.rows import SqliteTable, decode, insert, require_row, require_workspace
from service.catalog.validation import require_text
from service.errors import Conflict

_PAIR = "SELECT * FROM signing_keys WHERE workspace_id = ? AND private_key IS NOT NULL"
_KEY = "SELECT * FROM signing_keys WHERE workspace_id = ? AND key_id = ?"
_RETIRE = """
    UPDATE signing_keys SET private_key = NULL, retired_at = ?
    WHERE workspace_id = ? AND private_key IS NOT NULL
"""


class SqliteSigning(SqliteTable):
    """The part of the catalog for signing keys."""

    def signing_pair(self, workspace_id: str) -> SigningPair | None:
        """As ``SigningCatalog.signing_pair``."""
        pairs = self._select(SigningPair, _PAIR, workspace_id)
        return next(iter(pairs), None)

    def keep_signing_pair(
        self, workspace_id: str, pair: SigningPair, *, replace: bool = False
    ) -> SigningPair:
        """As ``SigningCatalog.keep_signing_pair``."""
        require_text(pair.key.name, "the name of a signing key")
        with self._database.write() as connection:
            require_workspace(connection, workspace_id)
            if replace:
                connection.execute(_RETIRE, (now(), workspace_id))
            values = {"workspace_id": workspace_id} | to_columns(pair)
            insert(connection, "signing_keys", values, "ON CONFLICT DO NOTHING")
            kept = decode(SigningPair, require_row(connection, "no such key", _PAIR, workspace_id))
        if replace:
            self._database.forget_deleted()  # the log of writes held the private part
        return kept

    def trust_signing_key(self, workspace_id: str, key: SigningKey) -> SigningKey:
        """As ``SigningCatalog.trust_signing_key``."""
        require_text(key.name, "the name of a signing key")
        with self._database.write() as connection:
            require_workspace(connection, workspace_id)
            values = {"workspace_id": workspace_id} | to_columns(key)
            if insert(connection, "signing_keys", values, "ON CONFLICT DO NOTHING") is None:
                raise Conflict("the workspace has this signing key already")
        return key

    def list_signing_keys(self, workspace_id: str) -> tuple[SigningKey, ...]:
        """As ``SigningCatalog.list_signing_keys``."""
        sql = "SELECT * FROM signing_keys WHERE workspace_id = ? ORDER BY created_at, key_id"
        return tuple(self._select(SigningKey, sql, workspace_id))

    def remove_signing_key(self, workspace_id: str, key_id: str) -> SigningKey:
        """As ``SigningCatalog.remove_signing_key``."""
        delete = "DELETE FROM signing_keys WHERE workspace_id = ? AND key_id = ?"
        missing = "no such signing key in this workspace"
        with self._database.write() as connection:
            row = require_row(connection, missing, _KEY, workspace_id, key_id)
            if row["private_key"] is not None:
                raise Conflict("the workspace signs with this key: rotate it first")
            connection.execute(delete, (workspace_id, key_id))
        return decode(SigningKey, row)

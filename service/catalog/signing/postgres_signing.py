"""The keys that sign exported classifiers, in PostgreSQL: where their workspace lives."""

from service.catalog.codec import to_columns
from service.catalog.ids import now
from service.catalog.postgres.postgres_rows import (
    PostgresTable,
    decode,
    insert,
    owe_vacuum,
    require_row,
    require_workspace,
)
from service.catalog.signing.signing_records import SigningKey, SigningPair
from service.catalog.validation import require_text
from service.errors import Conflict

_PAIR = "SELECT * FROM signing_keys WHERE workspace_id = %s AND private_key IS NOT NULL"
_KEY = "SELECT * FROM signing_keys WHERE workspace_id = %s AND key_id = %s FOR UPDATE"
_RETIRE = """
    UPDATE signing_keys SET private_key = NULL, retired_at = %s
    WHERE workspace_id = %s AND private_key IS NOT NULL
"""


class PostgresSigning(PostgresTable):
    """The part of the catalog for signing keys."""

    def signing_pair(self, workspace_id: str) -> SigningPair | None:
        """As ``SigningCatalog.signing_pair``."""
        return next(iter(self._select(SigningPair, workspace_id, _PAIR, workspace_id)), None)

    def keep_signing_pair(
        self, workspace_id: str, pair: SigningPair, *, replace: bool = False
    ) -> SigningPair:
        """As ``SigningCatalog.keep_signing_pair``."""
        require_text(pair.key.name, "the name of a signing key")
        with self._database.write(workspace_id) as connection:
            require_workspace(connection, workspace_id)
            if replace:
                connection.execute(_RETIRE, (now(), workspace_id))
                owe_vacuum(connection)  # the old row still holds the private part
            values = {"workspace_id": workspace_id} | to_columns(pair)
            # Of two that rotate at the same time the second finds the key of the first.
            insert(connection, "signing_keys", values, otherwise="ON CONFLICT DO NOTHING")
            row = require_row(connection, "no such key", _PAIR, workspace_id)
        return decode(SigningPair, row)

    def trust_signing_key(self, workspace_id: str, key: SigningKey) -> SigningKey:
        """As ``SigningCatalog.trust_signing_key``."""
        require_text(key.name, "the name of a signing key")
        unless = "ON CONFLICT DO NOTHING"
        with self._database.write(workspace_id) as connection:
            require_workspace(connection, workspace_id)
            values = {"workspace_id": workspace_id} | to_columns(key)
            stored = insert(
                connection, "signing_keys", values, otherwise=unless, returning="key_id"
            )
            if stored is None:
                raise Conflict("the workspace has this signing key already")
        return key

    def list_signing_keys(self, workspace_id: str) -> tuple[SigningKey, ...]:
        """As ``SigningCatalog.list_signing_keys``."""
        query = "SELECT * FROM signing_keys WHERE workspace_id = %s ORDER BY created_at, key_id"
        return tuple(self._select(SigningKey, workspace_id, query, workspace_id))

    def remove_signing_key(self, workspace_id: str, key_id: str) -> SigningKey:
        """As ``SigningCatalog.remove_signing_key``."""
        delete = "DELETE FROM signing_keys WHERE workspace_id = %s AND key_id = %s"
        missing = "no such signing key in this workspace"
        with self._database.write(workspace_id) as connection:
            row = require_row(connection, missing, _KEY, workspace_id, key_id)
            if row["private_key"] is not None:
                raise Conflict("the workspace signs with this key: rotate it first")
            connection.execute(delete, (workspace_id, key_id))
        return decode(SigningKey, row)

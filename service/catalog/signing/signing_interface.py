"""The part of the catalog's interface for the keys that sign exported classifiers.

The rules in ``service.catalog.interface`` apply.
"""

from typing import Protocol

from service.catalog.signing.signing_records import SigningKey, SigningPair


class SigningCatalog(Protocol):
    """The signing keys of workspaces: at most one of each signs, any number verify."""

    def signing_pair(self, workspace_id: str) -> SigningPair | None:
        """The own key that signs now; None = the workspace has made none."""

    def keep_signing_pair(
        self, workspace_id: str, pair: SigningPair, *, replace: bool = False
    ) -> SigningPair:
        """Store a new own key and return the one that signs from now on.

        That is the stored one if there was one already, as when two processes make the first
        key at the same time.

        Args:
            replace: retire the key that signs now. Its private part is overwritten.

        Raises:
            UnknownItem: no such workspace.
            InputError: the name is not storable.
        """

    def trust_signing_key(self, workspace_id: str, key: SigningKey) -> SigningKey:
        """Store the public key of somebody else.

        Raises:
            UnknownItem: no such workspace.
            Conflict: the workspace has the key already.
            InputError: the name is not storable.
        """

    def list_signing_keys(self, workspace_id: str) -> tuple[SigningKey, ...]:
        """All keys, oldest first: own ones, retired ones and those of others."""

    def remove_signing_key(self, workspace_id: str, key_id: str) -> SigningKey:
        """Trust a key no longer.

        Raises:
            UnknownItem: no such key.
            Conflict: the workspace signs with it.
        """

"""The signing keys of workspaces: what they sign, and whose signatures they trust. Blocking."""

from collections.abc import Mapping
from typing import Any

from service.catalog.ids import now
from service.catalog.interface import Catalog
from service.catalog.signing.signing_records import SigningKey as SigningKey
from service.catalog.signing.signing_records import SigningPair
from service.classifiers.signing.signatures import (
    DetachedSignature,
    SignatureState,
    key_id_of,
    new_private_key,
    public_key_of,
    read_public_key,
    sign_document,
    sign_file,
    verify_document,
)
from service.errors import InputError, UnknownItem, UntrustedSignature

OWN_NAME = "this workspace"
MAX_NAME = 128


class SigningKeys:
    """Signs exports with the key of their workspace, and judges the signatures of imports.

    Nothing is kept in memory: what another process adds or removes counts at once.

    Args:
        requires_trust: an import needs the signature of a key that the workspace trusts.
    """

    def __init__(self, catalog: Catalog, *, requires_trust: bool = False) -> None:
        self._catalog = catalog
        self._requires_trust = requires_trust

    def sign(self, workspace_id: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """The exported document with the signature of its workspace. Raises UnknownItem."""
        return sign_document(document, self._pair(workspace_id).private_key)

    def sign_file(self, workspace_id: str, data: bytes) -> DetachedSignature:
        """The signature of an exported file. Raises UnknownItem."""
        return sign_file(data, self._pair(workspace_id).private_key)

    def state_of(self, workspace_id: str, document: Mapping[str, Any]) -> SignatureState:
        """Whether the workspace trusts who signed a document: its own keys, and those it added.

        Raises:
            BrokenSignature: the document was changed after it was signed.
            UntrustedSignature: the service requires trust, and the workspace has none in this.
        """
        public_key = verify_document(document)
        if public_key is None:
            state = SignatureState("unsigned")
        else:
            keys = self._catalog.list_signing_keys(workspace_id)
            is_trusted = public_key in {key.public_key for key in keys}
            state = SignatureState(
                "trusted" if is_trusted else "unknown_key", key_id_of(public_key)
            )
        if self._requires_trust and state.state != "trusted":
            raise UntrustedSignature(
                "expected a classifier signed by a key that the workspace trusts, got "
                + ("none" if public_key is None else "an unknown key"),
                state.key_id,
            )
        return state

    def list_keys(
        self, workspace_id: str, *, limit: int, after: str | None = None
    ) -> tuple[tuple[SigningKey, ...], str | None]:
        """Keys, oldest first; and the id after which the next page begins.

        Args:
            after: id of the last key of an earlier page.
        """
        keys = self._catalog.list_signing_keys(workspace_id)
        ids = [key.key_id for key in keys]
        start = ids.index(after) + 1 if after in ids else 0
        page = keys[start : start + limit]
        return page, page[-1].key_id if start + limit < len(keys) else None

    def get(self, workspace_id: str, key_id: str) -> SigningKey:
        """Raises UnknownItem."""
        for key in self._catalog.list_signing_keys(workspace_id):
            if key.key_id == key_id:
                return key
        raise UnknownItem("no such signing key in this workspace")

    def trust(self, workspace_id: str, name: str, public_key: str) -> SigningKey:
        """Trust what the owner of a public key signs.

        Raises:
            InputError: no public key for Ed25519, or an invalid name.
            Conflict: the workspace has the key already.
        """
        _require_name(name)
        stored = read_public_key(public_key)
        key = SigningKey(key_id_of(stored), stored, name, now(), is_own=False)
        return self._catalog.trust_signing_key(workspace_id, key)

    def rotate(self, workspace_id: str) -> SigningKey:
        """Sign with a new key from now on; what the one before signed is trusted further."""
        return self._catalog.keep_signing_pair(workspace_id, _new_pair(), replace=True).key

    def remove(self, workspace_id: str, key_id: str) -> SigningKey:
        """Trust a key no longer. Raises UnknownItem, Conflict: the workspace signs with it."""
        return self._catalog.remove_signing_key(workspace_id, key_id)

    def _pair(self, workspace_id: str) -> SigningPair:
        """The own key that signs; made when it is needed first."""
        pair = self._catalog.signing_pair(workspace_id)
        return pair or self._catalog.keep_signing_pair(workspace_id, _new_pair())


def _new_pair() -> SigningPair:
    private_key = new_private_key()
    public_key = public_key_of(private_key)
    key = SigningKey(key_id_of(public_key), public_key, OWN_NAME, now(), is_own=True)
    return SigningPair(key, private_key)


def _require_name(name: str) -> None:
    if not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise InputError(f"expected a name of 1 to {MAX_NAME} printable characters")

"""Access tokens of the identity provider: who has sent one, without a network call."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from service.access.tokens.console_sign_in import (
    ConsoleClient,
    ConsoleSettings,
    console_client,
)
from service.access.tokens.provider_documents import ProviderDocuments
from service.access.tokens.provider_keys import ProviderKey, ProviderKeys
from service.access.tokens.token_check import GenuineToken, TokenCheck
from service.access.tokens.token_policy import TokenPolicy, policy_of
from service.access.tokens.token_rights import rights_of_claims, workspace_of_claims
from service.catalog.access_records import Workspace, is_open
from service.catalog.records import Author
from service.errors import InputError, InvalidToken, UnknownWorkspace

MAX_REMEMBERED = 4096
FindWorkspace: TypeAlias = Callable[[str], tuple[Workspace, int] | None]


@dataclass(frozen=True, slots=True)
class TokenHolder:
    """Who has sent a token, and what it allows.

    Attributes:
        roles: of the service, as the token has them.
        author: ``key_id`` is a digest of issuer and subject, ``key_name`` says both.
        workspace: its name; whether there is one is asked at each request.
    """

    author: Author
    roles: tuple[str, ...]
    scopes: frozenset[str]
    workspace: str
    expires_at_s: float
    signer: ProviderKey


class AccessTokens:
    """Knows the holders of access tokens; thread safe.

    A token that was checked is remembered by its digest until it expires, or until the provider
    no longer publishes its key. The workspace is looked up at each request, as a key is.

    Args:
        find_workspace: by its name, with the version of its policy; None = there is none.
        max_remembered: tokens; the one that was used longest ago is forgotten first.
        console: the web console as a client of the provider, as it is known now.
    """

    def __init__(
        self,
        policy: TokenPolicy,
        keys: ProviderKeys,
        check: TokenCheck,
        find_workspace: FindWorkspace,
        *,
        max_remembered: int = MAX_REMEMBERED,
        console: Callable[[], ConsoleClient | None] = lambda: None,
    ) -> None:
        self._policy = policy
        self._keys = keys
        self._check = check
        self._find_workspace = find_workspace
        self._max_remembered = max_remembered
        self.console = console
        self._lock = threading.Lock()
        self._holders: OrderedDict[bytes, TokenHolder] = OrderedDict()

    @property
    def remembered(self) -> int:
        """Number of tokens that are not checked again."""
        return len(self._holders)

    def holder(self, token: str) -> tuple[Workspace, int, TokenHolder]:
        """The workspace that a token opens, the version of its policy, and the holder.

        Raises:
            InvalidToken: as ``TokenCheck.genuine``.
            UnknownWorkspace: it names no workspace of this service.
            WorkspaceSuspended: nobody may use that workspace now.
            UnknownSigner, IdentityProviderFailure: as ``ProviderKeys.find``.
        """
        digest = hashlib.sha256(token.encode()).digest()
        holder = self._remembered(digest)
        if holder is None:
            holder = self._holder_of(self._check.genuine(token))
            self._remember(digest, holder)
        try:
            found = self._find_workspace(holder.workspace)
        except InputError:  # the claim holds what no name of a workspace can
            found = None
        if found is None or not is_open(found[0].status):
            raise UnknownWorkspace("the access token names no workspace of this service")
        return *found, holder

    def keys_age_s(self) -> float:
        """Age of the keys of the provider, seconds; infinite = they were never fetched."""
        return self._keys.age_s()

    def fetch_keys(self) -> None:
        """Fetch the keys of the provider after ``UnknownSigner``. Blocks for seconds."""
        self._keys.fetch_again()

    def _holder_of(self, token: GenuineToken) -> TokenHolder:
        issuer, subject = self._policy.issuer, token.subject
        digest = hashlib.sha256(f"{issuer}\0{subject}".encode()).hexdigest()
        roles, scopes = rights_of_claims(self._policy, token.claims)
        return TokenHolder(
            author=Author(f"oidc_{digest[:20]}", f"{subject} at {issuer}"),
            roles=roles,
            scopes=scopes,
            workspace=workspace_of_claims(self._policy, token.claims),
            expires_at_s=token.expires_at_s,
            signer=token.signer,
        )

    def _remembered(self, digest: bytes) -> TokenHolder | None:
        """Raises as ``ProviderKeys.find``, and InvalidToken: it has expired."""
        with self._lock:
            holder = self._holders.get(digest)
            if holder is None:
                return None
            self._holders.move_to_end(digest)
        if self._check.is_over(holder.expires_at_s):
            self._forget(digest)
            raise InvalidToken("the access token has expired")
        if self._keys.find(holder.signer.key_id) == holder.signer:
            return holder
        self._forget(digest)  # the provider has another key under this id
        return None

    def _remember(self, digest: bytes, holder: TokenHolder) -> None:
        with self._lock:
            self._holders[digest] = holder
            if len(self._holders) > self._max_remembered:
                self._holders.popitem(last=False)

    def _forget(self, digest: bytes) -> None:
        with self._lock:
            self._holders.pop(digest, None)


@contextmanager
def access_tokens(
    settings: ConsoleSettings, find_workspace: FindWorkspace
) -> Iterator[AccessTokens | None]:
    """Fetch the keys of the provider while the block runs; None = the settings name none.

    Raises:
        InvalidSettings: as ``policy_of``, or the file of certificates cannot be read.
    """
    policy = policy_of(settings)
    if policy is None:
        yield None
        return
    documents = ProviderDocuments(policy.issuer, settings.oidc_ca_file)
    keys = ProviderKeys(
        documents.signing_keys,
        refresh_s=settings.oidc_keys_s,
        keep_s=settings.oidc_keep_keys_s,
    )
    keys.open()
    try:
        yield AccessTokens(
            policy,
            keys,
            TokenCheck(policy, keys),
            find_workspace,
            console=lambda: console_client(settings, documents.endpoints),
        )
    finally:
        keys.close()

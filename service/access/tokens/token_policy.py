"""Which access tokens are believed and what they allow, from the settings."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from service.access.scopes import ROLES
from service.errors import InvalidSettings

# Symmetric ones would let whoever knows the public key sign.
ASYMMETRIC = (
    *("ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"),
    "Ed25519",
)
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class TokenSettings(Protocol):
    """The settings that this room reads; docs/settings.md describes them."""

    @property
    def oidc_issuer(self) -> str: ...  # noqa: D102
    @property
    def oidc_audience(self) -> str: ...  # noqa: D102
    @property
    def oidc_algorithms(self) -> str: ...  # noqa: D102
    @property
    def oidc_token_types(self) -> str: ...  # noqa: D102
    @property
    def oidc_roles_claim(self) -> str: ...  # noqa: D102
    @property
    def oidc_roles(self) -> str: ...  # noqa: D102
    @property
    def oidc_scopes(self) -> str: ...  # noqa: D102
    @property
    def oidc_workspace_claim(self) -> str: ...  # noqa: D102
    @property
    def oidc_workspace(self) -> str: ...  # noqa: D102
    @property
    def oidc_keys_s(self) -> float: ...  # noqa: D102
    @property
    def oidc_keep_keys_s(self) -> float: ...  # noqa: D102
    @property
    def oidc_clock_skew_s(self) -> float: ...  # noqa: D102
    @property
    def oidc_ca_file(self) -> Path | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class TokenPolicy:
    """What a token must say, and what it then allows.

    Attributes:
        types: values of ``typ`` in the header, in small letters.
        roles: roles of the service by the names in the claim of roles.
        scopes: scopes of the service by the names in the scope claim.
        workspace: of all tokens; empty = the claim names it.
    """

    issuer: str
    audience: str
    algorithms: frozenset[str]
    types: frozenset[str]
    clock_skew_s: float
    roles_claim: str
    roles: Mapping[str, tuple[str, ...]]
    scopes: Mapping[str, tuple[str, ...]]
    workspace_claim: str
    workspace: str


def policy_of(settings: TokenSettings) -> TokenPolicy | None:
    """The policy; None = no issuer is set, so tokens are unknown keys.

    Raises:
        InvalidSettings: a setting is missing, contradicts another one or names what is unknown.
    """
    if not settings.oidc_issuer:
        return None
    require_secure(settings.oidc_issuer, "SONOPROBE_OIDC_ISSUER")
    if not settings.oidc_audience:
        raise InvalidSettings("SONOPROBE_OIDC_AUDIENCE: expected the name of this service")
    if bool(settings.oidc_workspace) == bool(settings.oidc_workspace_claim):
        raise InvalidSettings(
            "expected one of SONOPROBE_OIDC_WORKSPACE_CLAIM and SONOPROBE_OIDC_WORKSPACE"
        )
    algorithms = _listed(settings.oidc_algorithms)
    if not algorithms or not algorithms <= set(ASYMMETRIC):
        raise InvalidSettings(
            f"SONOPROBE_OIDC_ALGORITHMS: expected some of {', '.join(ASYMMETRIC)}"
        )
    own_roles = {role: (role,) for role in ROLES}
    # What is in no role reaches beyond a workspace, and no provider can give it.
    known_scopes = frozenset[str]().union(*ROLES.values())
    own_scopes = {scope: (scope,) for scope in known_scopes}
    roles = _mapping("SONOPROBE_OIDC_ROLES", settings.oidc_roles, ROLES)
    scopes = _mapping("SONOPROBE_OIDC_SCOPES", settings.oidc_scopes, sorted(known_scopes))
    return TokenPolicy(
        issuer=settings.oidc_issuer,
        audience=settings.oidc_audience,
        algorithms=algorithms,
        types=frozenset(t.lower() for t in _listed(settings.oidc_token_types)),
        clock_skew_s=settings.oidc_clock_skew_s,
        roles_claim=settings.oidc_roles_claim,
        roles=roles or own_roles,
        scopes=own_scopes | scopes,
        workspace_claim=settings.oidc_workspace_claim,
        workspace=settings.oidc_workspace,
    )


def require_secure(url: str, setting: str) -> None:
    """Raises InvalidSettings: the address is neither https nor of this machine."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise InvalidSettings(f"{setting}: expected an address with https")


def _listed(text: str) -> frozenset[str]:
    return frozenset(part.strip() for part in text.split(",") if part.strip())


def _mapping(setting: str, text: str, known: Collection[str]) -> dict[str, tuple[str, ...]]:
    if not text:
        return {}
    try:
        names = json.loads(text)
    except ValueError:
        names = None
    if not isinstance(names, dict) or not all(
        isinstance(given, list) and given and all(name in known for name in given)
        for given in names.values()
    ):
        raise InvalidSettings(f"{setting}: expected a JSON object of lists of {', '.join(known)}")
    return {name: tuple(given) for name, given in names.items()}

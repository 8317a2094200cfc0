"""What the claims of a genuine token allow: scopes, and the workspace."""

from collections.abc import Iterable, Mapping
from typing import Any

from service.access.scopes import effective_scopes
from service.access.tokens.token_policy import TokenPolicy
from service.errors import UnknownWorkspace

_SCOPE_CLAIMS = ("scope", "scp")  # RFC 8693, section 4.2; Microsoft's name for it


def rights_of_claims(
    policy: TokenPolicy, claims: Mapping[str, Any]
) -> tuple[tuple[str, ...], frozenset[str]]:
    """The roles, and the scopes of all roles and scopes in the token; unknown names give none.

    What a client asked for is no matter: a provider may grant less and still answer 200.
    """
    named = claim_of(claims, policy.roles_claim) if policy.roles_claim else None
    roles = _given(policy.roles, _names(named))
    asked = [name for claim in _SCOPE_CLAIMS for name in _names(claims.get(claim))]
    return roles, effective_scopes(roles, _given(policy.scopes, asked))


def workspace_of_claims(policy: TokenPolicy, claims: Mapping[str, Any]) -> str:
    """The name of the workspace that a token opens. Raises UnknownWorkspace: it names none."""
    if policy.workspace:
        return policy.workspace
    named = _names(claim_of(claims, policy.workspace_claim), separator=None)
    if len(named) != 1:
        raise UnknownWorkspace("expected an access token with the name of one workspace")
    return named[0]


def claim_of(claims: Mapping[str, Any], path: str) -> Any:
    """A claim by its name, else by the names of nested ones with dots between; None = missing."""
    if path in claims:
        return claims[path]
    value: Any = claims
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _names(value: Any, separator: str | None = " ") -> list[str]:
    """The names in a claim, which is a list, or a text that a separator divides."""
    if isinstance(value, str):
        return [name for name in (value.split(separator) if separator else [value]) if name]
    if isinstance(value, list):
        return [name for name in value if isinstance(name, str) and name]
    return []


def _given(table: Mapping[str, tuple[str, ...]], names: Iterable[str]) -> tuple[str, ...]:
    """What the names stand for, sorted, so that equal rights are looked up once."""
    return tuple(sorted({given for name in names for given in table.get(name, ())}))

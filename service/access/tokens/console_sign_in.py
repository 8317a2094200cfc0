"""What the web console needs to sign people in at the identity provider (code flow with PKCE).

The console is a public client: it has no secret, and the service sees neither the code nor the
tokens before they come as bearer tokens. All that the service adds is where the provider's
endpoints are, which it reads with the keys, so that no page waits for the network.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from service.access.tokens.token_policy import TokenSettings, require_secure
from service.errors import InvalidSettings

# Of a content security policy: nothing that could end a directive.
_ORIGIN = re.compile(
    r"https?://[A-Za-z0-9.\-]+(:[0-9]{1,5})?|https?://\[[0-9a-fA-F:.]+\](:[0-9]+)?"
)


class ConsoleSettings(TokenSettings, Protocol):
    """The settings of the sign-in too; docs/settings.md describes them."""

    @property
    def oidc_console_client_id(self) -> str: ...  # noqa: D102
    @property
    def oidc_console_scopes(self) -> str: ...  # noqa: D102
    @property
    def oidc_console_audience_parameter(self) -> str: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class ProviderEndpoints:
    """Where a browser goes at the provider; ``end_session`` is None if it cannot sign out there."""

    authorization: str
    token: str
    end_session: str | None

    @property
    def token_origin(self) -> str:
        """The origin that the page may send requests to."""
        parts = urlsplit(self.token)
        return f"{parts.scheme}://{parts.netloc}"


@dataclass(frozen=True, slots=True)
class ConsoleClient:
    """The console as a client of the provider.

    Attributes:
        audience_parameter: by which it names ``audience``; none = it does not.
        endpoints: None = the provider has not answered yet, or has none that can be used.
    """

    issuer: str
    client_id: str
    scopes: str
    audience_parameter: str
    audience: str
    endpoints: ProviderEndpoints | None


def console_client(
    settings: ConsoleSettings, endpoints: ProviderEndpoints | None
) -> ConsoleClient | None:
    """None = the settings name no client, so that the console takes keys only."""
    if not settings.oidc_issuer or not settings.oidc_console_client_id:
        return None
    return ConsoleClient(
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_console_client_id,
        scopes=settings.oidc_console_scopes,
        audience_parameter=settings.oidc_console_audience_parameter,
        audience=settings.oidc_audience,
        endpoints=endpoints,
    )


def endpoints_of(about: Mapping[str, Any]) -> ProviderEndpoints | None:
    """The endpoints in a discovery document; None = it has none that can be used."""
    methods = about.get("code_challenge_methods_supported", ["S256"])
    if not isinstance(methods, list) or "S256" not in methods:
        return None  # without PKCE a stolen code would be enough
    authorization, token = (about.get(f"{name}_endpoint") for name in ("authorization", "token"))
    if not isinstance(authorization, str) or not isinstance(token, str):
        return None
    ending = about.get("end_session_endpoint")
    end_session = ending if isinstance(ending, str) else None
    try:
        for address in filter(None, (authorization, token, end_session)):
            require_secure(address, "an endpoint of the provider")
        found = ProviderEndpoints(authorization, token, end_session)
        is_plain = _ORIGIN.fullmatch(found.token_origin) is not None
    except (InvalidSettings, ValueError):
        return None
    return found if is_plain else None

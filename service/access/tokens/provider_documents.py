"""The documents of the identity provider: where its keys are, and the keys (OpenID discovery)."""

import json
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from joserfc.errors import JoseError
from joserfc.jwk import import_key

from service.access.tokens.console_sign_in import ProviderEndpoints, endpoints_of
from service.access.tokens.provider_keys import ProviderKey
from service.access.tokens.token_policy import require_secure
from service.errors import IdentityProviderFailure, InvalidSettings

DISCOVERY = "/.well-known/openid-configuration"
TIMEOUT_S = 3.0  # of one step, such as connecting
MAX_S = 5.0  # of one document
MAX_DOCUMENT_BYTES = 512_000
MAX_KEYS = 100
MIN_RSA_BITS = 2048
_FAILURES = (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError)
# Members of private keys; and key_ops, because some providers list the operations of both halves.
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "key_ops"})


class ProviderDocuments:
    """Reads the documents of one issuer.

    Args:
        issuer: https, or http on this machine.
        ca_file: certificates to trust instead of the public ones.

    Attributes:
        endpoints: where a browser signs in, as the provider said with its keys; None = not yet.

    Raises:
        InvalidSettings: ``ca_file`` cannot be read.
    """

    def __init__(self, issuer: str, ca_file: Path | None = None) -> None:
        self._issuer = issuer
        self.endpoints: ProviderEndpoints | None = None
        try:
            self._tls = (
                httpx.create_ssl_context(trust_env=False)
                if ca_file is None
                else ssl.create_default_context(cafile=ca_file)
            )
        except (OSError, ssl.SSLError) as error:
            what = "SONOPROBE_OIDC_CA_FILE: expected a readable file of PEM certificates"
            raise InvalidSettings(what) from error

    def signing_keys(self) -> Mapping[str, ProviderKey]:
        """The keys that sign tokens, by their ids; and the endpoints are read anew.

        Raises:
            IdentityProviderFailure: the documents cannot be fetched, or are about another issuer.
        """
        try:
            # The settings name the provider; no proxy from the environment stands between.
            with httpx.Client(timeout=TIMEOUT_S, verify=self._tls, trust_env=False) as http:
                about = _document(http, self._issuer.rstrip("/") + DISCOVERY)
                if about.get("issuer") != self._issuer:
                    raise ValueError("the document is about another issuer")
                self.endpoints = endpoints_of(about)
                address = str(about.get("jwks_uri", ""))
                require_secure(address, "jwks_uri")
                listed = _document(http, address).get("keys")
        except (*_FAILURES, InvalidSettings) as error:
            raise IdentityProviderFailure("the identity provider gives no keys") from error
        return usable_keys(listed if isinstance(listed, list) else [])


def usable_keys(jwks: list[Any]) -> dict[str, ProviderKey]:
    """The public keys for signatures of a JWK set, by their ids; others are left out."""
    keys: dict[str, ProviderKey] = {}
    for jwk in jwks[:MAX_KEYS]:
        found = _signing_key(jwk)
        if found is not None:
            keys[found.key_id] = found
    return keys


def _signing_key(jwk: Any) -> ProviderKey | None:
    """None: the key is symmetric, weak, of an unknown kind, without an id, or for encryption."""
    if not isinstance(jwk, dict) or jwk.get("kty") not in ("RSA", "EC", "OKP"):
        return None
    key_id, algorithm = jwk.get("kid"), jwk.get("alg")
    if not isinstance(key_id, str) or not key_id or jwk.get("use", "sig") != "sig":
        return None
    if not isinstance(algorithm, str | None) or not _is_strong(jwk):
        return None
    try:
        key = import_key({name: value for name, value in jwk.items() if name not in _PRIVATE})
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return ProviderKey(key_id, key.thumbprint(), algorithm, key)


def _is_strong(jwk: dict[str, Any]) -> bool:
    """Whether an RSA key is long enough; the curves of others have one length."""
    modulus = jwk.get("n")
    if jwk["kty"] != "RSA":
        return True
    return isinstance(modulus, str) and len(modulus.rstrip("=")) * 6 >= MIN_RSA_BITS


def _document(http: httpx.Client, url: str) -> dict[str, Any]:
    """A JSON object. Raises httpx.HTTPError, and ValueError: too long, too slow or no object."""
    deadline = time.monotonic() + MAX_S
    parts: list[bytes] = []
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    with http.stream("GET", url, headers=headers) as answer:
        if answer.status_code != httpx.codes.OK:
            raise ValueError("the provider refused")
        for part in answer.iter_bytes():
            parts.append(part)
            if sum(map(len, parts)) > MAX_DOCUMENT_BYTES or time.monotonic() > deadline:
                raise ValueError("the document is too long or comes too slowly")
    document = json.loads(b"".join(parts))
    if not isinstance(document, dict):
        raise ValueError("expected a JSON object")
    return document

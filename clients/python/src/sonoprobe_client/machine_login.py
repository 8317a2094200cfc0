"""Access tokens for a machine by a key of its own (SMART Backend Services, RFC 7523).

The machine signs a statement about itself that is valid for a minute and used once; the identity
provider answers with an access token. No secret is sent, and none is stored there.
"""

import json
import secrets
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio.to_thread
import httpx

from sonoprobe_client.problems import LoginFailed

if TYPE_CHECKING:
    from joserfc.jwk import Key

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_S = 60  # SMART allows five minutes
RENEW_SHARE = 0.25  # of the life of a token is left when the next one is fetched
MAX_EARLY_S = 60.0  # and never earlier than so long before its end
UNTOLD_LIFE_S = 60.0  # of a token whose provider does not say it
TIMEOUT_S = 10.0
RETRY_S = 5.0  # while the token is still valid and the provider does not answer
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class MachineLogin(httpx.Auth):
    """Signs in when it is needed and renews the token before it expires; thread safe. Close it.

    Args:
        issuer: the identity provider, as it names itself.
        client_id: the name of this machine at the provider.
        key: its private key, as JWK or PEM: an elliptic one on P-384, or RSA.
        scope: what to ask for, with spaces between; the provider may grant less.
        resource: the service, for providers that make tokens for several (RFC 8707).
        key_id: as the provider knows the key; None = the kid of the JWK, else its thumbprint.
        verify: httpx's ``verify``, such as an ssl.SSLContext for the provider's own certificates.
        clock: monotonic seconds.

    Raises:
        ImportError: the extra machine-login is not installed.
        ValueError: the issuer is neither https nor of this machine, or the key is unsuitable.
    """

    def __init__(
        self,
        issuer: str,
        client_id: str,
        key: str | bytes | dict[str, Any],
        *,
        scope: str = "",
        resource: str | None = None,
        key_id: str | None = None,
        verify: Any = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = _secure(issuer)
        self._client_id = client_id
        self._key, self._algorithm = _signing_key(key)
        self._key_id = key_id or self._key.kid or self._key.thumbprint()
        wishes = {"scope": scope, "resource": resource}
        self._wishes = {name: wish for name, wish in wishes.items() if wish}
        self._http = httpx.Client(timeout=TIMEOUT_S, verify=verify, trust_env=False)
        self._clock = clock
        self._lock = threading.Lock()
        self._endpoint: str | None = None
        self._token = ""
        self._renew_at = self._ends_at = float("-inf")

    def close(self) -> None:
        """Release the connections to the provider."""
        self._http.close()

    def sync_auth_flow(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, None]:
        """Called by httpx for each request. Raises LoginFailed."""
        token = self.token()
        request.headers["Authorization"] = f"Bearer {token}"
        answer = yield request
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            self._forget(token)  # the next request signs in again

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Called by httpx for each request of an asynchronous client. Raises LoginFailed."""
        token = await anyio.to_thread.run_sync(self.token)
        request.headers["Authorization"] = f"Bearer {token}"
        answer = yield request
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            await anyio.to_thread.run_sync(self._forget, token)

    def token(self) -> str:
        """An access token that is valid now. Raises LoginFailed."""
        if self._clock() < self._renew_at:
            return self._token
        # One thread renews a token that still works, and the others go on with it meanwhile.
        is_mine = self._lock.acquire(blocking=self._clock() >= self._ends_at)
        if not is_mine:
            return self._token
        try:
            if self._clock() >= self._renew_at:
                self._renew()
            return self._token
        finally:
            self._lock.release()

    def _renew(self) -> None:
        try:
            answer = self._ask()
        except LoginFailed:
            if self._clock() >= self._ends_at:
                raise
            self._renew_at = min(self._ends_at, self._clock() + RETRY_S)
            return
        told = answer.get("expires_in")
        life_s = float(told) if isinstance(told, int | float) else UNTOLD_LIFE_S
        now_s = self._clock()
        self._token = str(answer["access_token"])
        self._ends_at = now_s + life_s
        self._renew_at = self._ends_at - min(RENEW_SHARE * life_s, MAX_EARLY_S)

    def _forget(self, token: str) -> None:
        with self._lock:
            if self._token == token:
                self._renew_at = self._ends_at = float("-inf")

    def _ask(self) -> dict[str, Any]:
        """The answer of the provider, which has ``access_token``. Raises LoginFailed."""
        try:
            if self._endpoint is None:
                self._endpoint = self._discovered()
            form = {
                "grant_type": "client_credentials",
                "client_assertion_type": ASSERTION_TYPE,
                "client_assertion": self._assertion(self._endpoint),
            }
            response = self._http.post(self._endpoint, data=form | self._wishes)
            answer = response.json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise LoginFailed("the identity provider does not answer as one") from error
        if not isinstance(answer, dict) or not response.is_success or "access_token" not in answer:
            reason = answer.get("error", "no reason") if isinstance(answer, dict) else "no reason"
            raise LoginFailed(
                f"the identity provider refused ({response.status_code}): {str(reason)[:80]}"
            )
        return answer

    def _discovered(self) -> str:
        """The token endpoint. Raises httpx.HTTPError, ValueError."""
        answer = self._http.get(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        about = answer.raise_for_status().json()
        if not isinstance(about, dict) or about.get("issuer") != self._issuer:
            raise ValueError("the document is about another issuer")
        return _secure(str(about.get("token_endpoint", "")))

    def _assertion(self, endpoint: str) -> str:
        now_s = int(time.time())
        claims = {
            "iss": self._client_id,
            "sub": self._client_id,
            "aud": endpoint,
            "iat": now_s,
            "exp": now_s + ASSERTION_S,
            "jti": secrets.token_urlsafe(24),  # the provider accepts each once
        }
        from joserfc import jwt

        header = {"alg": self._algorithm, "kid": self._key_id, "typ": "JWT"}
        return jwt.encode(header, claims, self._key, algorithms=[self._algorithm])


def _secure(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise ValueError("expected an address with https")
    return url


def _signing_key(data: str | bytes | dict[str, Any]) -> tuple["Key", str]:
    """The key and the algorithm that SMART has for it. Raises ImportError, ValueError."""
    # Only who signs in this way needs the extra machine-login.
    from joserfc.errors import JoseError
    from joserfc.jwk import ECKey, RSAKey, import_key

    try:
        if not isinstance(data, dict) and data.lstrip()[:1] in ("{", b"{"):
            data = json.loads(data)
        key = import_key(data) if isinstance(data, dict) else _from_pem(data)
    except (JoseError, ValueError, TypeError, KeyError):
        # Without its cause, which may quote the key.
        raise ValueError("expected a private key as JWK or PEM") from None
    if isinstance(key, ECKey) and key.is_private and key.curve_name == "P-384":
        return key, "ES384"
    if isinstance(key, RSAKey) and key.is_private:
        return key, "RS384"
    raise ValueError("expected a private key: elliptic on P-384, or RSA")


def _from_pem(data: str | bytes) -> "Key":
    from joserfc.errors import JoseError
    from joserfc.jwk import ECKey, RSAKey

    try:
        return ECKey.import_key(data)
    except (JoseError, ValueError, TypeError):
        return RSAKey.import_key(data)

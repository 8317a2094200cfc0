"""Whether an access token is genuine, and meant for this service (RFC 9068, RFC 8725)."""

import binascii
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry

from service.access.tokens.provider_keys import ProviderKey, ProviderKeys
from service.access.tokens.token_policy import TokenPolicy
from service.errors import InvalidToken

MAX_TOKEN_BYTES = 16_384
MAX_HEADER = 2048  # characters
MAX_SIGNATURE = 2048  # characters; 1,366 are those of an RSA key with 8,192 bits
KNOWN_HEADERS = 64  # of which it is remembered that they are in order
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")  # RFC 7515, section 7.1
_STANDARD = bytes.maketrans(b"-_", b"+/")
END_OF_CALENDAR_S = 253_402_300_800.0  # the year 10000, which no time can be
MAX_SUBJECT = 255  # OpenID Connect Core 1.0, section 2
# A key that comes with the token proves nothing; ``crit`` asks for what this service cannot do.
_REFUSED_HEADERS = frozenset({"jku", "jwk", "x5u", "x5c", "crit", "b64", "zip"})
# Of an ID token: it tells a client who has signed in, and is no key to a service.
_ID_TOKEN_CLAIMS = frozenset({"at_hash", "c_hash", "s_hash"})


@dataclass(frozen=True, slots=True)
class GenuineToken:
    """A token whose signature and claims were checked.

    Attributes:
        expires_at_s: seconds since 1970; the tolerated difference of clocks is not in it.
        signer: the key that has signed it.
    """

    claims: Mapping[str, Any]
    subject: str
    expires_at_s: float
    signer: ProviderKey


class TokenCheck:
    """Checks tokens against a policy; thread safe.

    Args:
        clock: seconds since 1970.
    """

    def __init__(
        self, policy: TokenPolicy, keys: ProviderKeys, clock: Callable[[], float] = time.time
    ) -> None:
        self._policy = policy
        self._keys = keys
        self._clock = clock
        registry = JWSRegistry(algorithms=sorted(policy.algorithms))
        self._algorithms = {name: registry.get_alg(name) for name in policy.algorithms}
        # All tokens of one key have the same header. A refused one is not remembered.
        self._signed_with = lru_cache(KNOWN_HEADERS)(self._require_header)

    def genuine(self, token: str) -> GenuineToken:
        """The checked token.

        Raises:
            InvalidToken: forged, expired, not yet valid, no access token or for another service.
            UnknownSigner, IdentityProviderFailure: as ``ProviderKeys.find``.
        """
        if len(token) > MAX_TOKEN_BYTES:
            raise InvalidToken(f"expected an access token of at most {MAX_TOKEN_BYTES} characters")
        if not _COMPACT.fullmatch(token):
            raise InvalidToken("expected an access token that is a signed JWT")
        signed, _, signature = token.rpartition(".")
        header, _, payload = signed.partition(".")
        key_id, algorithm = self._signed_with(header)
        signer = self._keys.find(key_id)
        if signer.algorithm not in (None, algorithm):
            raise InvalidToken("the access token uses its key with another algorithm")
        self._require_signature(algorithm, signed, signature, signer)
        claims = _json_object(payload)
        self._require_parties(claims)
        expires_at_s = self._require_times(claims)
        subject = claims.get("sub")
        if not isinstance(subject, str) or not 1 <= len(subject) <= MAX_SUBJECT:
            raise InvalidToken("the access token names no subject")
        if not subject.isprintable():
            raise InvalidToken("the access token has a subject that cannot be printed")
        return GenuineToken(claims, subject, expires_at_s, signer)

    def is_over(self, expires_at_s: float) -> bool:
        """Whether a token that expires then is refused by now."""
        return self._clock() >= expires_at_s + self._policy.clock_skew_s

    def _require_header(self, text: str) -> tuple[str, str]:
        """The id of the key and the algorithm. Raises InvalidToken.

        Members that nobody here knows are ignored, as RFC 7515 asks.
        """
        if len(text) > MAX_HEADER:
            raise InvalidToken("the access token has a longer header than any")
        header = _json_object(text)
        algorithm, key_id = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in self._policy.algorithms:
            raise InvalidToken("the access token is signed with an algorithm that is not accepted")
        if _REFUSED_HEADERS & header.keys():
            raise InvalidToken("the access token brings a key, or asks for extensions")
        kind = str(header.get("typ", "")).lower().removeprefix("application/")
        if kind not in self._policy.types:
            raise InvalidToken("the token is not of the type of an access token")
        if not isinstance(key_id, str):
            raise InvalidToken("the access token names no key")
        return key_id, algorithm

    def _require_signature(
        self, algorithm: str, signed: str, signature: str, signer: ProviderKey
    ) -> None:
        """Check the signature with this key and no other. Raises InvalidToken."""
        method = self._algorithms[algorithm]
        try:
            if len(signature) > MAX_SIGNATURE:
                raise ValueError("longer than any signature")
            method.check_key(signer.key)  # its kind, curve and use
            is_genuine = method.verify(signed.encode(), _bytes_of(signature), signer.key)
        except (JoseError, ValueError) as error:
            raise InvalidToken("the access token is not genuine") from error
        if not is_genuine:
            raise InvalidToken("the access token is not genuine")

    def _require_parties(self, claims: Mapping[str, Any]) -> None:
        if claims.get("iss") != self._policy.issuer:
            raise InvalidToken("the access token is of another issuer")
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if self._policy.audience not in audiences:
            raise InvalidToken("the access token is for another service")
        if _ID_TOKEN_CLAIMS & claims.keys():
            raise InvalidToken("the token is an ID token and no access token")
        if "cnf" in claims:
            # RFC 9449: as a plain bearer token it could have been stolen from its owner.
            raise InvalidToken(
                "the access token is bound to a key, of which the request has no proof"
            )

    def _require_times(self, claims: Mapping[str, Any]) -> float:
        now_s, skew_s = self._clock(), self._policy.clock_skew_s
        expires_at_s = _seconds(claims.get("exp"))
        if expires_at_s is None:
            raise InvalidToken("the access token never expires")
        if self.is_over(expires_at_s):
            raise InvalidToken("the access token has expired")
        for name in ("nbf", "iat"):
            moment_s = _seconds(claims.get(name))
            if name in claims and (moment_s is None or moment_s > now_s + skew_s):
                raise InvalidToken("the access token is not valid yet")
        return expires_at_s


def _bytes_of(text: str) -> bytes:
    """What a part of a token stands for. Raises ValueError: no base64url without padding."""
    standard = text.encode().translate(_STANDARD) + b"=" * (-len(text) % 4)
    return binascii.a2b_base64(standard, strict_mode=True)


def _json_object(text: str) -> dict[str, Any]:
    """A part of a token that is a JSON object. Raises InvalidToken."""
    try:
        found = json.loads(_bytes_of(text).decode())
    except (ValueError, RecursionError) as error:
        raise InvalidToken("expected an access token that is a signed JWT") from error
    if not isinstance(found, dict):
        raise InvalidToken("expected an access token that is a signed JWT")
    return found


def _seconds(value: Any) -> float | None:
    """A time of a claim; None = it is no number, or none of a time of the calendar."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < END_OF_CALENDAR_S else None

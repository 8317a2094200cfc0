"""The public keys of the identity provider, which a thread fetches, and never a request.

A token whose key is unknown may be signed by a key that is new. Its request waits for one more
fetch on the thread of all that wait (``service.api.routing``). There is one attempt per
``RETRY_S`` whatever comes in, so that made-up key ids cause no storm.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from joserfc.jwk import Key

from service.errors import IdentityProviderFailure, InvalidToken

log = logging.getLogger(__name__)
RETRY_S = 10.0  # between two attempts to fetch


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One public key; two are equal if they are the same key under the same id.

    Attributes:
        algorithm: the only one that the key may be used with; None = any of its kind.
    """

    key_id: str
    thumbprint: str
    algorithm: str | None
    key: Key = field(compare=False, repr=False)


class UnknownSigner(Exception):
    """The key of a token is not among those that were fetched, and one may fetch again."""


class SigningKeys:
    """The keys that are in use now; thread safe.

    Args:
        fetch: asks the provider. Raises IdentityProviderFailure.
        refresh_s: age at which the thread fetches them again.
        keep_s: age up to which they are used while the provider does not answer.
        retry_s: least time between two attempts.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        fetch: Callable[[], Mapping[str, SigningKey]],
        *,
        refresh_s: float,
        keep_s: float,
        retry_s: float = RETRY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._refresh_s = refresh_s
        self._keep_s = max(keep_s, refresh_s)
        self._retry_s = retry_s
        self._clock = clock
        self._keys: Mapping[str, SigningKey] = {}
        self._fetched_at = -math.inf
        self._tried_at = -math.inf
        self._has_failed = False
        self._fetching = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._refresh, name="identity-keys", daemon=True)

    def open(self) -> None:
        """Begin to fetch. A provider that does not answer is tried again, so nothing is raised."""
        self._thread.start()

    def close(self) -> None:
        """End the thread. An attempt under way ends by itself within its time limit."""
        self._closing.set()

    def find(self, key_id: str) -> SigningKey:
        """The key with this id.

        Raises:
            UnknownSigner: unknown; ``fetch_again`` may find it.
            InvalidToken: unknown, and the keys are as new as they can be.
            IdentityProviderFailure: there are no keys, or they are too old to be believed.
        """
        is_usable = self.age_s() <= self._keep_s
        key = self._keys.get(key_id) if is_usable else None
        if key is not None:
            return key
        wait_s = self._tried_at + self._retry_s - self._clock()
        if wait_s <= 0:
            raise UnknownSigner
        if not is_usable or self._has_failed:
            what = "the keys of the identity provider cannot be fetched"
            raise IdentityProviderFailure(what, math.ceil(wait_s))
        raise InvalidToken("the access token is signed by no key of the identity provider")

    def age_s(self) -> float:
        """Seconds since the keys were fetched; infinite = never."""
        return self._clock() - self._fetched_at

    def fetch_again(self) -> None:
        """Fetch the keys, unless somebody tried within the last ``RETRY_S``. Blocks."""
        with self._fetching:
            if self._clock() - self._tried_at < self._retry_s:
                return
            try:
                self._keys = self._fetch()
            except IdentityProviderFailure as error:
                self._has_failed = True
                cause = type(error.__cause__).__name__  # its text may quote what was sent
                log.warning("no keys of the identity provider", extra={"cause": cause})
            else:
                self._has_failed = False
                self._fetched_at = self._clock()
            self._tried_at = self._clock()

    def _refresh(self) -> None:
        while not self._closing.is_set():
            self.fetch_again()
            left_s = self._fetched_at + self._refresh_s - self._clock()
            self._closing.wait(self._retry_s if self._has_failed else max(left_s, self._retry_s))

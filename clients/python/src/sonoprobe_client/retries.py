"""What is sent again, and when: the rule of the TypeScript client too.

The service declines with 429 or 503 and ``Retry-After`` before it does anything, so that every
request may be sent again. A connection that breaks says nothing about what was done: only reads are
sent again then, and requests with an Idempotency-Key.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from sonoprobe_client.problems import BUSY, retry_after_s

FIRST_WAIT_S = 0.2  # after a broken connection; it doubles


@dataclass(frozen=True)
class RetryRule:
    """How often, and how long to wait at most before one repetition."""

    retries: int
    max_wait_s: float

    def wait_after_answer(self, attempt: int, response: httpx.Response) -> float | None:
        """Seconds until the next attempt; None = this answer is the last."""
        asked_s = retry_after_s(response)
        if attempt >= self.retries or response.status_code not in BUSY or asked_s is None:
            return None
        return asked_s if asked_s <= self.max_wait_s else None

    def wait_after_break(
        self, attempt: int, error: httpx.TransportError, method: str, headers: Mapping[str, Any]
    ) -> float | None:
        """Seconds until the next attempt; None = give up."""
        is_repeatable = method == "GET" or "Idempotency-Key" in headers
        # Whoever has waited for an answer as long as allowed does not want to wait again.
        is_over = isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout)
        if attempt >= self.retries or is_over or not is_repeatable:
            return None
        return float(min(FIRST_WAIT_S * 2**attempt, self.max_wait_s))

"""What the audit log and the metrics hold of a live stream: its opening, and sums of its frames.

An entry for each frame would fill the log with what says nothing: who watched what is in the
opening, and how much of it in the sums. Both are on disk like those of other reads.
"""

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from service.access.audit.audit_entries import (
    SERVICE_CHAIN,
    UNKNOWN,
    AuditEvent,
    outcome_of,
    who_is,
)
from service.access.audit.audit_log import SUMMED_UP, AuditLog
from service.access.keys import Caller
from service.api.problems import STATUS
from service.errors import ServiceError

ACTION = "stream_frames"
SUM_EVERY_S = 300.0
FrameOutcome: TypeAlias = Literal["called", "abstained", "dropped", "failed"]


class StreamMetrics(Protocol):
    """What counts frames of streams."""

    def stream_frame(self, outcome: str) -> None:
        """Count a frame."""


@dataclass
class StreamTrail:
    """The entries of one stream.

    Args:
        log: None = nothing is recorded.
        name: of the classifier, as the client typed it.
        began_s: of the sums that are gathered, monotonic.
    """

    log: AuditLog | None
    metrics: StreamMetrics
    request_id: str
    name: str
    caller: Caller | None = None
    began_s: float = field(default_factory=time.monotonic)
    sums: Counter[str] = field(default_factory=Counter)

    async def opened(self) -> None:
        """Return when the opening is on disk. Raises AuditFailure."""
        if self.log is not None:
            await self.log.record(self._event(ACTION, 101))

    async def refused(self, error: ServiceError) -> None:
        """Record why there is no stream. Raises AuditFailure."""
        if self.log is None:
            return
        status = STATUS[type(error)]
        event = self._event(ACTION, status, error.code)
        if status in SUMMED_UP:
            event.names = {}
            self.log.note_refusal(event)
        elif self.caller is not None:
            await self.log.record(event)

    def count(self, outcome: FrameOutcome) -> None:
        """Count a frame."""
        self.sums[outcome] += 1
        self.metrics.stream_frame(outcome)

    @property
    def is_due(self) -> bool:
        """Whether the sums are to be recorded."""
        return time.monotonic() - self.began_s >= SUM_EVERY_S

    async def sum_up(self, error: ServiceError | None = None) -> None:
        """Record the sums since the last time, and why the stream ends if that is a refusal.

        Raises:
            AuditFailure: they cannot be stored.
        """
        sums, self.sums = self.sums, Counter()
        now_s = time.monotonic()
        seconds, self.began_s = round(now_s - self.began_s), now_s
        if self.log is None:
            return
        status = 200 if error is None else STATUS[type(error)]
        event = self._event(f"{ACTION}.frames", status, "" if error is None else error.code)
        event.are_known = True  # the stream was open
        event.facts = {**dict(sorted(sums.items())), "seconds": seconds}
        await self.log.record(event)

    def _event(self, action: str, status: int, code: str = "") -> AuditEvent:
        caller = self.caller
        return AuditEvent(
            chain=SERVICE_CHAIN if caller is None else caller.workspace_id,
            action=action,
            who=UNKNOWN if caller is None else who_is(caller),
            outcome=outcome_of(status),
            names={"classifier": [self.name]},
            are_known=status < 400 or status == 409,
            status=status,
            code=code,
            request_id=self.request_id,
        )

"""What running work sees of its operation: report progress, and stop when it must.

Blocking, thread safe.
"""

import threading
import time

from service.catalog.interface import Catalog
from service.catalog.operation_records import Operation
from service.errors import CatalogFailure, LeaseLost, UnknownItem

REPORT_EVERY_S = 0.5  # each report is a write to disk


class Cancellation(Exception):
    """A client cancelled the operation."""


class Interruption(Exception):
    """The service stops, or another worker has the operation, which stays unfinished."""


class Progress:
    """Lets work report its progress, and tells it when to stop.

    Args:
        worker_id: who holds the operation.
        stopping: set when the service stops.
        is_cancellable: False = the work goes on to its end, whoever cancels it.

    Attributes:
        cancelled: set when a client cancelled the operation.
        lost: set when another worker has it, which happens if the lease was not renewed in time.
    """

    def __init__(
        self,
        catalog: Catalog,
        operation: Operation,
        worker_id: str,
        stopping: threading.Event,
        *,
        is_cancellable: bool = True,
    ) -> None:
        self.operation = operation
        self._catalog = catalog
        self._held = (operation.workspace_id, operation.operation_id, worker_id)
        self._stopping = stopping
        self._is_cancellable = is_cancellable
        self._reported_s = -REPORT_EVERY_S
        self.cancelled = threading.Event()
        self.lost = threading.Event()

    def report(self, done: int, total: int) -> None:
        """Store the progress, at most twice a second. Raises Cancellation, Interruption."""
        self.check()
        moment = time.monotonic()
        if done < total and moment - self._reported_s < REPORT_EVERY_S:
            return
        self._reported_s = moment
        try:
            operation = self._catalog.report_operation(*self._held, done=done, total=total)
        except LeaseLost as error:
            self.lost.set()
            raise Interruption from error
        if operation.cancel_asked and self._is_cancellable:
            raise Cancellation

    def check(self) -> None:
        """Raises Cancellation, Interruption: the work must stop."""
        if self._stopping.is_set() or self.lost.is_set():
            raise Interruption
        if self.cancelled.is_set() and self._is_cancellable:
            raise Cancellation

    def wait(self, seconds: float) -> None:
        """Sleep until the time or the service is over. Raises Cancellation, Interruption."""
        self._stopping.wait(seconds)
        self.check()

    def renew(self, lease_s: float) -> None:
        """Hold the operation longer, and take over what others have decided about it."""
        try:
            operation = self._catalog.renew_operation(*self._held, lease_s=lease_s)
        except (LeaseLost, UnknownItem):
            self.lost.set()
        except CatalogFailure:
            return  # the next renewal tries again, long before the lease runs out
        else:
            if operation.cancel_asked:
                self.cancelled.set()

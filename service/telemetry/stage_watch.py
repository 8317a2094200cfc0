"""Measures the stages of the work: as spans, and for the metrics."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.telemetry.tracing import Tracing


class StageWatch:
    """Gives the context managers that the rooms put around their work.

    Args:
        on_end: called with the name and the seconds of each stage.
    """

    def __init__(self, tracing: Tracing, on_end: Callable[[str, float], None]) -> None:
        self._tracing = tracing
        self._on_end = on_end

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Measure one stage; one that fails counts as well."""
        started_s = time.perf_counter()
        with self._tracing.span(stage):
            try:
                yield
            finally:
                self._on_end(stage, time.perf_counter() - started_s)

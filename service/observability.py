"""What an operator sees: metrics of one service and structured log lines. No patient data."""

import json
import logging
import warnings
from collections.abc import Callable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

METRICS_CONTENT_TYPE = CONTENT_TYPE_LATEST
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}


class Metrics:
    """Counters of one service; each has its own registry, so that two can live in a process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "sonoprobe_requests_total",
            "Answered requests.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self.request_s = Histogram(
            "sonoprobe_request_seconds",
            "Time to answer.",
            ["method", "route"],
            registry=self._registry,
        )
        self.batch_frames = Histogram(
            "sonoprobe_encoder_batch_frames",
            "Frames per forward pass.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self._registry,
        )
        self._in_flight = Gauge(
            "sonoprobe_images_in_flight",
            "Images admitted and not yet answered.",
            registry=self._registry,
        )

    def watch_in_flight(self, read: Callable[[], int]) -> None:
        """Report ``read()`` as the number of images in flight."""
        self._in_flight.set_function(read)

    def render(self) -> bytes:
        """All metrics in the Prometheus text format."""
        return generate_latest(self._registry)


class JsonLines(logging.Formatter):
    """One event, one JSON object: time, level, message and its extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, without a line end."""
        fields = {k: v for k, v in record.__dict__.items() if k not in _STANDARD}
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **fields,
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure_logging(level: str) -> None:
    """Send every log line to standard error as JSON, and silence Pillow's warnings.

    Pillow warns of odd metadata, where the pixels are what counts, and may quote it.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)

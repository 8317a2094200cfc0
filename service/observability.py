"""What an operator sees: metrics of one service and structured log lines. No patient data."""

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

METRICS_CONTENT_TYPE = CONTENT_TYPE_LATEST
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}


INDEX_FIGURES = {
    "rows": "Scans in an index.",
    "compressed_rows": "Scans in an index that are searched approximately.",
    "recall": "Share of the exact 10 best that approximate search finds, sampled.",
    "recall_samples": "Searches behind the measured recall.",
}


class IndexMetrics(Collector):
    """Gauges per index, read when they are asked for; so a deleted index leaves nothing."""

    def __init__(self, read: Callable[[], Mapping[str, Mapping[str, float]]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """One family per figure, one sample per index that has it."""
        found = self._read()
        for name, says in INDEX_FIGURES.items():
            family = GaugeMetricFamily(f"sonoprobe_index_{name}", says, labels=["index"])
            for index_id, figures in found.items():
                if name in figures:
                    family.add_metric([index_id], figures[name])
            yield family

    def describe(self) -> Iterator[Metric]:
        """Nothing in advance: registering must not read an index."""
        return iter(())


class ServiceMetrics:
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

    def watch_indexes(self, read: Callable[[], Mapping[str, Mapping[str, float]]]) -> None:
        """Report ``read()``, {index_id: {figure: value}}, with the figures of INDEX_FIGURES."""
        self._registry.register(IndexMetrics(read))

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

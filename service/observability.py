"""Metrics and log lines for operators. Nothing of a patient is in either."""

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
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

METRICS_CONTENT_TYPE = CONTENT_TYPE_LATEST
# One event, one JSON object: time, level, logger, message and the extra fields of the call.
JSON_LINES = JsonFormatter(
    "%(asctime)s %(levelname)s %(name)s %(message)s",
    datefmt="%Y-%m-%dT%H:%M:%S",
    rename_fields={
        "asctime": "time",
        "levelname": "level",
        "name": "logger",
        "exc_info": "trace",
    },
    reserved_attrs=[*RESERVED_ATTRS, "color_message"],
)
INDEX_FIGURES = {
    "rows": "Scans in an index.",
    "compressed_rows": "Scans in an index that are searched approximately.",
    "recall": "Share of the exact 10 best that approximate search finds, sampled.",
    "recall_samples": "Searches behind the measured recall.",
}


class IndexMetrics(Collector):
    """Gauges per index, read when they are scraped, so that a deleted index leaves nothing."""

    def __init__(self, read: Callable[[], Mapping[str, Mapping[str, float]]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """One family per figure, one sample per index that has it."""
        indexes = self._read()
        for name, description in INDEX_FIGURES.items():
            family = GaugeMetricFamily(f"sonoprobe_index_{name}", description, labels=["index"])
            for index_id, figures in indexes.items():
                if name in figures:
                    family.add_metric([index_id], figures[name])
            yield family

    def describe(self) -> Iterator[Metric]:
        """Nothing: registering must not read an index."""
        return iter(())


class ServiceMetrics:
    """Metrics of one service in a registry of its own: a process may run several services."""

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

    def watch_records(self, held: Callable[[], int], owed: Callable[[], int]) -> None:
        """Report scans that retention refused to delete, and erasures that backups lack."""
        for name, description, read in (
            ("retention_held_scans", "Expired scans that a sweep refused to delete.", held),
            ("erasures_owed", "Erasures not yet written beside the backups.", owed),
        ):
            gauge = Gauge(f"sonoprobe_{name}", description, registry=self._registry)
            gauge.set_function(read)

    def watch_indexes(self, read: Callable[[], Mapping[str, Mapping[str, float]]]) -> None:
        """Report ``read()``, {index_id: {figure: value}}, with the figures of INDEX_FIGURES."""
        self._registry.register(IndexMetrics(read))

    def render(self) -> bytes:
        """All metrics in the Prometheus text format."""
        return generate_latest(self._registry)


def configure_logging(level: str) -> None:
    """Send every log line to standard error as JSON, and silence Pillow's warnings.

    Pillow warns about odd metadata, which does not matter here, and may quote it.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")
    handler = logging.StreamHandler()
    handler.setFormatter(JSON_LINES)
    logging.basicConfig(level=level, handlers=[handler], force=True)

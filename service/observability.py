"""Metrics and log lines for operators. Nothing of a patient is in either."""

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    start_http_server,
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
STAGES = ("decode", "encode", "search", "fit", "operation")
ABSTENTIONS = ("blank", "frozen", "not_ultrasound", "far_from_every_example", "ambiguous")
PREDICTED = ("called", *ABSTENTIONS)
FIGURES_IN_USE = ("similarity", "confidence", "abstentions")
STREAM_FRAMES = ("called", "abstained", "dropped", "failed")
LATENCY_BUCKETS_S = (0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2)
STAGE_BUCKETS_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 120, 600)
QUEUE_FIGURES = {
    "waiting": "Items that wait: files, frames of the encoder, fits, operations.",
    "running": "Items that are being worked on.",
    "oldest_seconds": "Age of the item that has waited longest; 0 when none waits.",
}
DECODER_FIGURES = {"confined": "Whether a measure confines the decoder processes: 1 or 0."}
ENCODER_FIGURES = {"last_pass_seconds": "Time since the last forward pass that succeeded."}
Read: TypeAlias = Callable[[], Mapping[str, Mapping[str, float]]]


class LabelledGauges(Collector):
    """Gauges per label, read when they are scraped, so that what is deleted leaves nothing.

    Args:
        subject: of the names, and the label, such as ``index``.
        figures: {name: description}.
        read: {label: {name: value}}; a figure that is unknown is left out.
    """

    def __init__(self, subject: str, figures: Mapping[str, str], read: Read) -> None:
        self._subject = subject
        self._figures = figures
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """One family per figure, one sample per label that has it."""
        values = self._read()
        for name, description in self._figures.items():
            full_name = f"sonoprobe_{self._subject}_{name}"
            family = GaugeMetricFamily(full_name, description, labels=[self._subject])
            for label, figures in values.items():
                if name in figures:
                    family.add_metric([label], figures[name])
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
        self._stage_s = Histogram(
            "sonoprobe_stage_seconds",
            "Time of one stage of the work, without waiting for a thread.",
            ["stage"],
            buckets=STAGE_BUCKETS_S,
            registry=self._registry,
        )
        for stage in STAGES:  # a stage that never ran is 0 and not absent
            self._stage_s.labels(stage)
        self._operations = Counter(
            "sonoprobe_operations_total",
            "Operations that ended in this process.",
            ["kind", "outcome"],
            registry=self._registry,
        )
        self._in_flight = Gauge(
            "sonoprobe_images_in_flight",
            "Images admitted and not yet answered.",
            registry=self._registry,
        )
        self._count_answers()
        self._count_stream_frames()

    def _count_stream_frames(self) -> None:
        self._stream_frames = Counter(
            "sonoprobe_stream_frames_total",
            "Frames of live streams by outcome; called and abstained ones were answered.",
            ["outcome"],
            registry=self._registry,
        )
        for outcome in STREAM_FRAMES:
            self._stream_frames.labels(outcome)
        self._stream_latency_s = Histogram(
            "sonoprobe_stream_latency_seconds",
            "Time from the arrival of a live frame to its decision.",
            buckets=LATENCY_BUCKETS_S,
            registry=self._registry,
        )

    def _count_answers(self) -> None:
        self._limited = Counter(
            "sonoprobe_limited_total",
            "Requests that a rate or a quota refused.",
            ["limit"],
            registry=self._registry,
        )
        self._predictions = Counter(
            "sonoprobe_predictions_total",
            "Predictions by outcome: called, or why the classifier abstained.",
            ["outcome"],
            registry=self._registry,
        )
        self._alarms = Counter(
            "sonoprobe_classifier_alarms_total",
            "Windows of predictions in which a figure of a classifier differs from its reference.",
            ["figure"],
            registry=self._registry,
        )
        for outcome in PREDICTED:
            self._predictions.labels(outcome)
        for figure in FIGURES_IN_USE:
            self._alarms.labels(figure)

    def stage_ended(self, stage: str, elapsed_s: float) -> None:
        """Count one of ``STAGES``."""
        self._stage_s.labels(stage).observe(elapsed_s)

    def operation_ended(self, kind: str, outcome: str) -> None:
        """Count an operation: ``done``, ``failed``, ``cancelled``."""
        self._operations.labels(kind, outcome).inc()

    def limited(self, limit: str) -> None:
        """Count a request that was refused for this limit."""
        self._limited.labels(limit).inc()

    def watch_limits(self, names: Iterable[str]) -> None:
        """Report 0 for a limit that has refused nothing yet."""
        for name in names:
            self._limited.labels(name)

    def answered(self, outcome: str) -> None:
        """Count a prediction: one of ``PREDICTED``."""
        self._predictions.labels(outcome).inc()

    def stream_frame(self, outcome: str) -> None:
        """Count a frame of a live stream: one of ``STREAM_FRAMES``."""
        self._stream_frames.labels(outcome).inc()

    def stream_answered(self, latency_s: float) -> None:
        """Count the time that a frame waited for its decision."""
        self._stream_latency_s.observe(latency_s)

    def watch_streams(self, read: Callable[[], int]) -> None:
        """Report ``read()`` as the number of open live streams."""
        gauge = Gauge("sonoprobe_streams_open", "Open live streams.", registry=self._registry)
        gauge.set_function(read)

    def alarmed(self, figure: str) -> None:
        """Count an alarm of a classifier in use, by one of ``FIGURES_IN_USE``."""
        self._alarms.labels(figure).inc()

    def watch_backups(self, age_s: Callable[[], float]) -> None:
        """Report the age of the newest backup; infinite = there is none."""
        gauge = Gauge(
            "sonoprobe_backup_age_seconds",
            "Age of the newest backup; infinite when there is none.",
            registry=self._registry,
        )
        gauge.set_function(age_s)

    def watch_identity(self, age_s: Callable[[], float]) -> None:
        """Report the age of the identity provider's keys; infinite = they were never fetched."""
        gauge = Gauge(
            "sonoprobe_identity_keys_age_seconds",
            "Age of the keys that check access tokens; infinite when none were fetched.",
            registry=self._registry,
        )
        gauge.set_function(age_s)

    def watch_audit(self, head_age_s: Callable[[], float], failures: Callable[[], int]) -> None:
        """Report the age of the noted heads, and how many groups of entries were not stored."""
        for name, description, read in (
            ("head_age_seconds", "Time since the heads of the audit log were noted.", head_age_s),
            ("failed_groups", "Groups of audit entries that could not be stored.", failures),
        ):
            gauge = Gauge(f"sonoprobe_audit_{name}", description, registry=self._registry)
            gauge.set_function(read)

    def watch_in_flight(self, read: Callable[[], int]) -> None:
        """Report ``read()`` as the number of images in flight."""
        self._in_flight.set_function(read)

    def watch_records(
        self, held: Callable[[], int], owed: Callable[[], int], unvacuumed: Callable[[], int]
    ) -> None:
        """Report scans that retention refused to delete, and erasures that are not at their end.

        Args:
            owed: erasures that backups lack.
            unvacuumed: erasures of which rows were left in the files of the database.
        """
        for name, description, read in (
            ("retention_held_scans", "Expired scans that a sweep refused to delete.", held),
            ("erasures_owed", "Erasures not yet written beside the backups.", owed),
            ("erasures_unvacuumed", "Erasures with rows left in the database's files.", unvacuumed),
        ):
            gauge = Gauge(f"sonoprobe_{name}", description, registry=self._registry)
            gauge.set_function(read)

    def watch_indexes(self, read: Read) -> None:
        """Report ``read()``, {index_id: {figure: value}}, with the figures of INDEX_FIGURES."""
        self._registry.register(LabelledGauges("index", INDEX_FIGURES, read))

    def watch_queues(self, read: Read) -> None:
        """Report ``read()``, {queue: {figure: value}}, with the figures of QUEUE_FIGURES."""
        self._registry.register(LabelledGauges("queue", QUEUE_FIGURES, read))

    def watch_decoders(self, read: Read) -> None:
        """Report ``read()``, {measure: {"confined": 0 or 1}}; nothing before the first process."""
        self._registry.register(LabelledGauges("decoder", DECODER_FIGURES, read))

    def watch_encoder(self, read: Read) -> None:
        """Report ``read()``, {encoder_id: {figure: value}}, with those of ENCODER_FIGURES."""
        self._registry.register(LabelledGauges("encoder", ENCODER_FIGURES, read))

    def serve(self, host: str, port: int) -> Callable[[], None]:
        """Answer at an address of its own; return what stops it. Raises OSError."""
        server, thread = start_http_server(port, host, self._registry)

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return stop

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

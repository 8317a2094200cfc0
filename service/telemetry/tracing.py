"""Spans of requests and their stages, sent by OTLP over HTTP.

Nothing that a client sends is in a span: attributes outside ``ALLOWED`` are refused, exceptions are
not recorded, and trace headers of a request are not read, because their content is the client's.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from service.errors import InvalidSettings, ServiceError

ALLOWED = {  # attribute -> who chooses its values
    "http.request.method": "one of the methods below",
    "http.route": "the template of the route, such as /v1/collections/{name}",
    "http.response.status_code": "the service",
    "error.type": "code of an error of the service",
    "sonoprobe.request_id": "the service; log lines have it too",
}
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# FastAPI 0.165 makes spans of its own, with addresses and their queries, as soon as a process has
# a global provider of spans. For ``FastAPI(telemetry=...)``, which earlier versions ignore.
NO_SPANS_OF_FASTAPI: Any = dict.fromkeys(
    ("tracing", "metrics", "logs", "operation_spans", "auto_configure"), False
)
EXPORT_TIMEOUT_S, CLOSE_TIMEOUT_MS = 5, 2000


class Span(Protocol):
    """A running span."""

    def set(self, name: str, value: str | int) -> None:
        """Set one of the ``ALLOWED`` attributes. Raises ValueError: another one."""

    def rename(self, name: str) -> None:
        """Give another name, one that the service chose."""


class Tracing(Protocol):
    """Makes spans; those that are begun inside another one are its children."""

    def span(self, name: str) -> AbstractContextManager[Span]:
        """A context manager that gives a ``Span``; ``name`` is a constant of the program."""

    def close(self) -> None:
        """Send what is left. Blocks for two seconds at most."""


class _NoSpan:
    def set(self, name: str, value: str | int) -> None:
        """Nothing."""

    def rename(self, name: str) -> None:
        """Nothing."""


class NoTracing:
    """No endpoint is set."""

    _span = _NoSpan()

    @contextmanager
    def span(self, name: str) -> Iterator[Span]:
        """A span that goes nowhere."""
        yield self._span

    def close(self) -> None:
        """Nothing."""


class _OtelSpan:
    def __init__(self, span: Any) -> None:
        self._span = span

    def set(self, name: str, value: str | int) -> None:
        if name not in ALLOWED:
            raise ValueError(f"the attribute {name} is not allowed in a span")
        if name == "http.request.method" and value not in METHODS:
            value = "_OTHER"
        self._span.set_attribute(name, value)

    def rename(self, name: str) -> None:
        self._span.update_name(name)


class OtlpTracing:
    """Sends spans to a collector from a thread of its own; a collector that is away costs spans.

    Args:
        endpoint: address of the collector's OTLP/HTTP receiver, such as
            ``http://collector:4318/v1/traces``.
        share: of the requests that are traced, 0 to 1.

    Raises:
        ImportError: the extra ``otel`` is not installed.
    """

    def __init__(self, endpoint: str, *, version: str, share: float = 1.0) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import SpanLimits, TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

        self._provider = TracerProvider(
            # Detectors would add the command line and the names of host and user.
            resource=Resource({"service.name": "sonoprobe", "service.version": version}),
            sampler=ParentBasedTraceIdRatio(share),
            span_limits=SpanLimits(max_attributes=len(ALLOWED), max_events=0, max_links=0),
            shutdown_on_exit=False,
        )
        exporter = OTLPSpanExporter(endpoint, timeout=EXPORT_TIMEOUT_S)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("sonoprobe", version)

    @contextmanager
    def span(self, name: str) -> Iterator[Span]:
        """See ``Tracing``. The code of an error of the service is kept, and no message."""
        with self._tracer.start_as_current_span(
            name, record_exception=False, set_status_on_exception=False
        ) as started:
            span = _OtelSpan(started)
            try:
                yield span
            except ServiceError as error:
                span.set("error.type", error.code)
                raise

    def close(self) -> None:
        """See ``Tracing``."""
        self._provider.force_flush(CLOSE_TIMEOUT_MS)
        self._provider.shutdown()


def tracing_of(endpoint: str, *, version: str, share: float) -> Tracing:
    """Tracing to an endpoint, or none without one.

    Raises:
        InvalidSettings: the extra ``otel`` is not installed.
    """
    if not endpoint:
        return NoTracing()
    try:
        return OtlpTracing(endpoint, version=version, share=share)
    except ImportError as error:
        needs = "SONOPROBE_OTLP_ENDPOINT needs: pip install 'sonoprobe[otel]'"
        raise InvalidSettings(needs) from error

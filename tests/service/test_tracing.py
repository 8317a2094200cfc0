"""Spans say which part of a request took how long, and nothing that a client chose."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from service.errors import CorruptImage
from service.server import local_service
from service.settings import Settings
from service.telemetry.tracing import ALLOWED, NoTracing, OtlpTracing, tracing_of
from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client
from tests.service.expected import BUNDLE
from tests.service.otlp_collector import OtlpCollector, otlp_collector

ROOT = Path(__file__).parents[2]
SECRETS = ("JONES", "MALIGNANT", "TASK", "DOE", "SMITH", "SCANID", "ward7", "STUDY9", "LUNGHEAD")
HEADERS = {
    "User-Agent": "SMITH",
    "X-Request-ID": "SMITH",
    "traceparent": "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01",
    "tracestate": "vendor=SMITH",
    "baggage": "patient=SMITH",
}


def attributes(span) -> dict[str, object]:
    return {item.key: item.value.string_value or item.value.int_value for item in span.attributes}


def talk(url: str, key: str, frames) -> None:
    """Put a secret into every place that a client controls, also with requests that fail."""
    with Client(url, key=key) as client:
        client.create_collection("ward7")
        metadata = {"scan_id": "SCANID", "subject_id": "DOE", "study_id": "STUDY9"}
        metadata |= {"labels": {"TASK": "MALIGNANT"}, "attributes": {"NOTE": "SMITH"}}
        client.request(
            "POST",
            "/v1/collections/ward7/scans",
            headers=HEADERS,
            files=[
                ("files", ("JONES.png", frames["cyst"][0], "image/png")),
                ("files", ("JONES.dcm", b"\0" * 128 + b"DICM SMITH", "application/dicom")),
            ],
            data={"metadata": json.dumps([metadata, {}])},
        )
        client.search_image("ward7", frames["cyst"][0])
        list(client.scans("ward7", label=["TASK:MALIGNANT"]))
        for path in ("/SMITH", "/v1/SMITH/DOE?subject=DOE", "/v1/classifiers/LUNGHEAD"):
            with pytest.raises(ApiError):
                client.request("GET", path, headers=HEADERS)
        with pytest.raises(ApiError):
            client.request("PROPFIND", "/v1/SMITH", headers=HEADERS)
        with pytest.raises(ApiError):
            client.request("POST", "/v1/classifiers/LUNGHEAD", json={"SMITH": "DOE"})
        client.erase_subject("DOE")


@pytest.fixture
def collector(tmp_path: Path, frames) -> OtlpCollector:
    with otlp_collector() as collector:
        settings = Settings(
            data_dir=tmp_path, bundle_dir=BUNDLE, drain_s=0, otlp_endpoint=collector.url
        )
        with local_service(settings) as local:
            talk(local.url, local.key, frames)
            key = local.key
        assert key.encode() not in b"".join(collector.bodies)
    return collector


def test_no_span_holds_what_a_client_sent(collector: OtlpCollector) -> None:
    sent = b"".join(collector.bodies)
    assert b"sonoprobe.request_id" in sent  # otherwise nothing arrived
    for secret in (*SECRETS, "0123456789abcdef"):
        assert secret.encode() not in sent
    for span in collector.spans:
        assert set(attributes(span)) <= set(ALLOWED)
        assert not span.events
        assert not span.links
        assert span.trace_id != bytes.fromhex(HEADERS["traceparent"].split("-")[1])


def test_stages_are_children_of_their_request(collector: OtlpCollector) -> None:
    spans = {span.span_id: span for span in collector.spans}
    stages = {(spans[s.parent_span_id].name, s.name) for s in spans.values() if s.parent_span_id}
    assert stages >= {
        ("/v1/collections/{collection}/scans", "decode"),
        ("/v1/collections/{collection}/search", "search"),
    }
    for span in spans.values():
        assert span.end_time_unix_nano >= span.start_time_unix_nano


def test_a_request_span_has_route_method_and_status(collector: OtlpCollector) -> None:
    requests = [attributes(span) for span in collector.spans if span.name.startswith("/v1")]
    found = {(r["http.request.method"], r["http.response.status_code"]) for r in requests}
    assert ("POST", 207) in found
    unmatched = [attributes(span) for span in collector.spans if span.name == "unmatched"]
    assert "_OTHER" in {r["http.request.method"] for r in unmatched}


def test_an_error_is_named_by_its_code_without_its_message() -> None:
    with otlp_collector() as collector:
        tracing = OtlpTracing(collector.url, version="0")
        with pytest.raises(CorruptImage), tracing.span("decode"):
            raise CorruptImage("SMITH")
        tracing.close()
    (span,) = collector.spans
    assert attributes(span) == {"error.type": "corrupt_image"}
    assert b"SMITH" not in collector.bodies[0]


def test_an_attribute_that_is_not_allowed_is_refused() -> None:
    with otlp_collector() as collector:
        tracing = OtlpTracing(collector.url, version="0")
        with pytest.raises(ValueError, match="not allowed"), tracing.span("decode") as span:
            span.set("url.query", "subject=DOE")
        tracing.close()
        assert b"DOE" not in b"".join(collector.bodies)


def test_a_share_of_nothing_sends_nothing() -> None:
    with otlp_collector() as collector:
        tracing = OtlpTracing(collector.url, version="0", share=0.0)
        with tracing.span("request"), tracing.span("decode"):
            pass
        tracing.close()
    assert collector.bodies == []


def test_without_an_endpoint_no_span_is_made() -> None:
    assert isinstance(tracing_of("", version="0", share=1.0), NoTracing)


def test_a_collector_that_is_away_costs_no_request(tmp_path: Path, frames) -> None:
    settings = Settings(
        data_dir=tmp_path,
        bundle_dir=BUNDLE,
        drain_s=0,
        otlp_endpoint="http://127.0.0.1:9/v1/traces",
    )
    with local_service(settings) as local, Client(local.url, key=local.key) as client:
        assert client.embed([frames["cyst"][0]])


AS_AUTOMATIC_INSTRUMENTATION_DOES = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)

from fastapi import FastAPI
from fastapi.testclient import TestClient
from service.app import create_app
from service.settings import Settings

for app in (FastAPI(), create_app(Settings())):
    TestClient(app, raise_server_exceptions=False).get("/v1/JONES?subject_id=DOE")
    print(len(spans.get_finished_spans()), end=" ")
    spans.clear()
"""


@pytest.mark.slow
def test_fastapi_makes_no_spans_of_its_own_for_a_global_provider() -> None:
    """In a process of its own, because a process has one provider for ever."""
    command = [sys.executable, "-W", "ignore", "-c", AS_AUTOMATIC_INSTRUMENTATION_DOES]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    of_a_plain_app, of_the_service = map(int, done.stdout.split())
    assert of_a_plain_app > 0
    assert of_the_service == 0

"""Logs tell an operator what happened, and nothing of a patient or of a key."""

import io
import json
import sys
from pathlib import Path

import pytest

from service.observability import configure_logging
from service.server import local_service
from service.settings import Settings
from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client
from tests.service.expected import BUNDLE


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch, restored_logging: None) -> io.StringIO:
    """Standard error as the service writes it at its most talkative."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging("DEBUG")
    return stream


def test_logs_hold_no_file_name_label_id_key_or_bytes(
    tmp_path: Path, frames, written: io.StringIO
) -> None:
    settings = Settings(data_dir=tmp_path, bundle_dir=BUNDLE, drain_s=0)
    with (
        local_service(settings) as local,
        Client(local.url, key=local.key) as client,
    ):
        client.create_collection("ward7")
        metadata = {"scan_id": "SCANID", "subject_id": "DOE", "labels": {"TASK": "MALIGNANT"}}
        metadata["attributes"] = {"NOTE": "SMITH"}
        client.request(
            "POST",
            "/v1/collections/ward7/scans",
            files=[
                ("files", ("JONES.png", frames["cyst"][0], "image/png")),
                ("files", ("JONES.dcm", b"\0" * 128 + b"DICM", "application/dicom")),
            ],
            data={"metadata": json.dumps([metadata, {}])},
        )
        client.scan("ward7", "SCANID"), list(client.scans("ward7", label=["TASK:MALIGNANT"]))
        with pytest.raises(ApiError):
            client.add_scans("ward7", [b"x"], [{"labels": {"TASK": ""}, "OTHER": "SMITH"}])
        client.erase_subject("DOE")
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    ours = [line for line in lines if not line["logger"].startswith(("httpx", "httpcore"))]
    text = json.dumps(ours)
    for secret in ("JONES", "MALIGNANT", "TASK", "DOE", "SMITH", "SCANID", "ward7", local.key):
        assert secret not in text
    answered = [line for line in ours if line["message"] == "answered"]
    assert {line["status"] for line in answered} >= {200, 201, 207, 422}
    for line in answered:
        assert line["route"].startswith("/")
        assert line["request_id"].startswith("req_")
        assert line["elapsed_ms"] >= 0

"""Requests that Schemathesis derives from the OpenAPI document: no crash, nothing undocumented.

Its check of negative data is left out: a number written as text (``"limit": "5"``) is accepted.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from service.server import local_service
from service.settings import Settings
from sonoprobe_client import PlainClient as Client
from tests.service.expected import BUNDLE

MAX_TIME_S = 240
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "ignored_auth",
)
# What exists is changed, and what does not exist is deleted.
CONFIGURATION = """
[parameters]
"path.collection" = "liver"
"path.name" = "finding"
"path.version" = "1"
"path.scan_id" = "scan-0"

[[operations]]
include-method = "DELETE"
parameters = { "path.collection" = "gone", "path.name" = "gone", "path.scan_id" = "gone" }
"""


@pytest.mark.slow
def test_generated_requests_find_no_crash_no_undocumented_answer_and_no_open_door(
    tmp_path: Path, frames
) -> None:
    settings = Settings(
        data_dir=tmp_path / "data",
        bundle_dir=BUNDLE,
        backup_dir=tmp_path / "backups",
        exchange_dir=tmp_path / "exchange",
        drain_s=0,
        max_failed_keys=0,  # unknown keys are one of the checks
    )
    command = Path(sys.executable).with_name("schemathesis")
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    with local_service(settings) as local, Client(local.url, key=local.key) as client:
        images = frames["cyst"][:5] + frames["mass"][:5]
        facts = [
            {"scan_id": f"scan-{i}", "subject_id": f"p{i}", "labels": {"t": "ab"[i // 5]}}
            for i in range(10)
        ]
        client.create_collection("liver")
        client.add_scans("liver", images, facts)
        client.fit({"name": "finding", "collection": "liver", "task": "t"})
        run = subprocess.run(
            [
                *(str(command), "run", f"{local.url}/openapi.json"),
                *("-H", f"Authorization: Bearer {local.key}"),
                *("--phases", "coverage,fuzzing", "--checks", ",".join(CHECKS)),
                *("--max-examples", "10", "--max-time", str(MAX_TIME_S), "--seed", "1"),
                *("--no-shrink", "--continue-on-failure", "--request-timeout", "30"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, "\n".join(line[:300] for line in run.stdout.splitlines())
        assert client.live()["status"] == "live"

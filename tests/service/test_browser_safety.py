"""What browsers and operators are told: headers, hosts, redirects, and warnings at the start."""

import base64
import hashlib
import json
import re
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from service.cli.main import app as command_line
from service.server import LocalService, local_service
from service.settings import Settings, read_settings, unknown_variables
from tests.service.expected import BUNDLE
from tests.service.raw_http import ask, head

EVIL = "evil.example"


def plain(local: LocalService) -> httpx.Client:
    return httpx.Client(base_url=local.url, trust_env=False, timeout=60)


def test_every_answer_tells_browsers_to_do_nothing_with_it(tiny: LocalService) -> None:
    authorized = {"Authorization": f"Bearer {tiny.key}"}
    with plain(tiny) as http:
        answers = [
            http.get("/health/live"),
            http.get("/metrics"),
            http.get("/v1/encoder", headers=authorized),
            http.get("/v1/encoder"),
            http.get("/none"),
            http.put("/v1/encoder"),
            http.get("/"),
            http.get("/docs"),
            http.get("/docs/swagger-ui.css"),
            http.get("/openapi.json"),
        ]
    headers = [answer.headers for answer in answers]
    headers.append(httpx.Headers(ask(tiny, b"bad\r\n\r\n")[1]))
    for answer in headers:
        assert answer["x-content-type-options"] == "nosniff"
        assert answer["referrer-policy"] == "no-referrer"
        assert answer["x-frame-options"].lower() == "deny"
        assert answer.get_list("cache-control") == ["no-store"]
        (policy,) = answer.get_list("content-security-policy")
        assert policy.startswith("default-src 'none'; ")
        assert "frame-ancestors 'none'" in policy


def test_the_page_may_run_its_own_script_and_no_other(tiny: LocalService) -> None:
    with plain(tiny) as http:
        page = http.get("/docs")
    (script,) = re.findall("<script>(.*?)</script>", page.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (allowed,) = re.findall("script-src ([^;]*)", page.headers["content-security-policy"])
    assert allowed.split() == ["'self'", f"'sha256-{digest}'"]


def test_a_redirect_never_names_the_host_of_the_request(tiny: LocalService) -> None:
    for path, target in (
        ("/", "/console/"),
        ("/v1/collections/", "/v1/collections"),
        ("/v1/collections/?limit=1", "/v1/collections?limit=1"),
        ("/docs/", "/docs"),
    ):
        request = head("GET", path).replace(b"Host: x", f"Host: {EVIL}".encode())
        status, headers, _ = ask(tiny, request)
        assert (status, headers["location"]) == (307, target)
    for path in (f"//{EVIL}/", f"/\\{EVIL}/", f"//{EVIL}/docs/"):
        assert ask(tiny, head("GET", path))[0] == 404


def test_only_the_hosts_of_the_settings_are_answered(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path,
        bundle_dir=BUNDLE,
        drain_s=0,
        allowed_hosts="Scans.example.org, *.clinic.example, ::1",
    )
    with local_service(settings) as local, plain(local) as http:

        def status(host: str) -> tuple[int, str]:
            answer = http.get("/health/live", headers={"Host": host})
            return answer.status_code, answer.json().get("code", "")

        for host in ("scans.example.org", "SCANS.example.org:8000", "a.clinic.example", "[::1]:1"):
            assert status(host) == (200, "")
        for host in (EVIL, "clinic.example", "evilclinic.example", f"scans.example.org.{EVIL}"):
            assert status(host) == (400, "host_not_allowed")
        assert http.post("/v1/embeddings", headers={"Host": EVIL}).status_code == 400


# settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize("blank", ["", " ", '""', "''"])
def test_a_blank_variable_is_unset(monkeypatch: pytest.MonkeyPatch, blank: str) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(f"SONOPROBE_{name.upper()}", blank)
    assert read_settings() == Settings.model_construct()


def test_an_unknown_variable_is_named_with_the_nearest_known_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SONOPROBE_MAX_UPLOAD_BYTE", "1")
    monkeypatch.setenv("sonoprobe_colour", "1")
    monkeypatch.setenv("SONOPROBE_URL", "http://x")
    monkeypatch.setenv("Sonoprobe_Port", "1")
    assert unknown_variables() == {
        "SONOPROBE_MAX_UPLOAD_BYTE": "SONOPROBE_MAX_UPLOAD_BYTES",
        "sonoprobe_colour": None,
    }


def warnings_of_a_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **variables: str):
    """{message: line} of the log of a start that ends because there is no bundle."""
    chosen = {"DATA_DIR": str(tmp_path), "BUNDLE_DIR": str(tmp_path / "none"), **variables}
    for name, value in chosen.items():
        monkeypatch.setenv(f"SONOPROBE_{name}", value)
    result = CliRunner().invoke(command_line, ["serve"])
    assert result.exit_code == 1
    lines = [json.loads(line) for line in result.output.splitlines() if line.startswith("{")]
    return {line["message"]: line for line in lines}


def test_a_start_names_unknown_variables_without_their_values(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lines = warnings_of_a_start(monkeypatch, tmp_path, PROT="hunter2", REQUIRE_KYE="hunter3")
    assert "hunter" not in json.dumps(lines)
    (line,) = lines.values()
    assert (line["level"], line["variable"], line["nearest"]) == (
        "WARNING",
        "SONOPROBE_REQUIRE_KYE",
        "SONOPROBE_REQUIRE_KEY",
    )


def test_other_commands_name_unknown_variables_as_well(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SONOPROBE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("SONOPROBE_DATADIR", "hunter2")
    output = CliRunner().invoke(command_line, ["keys", "list"]).output
    assert "unknown setting SONOPROBE_DATADIR, ignored; the nearest is SONOPROBE_DATA_DIR" in output
    assert "hunter2" not in output


def test_a_start_without_keys_warns_and_louder_where_others_can_reach_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert warnings_of_a_start(monkeypatch, tmp_path) == {}
    for host, levels in (
        ("127.0.0.1", ["WARNING"]),
        ("localhost", ["WARNING"]),
        ("::1", ["WARNING"]),
        ("0.0.0.0", ["WARNING", "CRITICAL"]),
        ("::", ["WARNING", "CRITICAL"]),
    ):
        lines = warnings_of_a_start(monkeypatch, tmp_path, REQUIRE_KEY="false", HOST=host)
        assert [line["level"] for line in lines.values()] == levels

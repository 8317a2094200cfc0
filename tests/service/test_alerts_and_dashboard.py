"""The alerts fire when they should, and they and the dashboard name metrics that exist."""

import json
import os
import re
import shutil
import socket
import subprocess
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest
import yaml

from service.access.keys import create_key
from service.catalog.access_records import KeyGrant
from service.catalog.sqlite.sqlite_catalog import open_catalog
from service.server import local_service
from service.settings import Settings
from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client
from tests.service.expected import BUNDLE

DOCKER = Path(__file__).parents[2] / "docker"
RULES = DOCKER / "prometheus" / "rules.yml"
DASHBOARD = DOCKER / "grafana" / "sonoprobe.json"
OF_PROMETHEUS = {"job", "instance", "le"}  # labels that a scrape adds


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory, frames) -> dict[str, set[str]]:
    """{name of a sample: its labels} of a service that has done all kinds of work."""
    folder = tmp_path_factory.mktemp("metrics")
    settings = Settings(
        data_dir=folder / "data",
        backup_dir=folder / "backups",
        bundle_dir=BUNDLE,
        drain_s=0,
        exact_scans=2,
        recall_every_s=0.1,
        oidc_issuer="http://127.0.0.1:9",  # nobody answers there
        oidc_audience="https://sonoprobe.example.org",
        oidc_workspace="default",
    )
    with local_service(settings) as local, Client(local.url, key=local.key) as client:
        client.create_collection("c")
        client.add_scans("c", list(frames["cyst"][:4]), [{} for _ in frames["cyst"][:4]])
        client.search_image("c", frames["cyst"][0])
        with pytest.raises(ApiError):  # starts a decoder process
            client.embed([b"\0" * 128 + b"DICM"])
        running = local.running()
        deadline = time.monotonic() + 30
        while running.operations.state().waiting or running.operations.state().running:
            assert time.monotonic() < deadline, "the first backup, which the start begins"
            time.sleep(0.05)
        return _samples(client.metrics())


def _samples(text: str) -> dict[str, set[str]]:
    samples: dict[str, set[str]] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            samples.setdefault(line.split()[2], set())
        match = re.match(r"([a-z_]+)(?:\{(.*)\})? ", line)
        if match:
            names = set(re.findall(r'([a-z_]+)="', match[2] or ""))
            samples.setdefault(match[1], set()).update(names)
    # Nothing is compressed here, so this one has no sample yet.
    samples["sonoprobe_index_recall"] |= samples["sonoprobe_index_rows"]
    return samples


def expressions() -> list[str]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    alerts = [rule["expr"] for group in groups for rule in group["rules"]]
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return alerts + [target["expr"] for panel in panels for target in panel["targets"]]


@pytest.mark.parametrize("expression", expressions())
def test_every_metric_and_label_of_an_expression_exists(
    expression: str, exposed: dict[str, set[str]]
) -> None:
    bare = re.sub(r'"[^"]*"', '""', expression)
    names = re.findall(r"sonoprobe_[a-z_]+", bare)
    assert names or "up{" in bare
    known = set().union(*(exposed.get(name, set()) for name in names)) | OF_PROMETHEUS
    for name in names:
        assert name in exposed, name
    for name, matchers in re.findall(r"(sonoprobe_[a-z_]+)\{([^}]*)\}", bare):
        assert set(re.findall(r"([a-z_]+)\s*[=!]", matchers)) <= exposed[name] | OF_PROMETHEUS
    for grouped in re.findall(r"(?:by|on) \(([^)]*)\)", bare):
        assert {label.strip() for label in grouped.split(",")} <= known


def test_the_dashboard_shows_every_kind_of_metric(exposed: dict[str, set[str]]) -> None:
    shown = " ".join(expressions())
    families = {re.sub(r"_(bucket|sum|count|created|total)$", "", name) for name in exposed}
    ours = {name for name in families if name.startswith("sonoprobe_")}
    assert {name for name in ours if name not in shown} <= {"sonoprobe_index_compressed_rows"}


def test_the_alerts_fire_when_they_should() -> None:
    own = DOCKER.parent / ".tools" / "usr" / "bin"  # of make promtool
    promtool = shutil.which("promtool", path=f"{own}{os.pathsep}{os.environ['PATH']}")
    if promtool is None:
        pytest.skip("promtool is not installed: make promtool")
    for check in (["check", "rules", "rules.yml"], ["test", "rules", "rules_test.yml"]):
        done = subprocess.run(
            [promtool, *check], cwd=RULES.parent, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested() -> None:
    alerts = set(re.findall(r"alert: (\w+)", RULES.read_text()))
    assert alerts
    assert alerts == set(
        re.findall(r"alertname: (\w+)", RULES.with_name("rules_test.yml").read_text())
    )


def test_metrics_ask_for_a_key_with_their_scope_where_the_settings_say_so(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, bundle_dir=BUNDLE, drain_s=0, metrics_need_key=True)
    with local_service(settings) as local:
        with closing(open_catalog(tmp_path)) as catalog:
            grant = KeyGrant(scopes=("metrics.read",))
            _, scraper = create_key(catalog, "scraper", "default", grant)
        statuses = [
            httpx.get(f"{local.url}/metrics", headers=headers).status_code
            for headers in (
                {},
                {"Authorization": f"Bearer {local.key}"},
                {"Authorization": f"Bearer {scraper}"},
            )
        ]
    assert statuses == [401, 403, 200]


def test_metrics_on_a_port_of_their_own_are_on_no_other(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = Settings(data_dir=tmp_path, bundle_dir=BUNDLE, drain_s=0, metrics_port=port)
    with local_service(settings) as local:
        own = httpx.get(f"http://127.0.0.1:{port}/metrics")
        assert "sonoprobe_requests_total" in own.text
        assert httpx.get(f"{local.url}/metrics").status_code == 404
    with pytest.raises(httpx.ConnectError):  # it ends with the service
        httpx.get(f"http://127.0.0.1:{port}/metrics")

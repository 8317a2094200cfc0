"""The chart, linted and rendered by Helm's own code and compared with the schemas of Kubernetes."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from service.server import local_service
from service.settings import Settings
from tests.service.expected import BUNDLE

pytestmark = pytest.mark.slow
CHART = Path(__file__).parents[2] / "docker" / "helm"
VALUES: dict[str, dict[str, Any]] = {"defaults": {}} | {
    file.name.removesuffix("-values.yaml"): yaml.safe_load(file.read_text())
    for file in sorted((CHART / "ci").glob("*.yaml"))
}
VERSIONS = ("1.27.0", "1.31.0", "1.37.0")
EVERY = pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)


def rendered(values: dict[str, Any]) -> list[dict[str, Any]]:
    from helm_python import Chart

    files = Chart.load(CHART).render(values, name="clinic", namespace="imaging")
    texts = [text for path, text in files.items() if path.endswith(".yaml")]
    return [found for text in texts for found in yaml.safe_load_all(text) if found]


def of_kind(kind: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    return [found for found in rendered(values) if found["kind"] == kind]


def pods(values: dict[str, Any]) -> list[dict[str, Any]]:
    kinds = [*of_kind("Deployment", values), *of_kind("Job", values)]
    return [found["spec"]["template"] for found in kinds]


def variables(values: dict[str, Any]) -> dict[str, str]:
    (settings,) = of_kind("ConfigMap", values)
    return dict(settings["data"])


@EVERY
def test_helm_finds_nothing_wrong(values: dict[str, Any]) -> None:
    from helm_python import lint

    report = lint(CHART, values, strict=True)
    assert report["errors"] == []
    assert [found for found in report["messages"] if found["severity"] > 1] == []


@EVERY
@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_knows_every_field(values: dict[str, Any], version: str) -> None:
    from kubernetes_validate import validate

    found = rendered(values)
    assert {"Deployment", "Service", "ConfigMap"} <= {resource["kind"] for resource in found}
    for resource in found:
        validate(resource, version, strict=True)


@EVERY
def test_every_pod_runs_without_root_and_cannot_write_its_programs(values: dict[str, Any]) -> None:
    for pod in pods(values):
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert pod["spec"]["automountServiceAccountToken"] is False
        for container in pod["spec"]["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]


@EVERY
def test_every_setting_of_the_chart_is_one_of_the_service(values: dict[str, Any]) -> None:
    known = {f"SONOPROBE_{name.upper()}" for name in Settings.model_fields}
    named = {
        entry["name"]
        for pod in pods(values)
        for container in pod["spec"]["containers"]
        for entry in container["env"]
    }
    assert named | set(variables(values)) <= known


@EVERY
def test_addresses_of_databases_come_from_the_secret_alone(values: dict[str, Any]) -> None:
    assert "postgresql://" not in json.dumps(rendered(values))
    for pod in pods(values):
        (container,) = pod["spec"]["containers"]
        entries = {entry["name"]: entry["valueFrom"] for entry in container["env"]}
        assert "secretKeyRef" in entries["SONOPROBE_CATALOG"]


@EVERY
def test_a_pod_has_time_to_end_what_it_began(values: dict[str, Any]) -> None:
    (deployment,) = of_kind("Deployment", values)
    times = variables(values)
    needed = float(times["SONOPROBE_DRAIN_S"]) + float(times["SONOPROBE_GRACEFUL_TIMEOUT_S"])
    pod = deployment["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > needed
    readiness = pod["containers"][0]["readinessProbe"]
    noticed_s = readiness["periodSeconds"] * readiness["failureThreshold"]
    assert noticed_s < float(times["SONOPROBE_DRAIN_S"])


@EVERY
def test_liveness_does_not_depend_on_the_database(values: dict[str, Any]) -> None:
    (deployment,) = of_kind("Deployment", values)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"
    assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"


@EVERY
def test_what_selects_pods_selects_those_of_the_service(values: dict[str, Any]) -> None:
    (deployment,) = of_kind("Deployment", values)
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    budgets = [found["spec"]["selector"]["matchLabels"] for found in of_kind(BUDGET, values)]
    (service,) = of_kind("Service", values)
    for selector in [service["spec"]["selector"], *budgets]:
        assert selector.items() <= labels
        assert selector["app.kubernetes.io/component"] == "service"


BUDGET = "PodDisruptionBudget"


def test_the_migration_runs_before_the_pods_as_the_owner_of_the_tables() -> None:
    (job,) = of_kind("Job", VALUES["shards"])
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    (container,) = job["spec"]["template"]["spec"]["containers"]
    keys = {e["name"]: e["valueFrom"]["secretKeyRef"]["key"] for e in container["env"]}
    assert keys == {"SONOPROBE_CATALOG": "owner-url", "SONOPROBE_SHARDS": "owner-shards"}


def test_folders_that_the_service_needs_are_made_before_it_starts() -> None:
    values = VALUES["all-options"]
    folders = [path for name, path in variables(values).items() if name.endswith("_DIR")]
    (container,) = pods(values)[0]["spec"]["containers"]
    assert len(folders) == 2
    assert f"mkdir -p {' '.join(folders)} &&" in " ".join(container["args"])


def test_the_ingress_leads_to_every_route_and_the_console_but_not_to_the_metrics(
    tmp_path: Path,
) -> None:
    (ingress,) = of_kind("Ingress", VALUES["all-options"])
    (rule,) = ingress["spec"]["rules"]
    prefixes = [entry["path"] for entry in rule["http"]["paths"]]
    settings = Settings(data_dir=tmp_path, bundle_dir=BUNDLE, drain_s=0)
    with local_service(settings) as running, httpx.Client(base_url=running.url) as client:
        routes = set(client.get("/openapi.json", timeout=60).json()["paths"])
        pages = {client.get(page, follow_redirects=True).url.path for page in ("/", "/docs")}
    outside = {
        path
        for path in routes | pages
        if not any(f"{path}/".startswith(f"{prefix}/") for prefix in prefixes)
    }
    assert outside == {"/metrics"}


def test_a_changed_setting_starts_new_pods() -> None:
    checksums = {
        pods({"settings": {"LOG_LEVEL": level}})[0]["metadata"]["annotations"]["checksum/settings"]
        for level in ("INFO", "WARNING")
    }
    assert len(checksums) == 2


def test_what_may_be_left_out_is_left_out() -> None:
    kinds = {found["kind"] for found in rendered(VALUES["bare"])}
    assert kinds == {"Deployment", "Service", "ConfigMap"}


@pytest.mark.parametrize(
    "values",
    [
        {"catalog": {"secret": ""}},
        {"settings": {"CATALOG": "postgresql://owner:password@host/sonoprobe"}},
        {"settings": {"LOG_LEVEL": 3}},
        {"replicas": 3},
        {"ingress": {"enabled": True}},
        {"resources": {"limits": {"memory": "plenty"}}},
    ],
    ids=lambda values: next(iter(values)),
)
def test_values_that_mean_nothing_or_hold_secrets_are_refused(values: dict[str, Any]) -> None:
    from helm_python import Chart, HelmError

    with pytest.raises(HelmError):
        Chart.load(CHART).validate_schema(values)

"""The compose files say what the service understands; containers themselves are not run here."""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from service.server import local_service
from service.settings import Settings
from tests.service.expected import BUNDLE

DOCKER = Path(__file__).parents[2] / "docker"
FILES = sorted(DOCKER.glob("compose*.yaml"))
SCALE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.scale.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = SCALE["services"]
needs_haproxy = pytest.mark.skipif(
    shutil.which("haproxy") is None, reason="HAProxy is not installed"
)
VARIABLES = {f"SONOPROBE_{name.upper()}" for name in Settings.model_fields}


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def haproxy() -> str:
    return (DOCKER / "haproxy.cfg").read_text()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_container_has_limits_and_can_write_only_where_it_must(file: Path) -> None:
    for service in yaml.safe_load(file.read_text())["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not {"privileged", "cap_add", "pid", "ipc", "userns_mode"} & service.keys()
        limits = service["deploy"]["resources"]["limits"]
        assert set(limits) == {"cpus", "memory", "pids"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_container_of_the_service_has_room_for_the_uploads_that_it_accepts(
    file: Path,
) -> None:
    for service in services_that_serve(file):
        (room,) = [re.fullmatch(r"/tmp:size=(\d+)g\b.*", mount) for mount in service["tmpfs"]]
        settings = Settings()
        assert room is not None
        assert int(room[1]) * 2**30 > settings.max_large_uploads * settings.max_upload_bytes


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_containers_start_on_two_cores_and_the_encoder_takes_no_more(file: Path) -> None:
    """Docker refuses a container that may use more processors than the machine has."""
    for service in yaml.safe_load(file.read_text())["services"].values():
        assert float(service["deploy"]["resources"]["limits"]["cpus"]) <= 2
    for service in services_that_serve(file):
        threads = service["environment"]["SONOPROBE_ENCODER_THREADS"]
        assert threads == service["deploy"]["resources"]["limits"]["cpus"]


def services_that_serve(file: Path) -> list[dict[str, Any]]:
    services = yaml.safe_load(file.read_text())["services"]
    return [found for name, found in services.items() if name == "sonoprobe"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_base_image_can_be_given_by_its_digest(file: Path) -> None:
    for service in yaml.safe_load(file.read_text())["services"].values():
        build = service.get("build")
        given = [service["image"]] if build is None else list(build["args"].values())
        assert all(re.fullmatch(r"\$\{\w+_IMAGE:-[\w.:-]+\}", image) for image in given), given
        if build is not None:
            folder = (DOCKER / build["context"]).resolve()
            lines = (folder / "Dockerfile").read_text().splitlines()
            (name,) = build["args"]
            assert any(line.startswith(f"ARG {name}=") for line in lines)
            bases = {line.split()[1] for line in lines if line.startswith("FROM ")}
            assert bases == {f"${{{name}}}"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_variable_of_ours_is_a_setting_and_none_is_a_secret(name: str) -> None:
    environment = SERVICES[name].get("environment", {})
    ours = {variable for variable in environment if variable.startswith("SONOPROBE_")}
    assert ours <= VARIABLES
    assert "password" not in re.sub(r"/run/secrets/\w+", "", str(environment).lower()).replace(
        "password_file", ""
    )


def test_secrets_come_from_files_that_are_not_committed() -> None:
    files = {secret["file"] for secret in SCALE["secrets"].values()}
    used = {name for service in SERVICES.values() for name in service.get("secrets", [])}
    assert used == set(SCALE["secrets"])
    ignored = (DOCKER.parent / ".gitignore").read_text().split()
    assert all(f"docker/{file}".startswith(tuple(ignored)) for file in files)


def test_only_the_owner_of_the_tables_migrates_and_replicas_wait_for_it() -> None:
    migrate, replica = SERVICES["migrate"], SERVICES["sonoprobe"]
    assert "sonoprobe_owner@" in migrate["environment"]["SONOPROBE_CATALOG"]
    assert "sonoprobe_service@" in replica["environment"]["SONOPROBE_CATALOG"]
    assert migrate["secrets"] == ["owner_password"]
    assert replica["secrets"] == ["service_password"]
    assert replica["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


def test_the_database_is_reached_from_inside_alone() -> None:
    assert SERVICES["database"]["networks"] == ["inside"]
    assert SCALE["networks"]["inside"]["internal"] is True
    assert not [
        name for name, service in SERVICES.items() if "ports" in service and name != "proxy"
    ]


def test_folders_that_the_service_needs_are_made_before_it_starts() -> None:
    replica = SERVICES["sonoprobe"]
    variables = replica["environment"]
    folders = [path for name, path in variables.items() if name.endswith("_DIR")]
    assert len(folders) == 2
    assert f"mkdir -p {' '.join(folders)} &&" in replica["entrypoint"][2]


def test_a_replica_has_time_to_end_what_it_began() -> None:
    replica = SERVICES["sonoprobe"]
    drain_s = float(replica["environment"]["SONOPROBE_DRAIN_S"])
    assert seconds(replica["stop_grace_period"]) > drain_s + Settings().graceful_timeout_s


def test_the_proxy_knows_all_replicas_and_the_replicas_trust_it() -> None:
    assert f"server-template replica {SERVICES['sonoprobe']['deploy']['replicas']} " in haproxy()
    (network,) = SCALE["networks"]["inside"]["ipam"]["config"]
    trusted = SERVICES["sonoprobe"]["environment"]["SONOPROBE_TRUSTED_PROXIES"]
    assert trusted == network["subnet"]


def test_the_proxy_sees_the_stop_of_a_replica_before_connections_are_refused() -> None:
    found = re.search(r"check inter (\d+)ms fall (\d+)", haproxy())
    assert found is not None
    drain_s = float(SERVICES["sonoprobe"]["environment"]["SONOPROBE_DRAIN_S"])
    assert int(found[1]) * int(found[2]) / 1000 < drain_s / 2


def test_the_times_of_the_proxy_fit_those_of_the_service() -> None:
    times = {name: seconds(value) for name, value in re.findall(r"timeout (\S+) (\S+)", haproxy())}
    settings = Settings()
    assert times["http-keep-alive"] < settings.keep_alive_s
    assert times["client"] > settings.body_timeout_s, "the service explains a pause better"
    assert times["http-request"] > settings.header_timeout_s


def test_the_proxy_compares_the_decoded_path_with_that_of_the_metrics() -> None:
    assert "http-request deny deny_status 404 if { path,url_dec /metrics }" in haproxy()


@needs_haproxy
def test_the_proxy_hides_the_metrics_however_their_path_is_written(tmp_path: Path) -> None:
    """The service decodes the path of a request, and the proxy sees it as it was written."""
    settings = Settings(data_dir=tmp_path / "data", bundle_dir=BUNDLE, drain_s=0)
    with local_service(settings) as running, proxied(running.url, tmp_path) as url:
        for path in ("/metrics", "/%6detrics", "/%6D%65tri%63s"):
            assert httpx.get(running.url + path).status_code == 200, "found without the proxy"
            assert httpx.get(url + path).status_code == 404
        assert httpx.get(f"{url}/metrics/", follow_redirects=True).status_code == 404
        assert httpx.get(f"{url}/health/ready").status_code == 200


@contextmanager
def proxied(url: str, folder: Path) -> Iterator[str]:
    """The address of HAProxy in front of one service, which has no container and no name."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    text = haproxy().replace("bind :8000", f"bind 127.0.0.1:{port}").split("resolvers docker\n")[0]
    text = re.sub(r"server-template .*", f"server replica {url.removeprefix('http://')}", text)
    (folder / "haproxy.cfg").write_text(text)
    process = subprocess.Popen(["haproxy", "-f", str(folder / "haproxy.cfg")])
    try:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 30
        while not is_answered(address):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        process.wait(60)


def is_answered(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready").is_success
    except httpx.TransportError:
        return False


@needs_haproxy
def test_haproxy_accepts_its_configuration() -> None:
    command = ["haproxy", "-c", "-f", str(DOCKER / "haproxy.cfg")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_docker_accepts_the_file(file: Path, tmp_path: Path) -> None:
    known = shutil.which("docker") and subprocess.run(
        ["docker", "compose", "version"], capture_output=True
    )
    if not known or known.returncode:
        pytest.skip("docker compose is not installed")
    command = ["docker", "compose", "-f", str(file), "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 0, done.stderr

"""What the Dockerfile says about the image; no container is run here."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from service.server import local_service
from service.settings import Settings
from tests.service.expected import BUNDLE

DOCKERFILE = (Path(__file__).parents[2] / "Dockerfile").read_text()


def health_check() -> str:
    """The program of the health check."""
    (command,) = re.findall(r"^HEALTHCHECK [^\n]*\\\n  CMD (\[.*\])$", DOCKERFILE, re.M)
    python, option, program = json.loads(command)
    assert (python, option) == ("python", "-c")
    return str(program)


def is_healthy(port: int, hosts: str) -> bool:
    variables = {"SONOPROBE_PORT": str(port), "SONOPROBE_ALLOWED_HOSTS": hosts}
    command = [sys.executable, "-c", health_check()]
    return subprocess.run(command, env=os.environ | variables, check=False).returncode == 0


@pytest.mark.parametrize("hosts", ["", "sonoprobe.example.org", "*.example.org, localhost"])
def test_the_health_check_is_answered_whatever_hosts_are_allowed(
    hosts: str, tmp_path: Path
) -> None:
    settings = Settings(data_dir=tmp_path, bundle_dir=BUNDLE, drain_s=0, allowed_hosts=hosts)
    with local_service(settings) as local:
        port = httpx.URL(local.url).port or 0
        assert is_healthy(port, hosts)
        local.running().stopping = True
        assert not is_healthy(port, hosts), "the service stops"
    assert not is_healthy(port, hosts), "nobody listens"


def test_the_image_runs_as_a_user_that_kubernetes_knows_not_to_be_root() -> None:
    user = re.findall(r"^USER (.*)$", DOCKERFILE, re.M)[-1]
    assert int(user) > 0
    assert f"--uid {user} " in DOCKERFILE

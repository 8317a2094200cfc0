"""What the image installs is pinned by hash, and agrees with what the tests run with."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "requirements").glob("*.txt"))
DIGEST = "0123456789abcdef" * 4
# name[extras]==version ; marker \  and then its hashes
PIN = re.compile(
    r"^([\w.-]+)(?:\[[\w,-]+\])?==(\S+)[^\\\n]*\\\n((?:    --hash=sha256:[0-9a-f]{64}.*\n)+)", re.M
)
IN_THE_IMAGE = ("parquet", "postgres")  # extras


def pins_of(file: Path) -> dict[str, str]:
    return {canonicalize_name(name): version for name, version, _ in PIN.findall(file.read_text())}


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().split()
    return {canonicalize_name(name): version for name, version in (s.split("==") for s in lines)}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_requirement_has_a_version_and_hashes_and_no_source_of_its_own(file: Path) -> None:
    text = file.read_text()
    lines = [line for line in text.splitlines() if re.match(r"[^\s#]", line)]
    assert lines
    assert len(lines) == len(PIN.findall(text)), "run make requirements"
    assert not re.search(r"://|@ |--(extra-)?index-url|--find-links|--trusted-host", text)


def test_the_image_has_the_versions_that_the_tests_have() -> None:
    pins, tested = pins_of(ROOT / "requirements" / "service.txt"), constraints()
    assert not {name: pin for name, pin in pins.items() if tested.get(name) != pin}, (
        "run make requirements"
    )


def test_the_image_has_everything_that_the_service_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    wanted = list(project["project"]["dependencies"])
    wanted += [line for extra in IN_THE_IMAGE for line in extras[extra]]
    pins = pins_of(ROOT / "requirements" / "service.txt")
    for requirement in map(Requirement, wanted):
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin is not None, f"{requirement.name}: run make requirements"
        assert requirement.specifier.contains(pin), f"{requirement.name}: run make requirements"
    built_by = pins_of(ROOT / "requirements" / "build.txt")
    for requirement in map(Requirement, project["build-system"]["requires"]):
        assert requirement.specifier.contains(built_by[canonicalize_name(requirement.name)])


def test_the_image_installs_nothing_without_a_hash() -> None:
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    installs = re.findall(r"pip install ([^&\n]*)", text)
    assert len(installs) == 2
    assert "--require-hashes" in installs[0]
    assert {"--no-deps", "--no-index", "--no-build-isolation"} <= set(installs[1].split())
    extras = " ".join(f"--extra {extra}" for extra in IN_THE_IMAGE)
    assert f"{extras} pyproject.toml" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize(
    ("image", "code"),
    [
        (f"python:3.12-slim@sha256:{DIGEST}", 0),
        (f"python@sha256:{DIGEST[:-1]}", 2),
        ("python:3.12-slim", 2),
        (f"python@sha256:{DIGEST} --network host", 2),
    ],
)
def test_a_release_image_is_built_over_a_digest_alone(image: str, code: int) -> None:
    command = ["make", "--silent", "image", "DOCKER=echo", f"PYTHON_IMAGE={image}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert (f"PYTHON_IMAGE={image}" in done.stdout) == (code == 0)

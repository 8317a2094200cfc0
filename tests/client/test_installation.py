"""The distribution of the client, alone in a fresh environment."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from client_installation import Installation, install_client

from service.cli.demo import SAMPLES
from service.embedding.bundle import SHIPPED_BUNDLE, read_manifest
from service.embedding.encoder import load_encoder
from service.errors import ArtifactMismatch
from service.server import LocalService

pytestmark = pytest.mark.slow
MAX_MEGABYTES = 30
PROGRAM = Path(__file__).parent / "program.py"
ROOT = Path(__file__).parents[2]
PACKAGE = "sonoprobe_client/"
# What the Dockerfile copies to build the service.
IN_THE_IMAGE = ("pyproject.toml", "README.md", "LICENSE", "service", "training/__init__.py")
IN_THE_IMAGE += ("clients/python/src",)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    made = install_client(tmp_path_factory.mktemp("client") / "venv")
    print(json.dumps({"install_s": round(made.seconds, 1), "mb": round(made.megabytes, 1)}))
    return made


def run(command: Sequence[object], folder: Path) -> str:
    """Standard output of a command that must succeed, far from the checkout."""
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MYPYPATH")}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=folder, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_client_and_what_it_needs_are_small(installed: Installation) -> None:
    assert installed.megabytes < MAX_MEGABYTES


def test_nothing_but_the_client_is_needed(installed: Installation, tmp_path: Path) -> None:
    code = "import sonoprobe_client, sys; print(sorted({n.split('.')[0] for n in sys.modules}))"
    loaded = run([installed.python, "-c", code], tmp_path)
    for absent in ("service", "joserfc", "numpy", "PIL", "fastapi", "typer"):
        assert f"'{absent}'" not in loaded


def test_a_program_passes_mypy_strict(installed: Installation, tmp_path: Path) -> None:
    shutil.copy(PROGRAM, tmp_path)
    mypy = [sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--python-executable"]
    assert "no issues" in run([*mypy, installed.python, "program.py"], tmp_path)
    (tmp_path / "wrong.py").write_text(
        "from sonoprobe_client import Client\n"
        "Client('http://a').search('liver', {'scan': 'a'})\n"
        "print(Client('http://a').collection('a').scanz)\n"
    )
    words = [str(word) for word in [*mypy, installed.python, "wrong.py"]]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Found 2 errors" in done.stdout, done.stdout


def test_a_program_teaches_and_predicts(
    installed: Installation, tmp_path: Path, tiny: LocalService
) -> None:
    for scene in sorted(path for path in SAMPLES.iterdir() if path.is_dir())[:2]:
        (tmp_path / "frames" / scene.name).mkdir(parents=True)
        for file in sorted(scene.glob("*.png"))[:5]:
            shutil.copy(file, tmp_path / "frames" / scene.name)
    command = [installed.python, PROGRAM, tiny.url, tiny.key, tmp_path / "frames"]
    assert run(command, tmp_path).count("\n") == 2 + 1 + 10


def test_the_service_carries_the_same_client(installed: Installation, tmp_path: Path) -> None:
    source = tmp_path / "source"
    for place in IN_THE_IMAGE:
        copy = shutil.copytree if (ROOT / place).is_dir() else shutil.copy
        (source / place).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / place, source / place)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path]
    run([*pip, source], tmp_path)
    (wheel,) = tmp_path.glob("sonoprobe-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        carried = {n: archive.read(n) for n in archive.namelist() if n.startswith(PACKAGE)}
        assert "service/cli/main.py" in archive.namelist()
        _expect_int8_alone(archive, tmp_path / "unpacked")
    (packages,) = installed.python.parents[1].glob("lib/python*/site-packages")
    files = [file for file in (packages / PACKAGE).rglob("*") if file.suffix in (".py", ".typed")]
    assert carried == {str(f.relative_to(packages)): f.read_bytes() for f in files}


def _expect_int8_alone(archive: zipfile.ZipFile, folder: Path) -> None:
    """The encoder of the package is the one of the repository, without its float network."""
    inside = "service/embedding/default_bundle/"
    archive.extractall(folder, [name for name in archive.namelist() if name.startswith(inside)])
    bundle = folder / inside
    assert [file.name for file in bundle.glob("*.onnx")] == ["encoder.int8.onnx"]
    whole = read_manifest(SHIPPED_BUNDLE)
    assert load_encoder(bundle, threads=1).encoder_id == whole.encoder_id
    with pytest.raises(ArtifactMismatch, match="whole bundle of version"):
        load_encoder(bundle, precision="fp16")

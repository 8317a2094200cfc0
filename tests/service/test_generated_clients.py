"""Generators take the OpenAPI document, and what they write type-checks and works."""

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

import pytest

from service.cli.demo import SAMPLES
from service.server import LocalService

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "openapi.json"
CLIENTS = ROOT / "tests" / "clients"
CLASSES, IMAGES_PER_CLASS = 2, 5


def run(command: Sequence[object], folder: Path, **environment: str) -> str:
    """Standard output of a command that must succeed."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr if "generate" in command else done.stdout


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with one sub-folder of images per class."""
    folder = tmp_path / "images"
    for scene in sorted(path for path in SAMPLES.iterdir() if path.is_dir())[:CLASSES]:
        (folder / scene.name).mkdir(parents=True)
        for image in sorted(scene.glob("*.png"))[:IMAGES_PER_CLASS]:
            shutil.copy(image, folder / scene.name)
    return folder


def check_prediction(answer: str, images: Path) -> None:
    (item,) = json.loads(answer)["items"]
    assert item["most_probable"] in {folder.name for folder in images.iterdir()}


def test_a_generated_python_client_works(tmp_path: Path, images: Path, tiny: LocalService) -> None:
    home = CLIENTS / "python"
    venv.create(tmp_path / "venv", with_pip=True)
    programs = tmp_path / "venv" / "bin"
    run([programs / "pip", "install", "--quiet", "-r", home / "requirements.txt"], tmp_path)
    generator = [programs / "openapi-python-client", "generate", "--meta", "none"]
    options = ["--path", DOCUMENT, "--config", home / "config.yml"]
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"  # the generator formats with ruff
    target = ["--output-path", tmp_path / "generated_client"]
    written = run([*generator, *options, *target], tmp_path, PATH=path)
    assert "warning" not in written.lower(), written
    assert "Unable" not in written, written
    shutil.copy(home / "use.py", tmp_path)
    # client.py is the same for every document, and its context managers do not pass mypy.
    silent = "[mypy]\nstrict = True\n[mypy-generated_client.client]\nignore_errors = True\n"
    (tmp_path / "mypy.ini").write_text(silent)
    run([sys.executable, "-m", "mypy", "generated_client", "use.py"], tmp_path)
    answer = run(
        [sys.executable, "use.py", tiny.url, tiny.key, images],
        tmp_path,
        PYTHONPATH=str(tmp_path),
        NO_PROXY="127.0.0.1",
    )
    check_prediction(answer, images)


@pytest.mark.skipif(shutil.which("npm") is None, reason="NOT CHECKED: npm is not installed")
def test_generated_typescript_types_work(tmp_path: Path, images: Path, tiny: LocalService) -> None:
    folder = tmp_path / "typescript"
    shutil.copytree(CLIENTS / "typescript", folder)
    assert "://" not in (folder / "package-lock.json").read_text(), "the lock file names hosts"
    run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
    programs = folder / "node_modules" / ".bin"
    run(
        [
            programs / "openapi-typescript",
            DOCUMENT,
            "--default-non-nullable=false",
            "-o",
            "schema.ts",
        ],
        folder,
    )
    run([programs / "tsc"], folder)
    answer = run(["node", "built/use.js", tiny.url, tiny.key, images], folder)
    check_prediction(answer, images)

"""The tutorial works as it stands: its commands and the code of its tabs, against its service."""

import os
import re
import signal
import socket
import subprocess
import sys
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tutorial_blocks import script

pytestmark = pytest.mark.site
ROOT = Path(__file__).parents[2]
JUPYTER = Path(__file__).with_name("jupyter-requirements.txt")
CHECKLISTS = ROOT / "docs/checklists.md"


@dataclass
class Reader:
    """Somebody who does what the tutorial says, in a folder of his own."""

    folder: Path
    environment: dict[str, str]
    key: str

    def run(self, *command: str, text: str) -> str:
        done = subprocess.run(
            command,
            input=text,
            cwd=self.folder,
            env=self.environment | {"SONOPROBE_KEY": self.key},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def get(self, path: str) -> dict[str, object]:
        headers = {"Authorization": f"Bearer {self.key}"}
        url = self.environment["SONOPROBE_URL"] + path
        answer: dict[str, object] = httpx.get(url, headers=headers).raise_for_status().json()
        return answer


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """What the tutorial does before its tabs, with a free port."""
    folder = tmp_path_factory.mktemp("reader")
    commands = folder / "bin"
    commands.mkdir()
    for name, call in (("sonoprobe", "-m service"), ("python", "")):
        (commands / name).write_text(f'#!/bin/sh\nexec {sys.executable} {call} "$@"\n')
        (commands / name).chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = {
        **os.environ,
        "PATH": f"{commands}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "SONOPROBE_PORT": port,
        "SONOPROBE_DRAIN_S": "0",
    }
    shell = script("sh", "setup").replace(":8000", f":{port}") + '\necho "key=$SONOPROBE_KEY"\n'
    with (folder / "said").open("w") as out:  # the service goes on writing to it
        started = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", shell],
            cwd=folder,
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        assert started.wait() == 0, (folder / "said").read_text()
        (key,) = re.findall(r"^key=(\S+)$", (folder / "said").read_text(), re.MULTILINE)
        environment |= {"SONOPROBE_URL": f"http://127.0.0.1:{port}"}
        yield Reader(folder, environment | {"SONOPROBE_DATA_DIR": "tutorial-data"}, key)
    finally:
        os.killpg(started.pid, signal.SIGTERM)  # the service that the shell left behind


@pytest.fixture(scope="module")
def other(setup: Reader) -> Reader:
    """The same, in a workspace of its own."""
    created = [sys.executable, "-m", "service", "keys", "create", "--name", "other"]
    key = setup.run(*created, "--workspace", "other", text="").strip()
    return Reader(setup.folder, setup.environment, key)


def assert_was_done(reader: Reader) -> None:
    classifier = reader.get("/v1/classifiers/finding")
    assert (classifier["published_version"], classifier["latest_version"]) == (2, 2)
    report = classifier["report"]
    assert isinstance(report, dict)
    assert report["examples"] == report["groups"] == 72
    monitor = reader.get("/v1/classifiers/finding/monitor")
    windows = monitor["windows"]
    assert isinstance(windows, list)
    assert windows[0]["abstained"] == {"far_from_every_example": 1}


# Runs a notebook in a kernel of Jupyter, and prints what its cells show.
RUN_NOTEBOOK = """
import sys
import nbclient, nbformat

book = nbformat.read(sys.argv[1], as_version=nbformat.NO_CONVERT)
nbformat.validate(book)
nbclient.NotebookClient(book, timeout=600, kernel_name="python3").execute()
for cell in book.cells:
    for output in cell.get("outputs", ()):
        print(output.get("text", ""))
        print("pictures:", output.get("data", {}).get("text/html", "").count("<img"))
"""


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has Jupyter and the client, and nothing of the service."""
    folder = tmp_path_factory.mktemp("jupyter")
    venv.create(folder, with_pip=True)
    wanted = ["-r", str(JUPYTER), str(ROOT / "clients/python")]
    install = [folder / "bin/python", "-m", "pip", "install", "--quiet", *wanted]
    subprocess.run(install, check=True)
    return folder / "bin/python"


def test_the_python_tabs_as_the_notebook_has_them_lead_to_a_published_classifier(
    setup: Reader, jupyter: Path
) -> None:
    home = {"HOME": str(setup.folder), "PYTHONPATH": ""}
    reader = Reader(setup.folder, setup.environment | home, setup.key)
    notebook = str(ROOT / "docs/tutorial.ipynb")
    said = reader.run(str(jupyter), "-c", RUN_NOTEBOOK, notebook, text="")
    assert "60 frames stored" in said
    assert "lung -> abstains: far_from_every_example" in said
    assert "version 2 against 1: cannot_tell" in said
    assert "published: 2" in said
    assert re.findall(r"pictures: ([1-9]\d*)", said) == ["5", "13", "4"]
    assert_was_done(setup)


def test_the_curl_tabs_lead_to_the_same(other: Reader) -> None:
    said = other.run("bash", "-euo", "pipefail", text=script("sh"))
    assert "abstained {'because': 'far_from_every_example'" in said
    assert "version 2 against 1: cannot_tell" in said
    assert_was_done(other)


def test_the_drill_of_operators_restores_what_the_service_holds(
    setup: Reader, other: Reader
) -> None:
    said = setup.run("bash", "-euo", "pipefail", text=script("sh", "drill", CHECKLISTS))
    held = sum(collection_scans(reader) for reader in (setup, other))
    assert f"{held} scans in " in said
    assert "nothing is damaged" in said


def collection_scans(reader: Reader) -> int:
    items = reader.get("/v1/collections")["items"]
    assert isinstance(items, list)
    return sum(int(item["scans"]) for item in items)

"""The Python client in a fresh environment of its own: how long that takes, and how large it is."""

import subprocess
import sys
import time
import venv
from dataclasses import dataclass
from pathlib import Path

CLIENT = Path(__file__).parents[1] / "clients" / "python"


@dataclass(frozen=True)
class Installation:
    """An environment that holds the client and what it needs, and nothing else.

    Attributes:
        python: its interpreter.
        seconds: of ``pip install``, with whatever pip has in its cache.
        megabytes: of all installed files, byte code too.
    """

    python: Path
    seconds: float
    megabytes: float


def install_client(folder: Path) -> Installation:
    """``pip install ./clients/python`` into a new environment in the folder."""
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    started = time.perf_counter()
    subprocess.run([*pip, "install", "--quiet", str(CLIENT)], check=True)
    seconds = time.perf_counter() - started
    (packages,) = folder.glob("lib/python*/site-packages")
    size = sum(file.stat().st_size for file in packages.rglob("*") if file.is_file())
    return Installation(python, seconds, size / 1e6)

"""The service in a process of its own, for benchmarks that compare it with the bare network."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from service.access.keys import create_key
from service.catalog.sqlite.sqlite_catalog import open_catalog

START_TIMEOUT_S, END_TIMEOUT_S = 600.0, 120.0  # on machines that do other work too


@dataclass(frozen=True, slots=True)
class ServiceProcess:
    """A service that answers.

    Attributes:
        ready_s: seconds from its start until it was ready.
    """

    url: str
    key: str
    pid: int
    ready_s: float


@contextmanager
def service_process(
    data_dir: Path, port: int, settings: Mapping[str, str] | None = None
) -> Iterator[ServiceProcess]:
    """Run ``python -m service serve`` while the block runs. Raises RuntimeError: no start."""
    catalog = open_catalog(data_dir)
    key = create_key(catalog, "bench", "default")[1]
    catalog.close()
    environment = os.environ | {
        "SONOPROBE_DATA_DIR": str(data_dir),
        "SONOPROBE_PORT": str(port),
        "SONOPROBE_LOG_LEVEL": "WARNING",
        "SONOPROBE_DRAIN_S": "0",
    }
    environment |= {f"SONOPROBE_{name.upper()}": value for name, value in (settings or {}).items()}
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "service", "serve"], env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(process, url)
        yield ServiceProcess(url, key, process.pid, time.perf_counter() - start)
    finally:
        process.terminate()
        try:
            process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:  # what was measured is worth more than its orderly end
            process.kill()
            process.wait()


def wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    """Ask until it is ready. Raises RuntimeError: it ended, or takes too long."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/health/ready", trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.02)
    raise RuntimeError(f"the service did not become ready at {url}")

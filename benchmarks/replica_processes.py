"""Replicas of the service as processes of this machine, and HAProxy before them."""

import csv
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
from harness import ROOT

HAPROXY_CONFIG = ROOT / "docker" / "haproxy.cfg"
START_S = 120.0
STOP_S = 60.0
REPLICA_HEADER = "X-Replica"  # of answers: who answered; of requests: who shall
TINY_BUNDLE = ROOT / "tests" / "fixtures" / "bundle_v1"


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Replica:
    """One process of the service; ``start`` it first.

    Args:
        settings: without the prefix ``SONOPROBE_``.
        log: file for its standard error.
    """

    def __init__(self, name: str, settings: Mapping[str, str], log: Path) -> None:
        self.name, self.port = name, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        own = {**settings, "PORT": str(self.port)}
        self._environment = os.environ | {f"SONOPROBE_{key}": own[key] for key in own}
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process.pid

    def start(self) -> None:
        """Start the process; it is not ready yet."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "service", "serve"],
                env=self._environment,
                cwd=ROOT,
                stderr=log,
            )

    def wait_until_ready(self) -> float:
        """Ask until it is ready; return the seconds. Raises RuntimeError: it ended, or not yet."""
        begin = time.monotonic()
        while self._process is not None and self._process.poll() is None:
            with suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/health/ready", trust_env=False).status_code == 200:
                    return time.monotonic() - begin
            if time.monotonic() - begin > START_S:
                break
            time.sleep(0.05)
        raise RuntimeError(f"{self.name} did not become ready: {self._log.read_text()[-2000:]}")

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to stop and wait; return its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(number)
        try:
            return self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


@contextmanager
def replicas(count: int, settings: Mapping[str, str], folder: Path) -> Iterator[list[Replica]]:
    """Replicas that are ready; those that still run at the end are killed."""
    with ExitStack() as stack:
        found = []
        for number in range(1, count + 1):
            own = {"DATA_DIR": str(folder / f"replica{number}"), **settings}
            replica = Replica(f"replica{number}", own, folder / f"replica{number}.log")
            replica.start()
            stack.callback(replica.kill)
            found.append(replica)
        for replica in found:
            replica.wait_until_ready()
        yield found


class HAProxy:
    """HAProxy with the configuration that the project ships, over replicas of this machine.

    Beside that, requests may name the replica in ``X-Replica``, and answers tell it. One that is
    down is passed over.
    """

    def __init__(self, servers: Sequence[Replica], folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._socket = folder / "haproxy.sock"
        self._file = folder / "haproxy.cfg"
        self._file.write_text(self._configuration(servers))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run it while the block runs."""
        command = ["haproxy", "-db", "-f", str(self._file)]
        with (self._file.with_suffix(".log")).open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline and process.poll() is None:
                with suppress(httpx.HTTPError):
                    answer = httpx.get(f"{self.url}/health/ready", trust_env=False)
                    if answer.status_code == 200:
                        break
                time.sleep(0.1)
            else:
                raise RuntimeError(self._file.with_suffix(".log").read_text())
            yield
        finally:
            process.terminate()
            process.wait()

    def figures(self) -> dict[str, int]:
        """How often it repeated a request, and how often it chose another replica for it."""
        (backend,) = (row for row in self._rows() if row["svname"] == "BACKEND")
        return {"retries": int(backend["wretr"]), "other_replica": int(backend["wredis"])}

    def is_up(self, name: str) -> bool:
        """Whether it sends requests to a replica."""
        return any(row["svname"] == name and row["status"] == "UP" for row in self._rows())

    def _rows(self) -> list[dict[str, str]]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._socket))
            connection.sendall(b"show stat\n")
            text = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        return list(csv.DictReader(text.removeprefix("# ").splitlines()))

    def _configuration(self, servers: Sequence[Replica]) -> str:
        lines: list[str] = []
        for line in HAPROXY_CONFIG.read_text().splitlines():
            if line.startswith("resolvers"):  # of Docker
                break
            if "server-template" in line:
                lines.append(f"    http-response set-header {REPLICA_HEADER} %s")
                for server in servers:
                    wanted = f"req.hdr({REPLICA_HEADER}) -m str {server.name}"
                    lines.append(f"    use-server {server.name} if {{ {wanted} }}")
                lines += [f"    server {s.name} 127.0.0.1:{s.port}" for s in servers]
                continue
            lines.append(line.replace("bind :8000", f"bind 127.0.0.1:{self.port}"))
            if line == "global":
                lines.append(f"    stats socket {self._socket}")
        return "\n".join([*lines, ""])


def has_haproxy() -> bool:
    """Whether the program is installed."""
    return shutil.which("haproxy") is not None

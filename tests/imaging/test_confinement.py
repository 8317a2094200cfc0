"""A decoder that a hostile file has taken over can do little beyond decoding.

Each attempt runs in a process that is confined as decoder processes are.
"""

import json
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.sampling import Sampling
from service.imaging.sandbox.confinement import MEASURES
from service.imaging.sandbox.decoder_pool import DecoderPool
from tests.imaging import dicom_files as made

ROOT = Path(__file__).parents[2]
ATTEMPTS = """
import ctypes, json, os, signal, socket, subprocess, sys, threading
import service.imaging.sandbox.decoder_process as process

secret, listener, link = sys.argv[1], socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
listener.bind(secret + ".socket")
listener.listen()
out = os.dup(1)
libc = ctypes.CDLL(None, use_errno=True)
PTRACE = {"x86_64": 101, "aarch64": 117}[os.uname().machine]

def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")

def thread():
    one = threading.Thread(target=lambda: None)
    one.start()
    one.join()

attempts = {
    "socket": lambda: socket.socket(),
    "unix socket": lambda: socket.socket(socket.AF_UNIX),
    "connect": lambda: link.connect(secret + ".socket"),
    "program": lambda: os.execv("/bin/true", ["true"]),
    "child": lambda: os.fork() or os._exit(0),
    "shell": lambda: subprocess.run(["/bin/true"]),
    "new file": lambda: open(secret + ".new", "w"),
    "append": lambda: os.open(secret, os.O_WRONLY | os.O_APPEND),
    "read": lambda: open(secret).read(),
    "list": lambda: os.listdir(os.path.dirname(secret)),
    "mode": lambda: os.chmod(secret, 0o777),
    "rename": lambda: os.rename(secret, secret + ".moved"),
    "delete": lambda: os.unlink(secret + ".socket"),
    "signal": lambda: os.kill(os.getppid(), 0),
    "ring": lambda: call(425, 1, 0),
    "limits of others": lambda: __import__("resource").prlimit(os.getppid(), 7),
    "a thread": thread,
    "a library": lambda: __import__("xml.dom.minidom"),
    "memory": lambda: bytes(10_000_000),
    "trace": lambda: call(PTRACE, 0, 0, 0, 0),  # asks to be traced by the parent
}
holds = process.confine(2_000_000_000)
found = {}
for name, attempt in attempts.items():
    try:
        attempt()
    except OSError as error:
        found[name] = type(error).__name__
    else:
        found[name] = "works"
os.write(out, json.dumps([holds, found]).encode())
"""
WORKS = {"a thread", "a library", "memory"}
NEEDS_FILE_ACCESS = {"read", "list"}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux confines a process")
def test_a_confined_process_reaches_nothing_and_still_decodes(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    done = subprocess.run(
        [sys.executable, "-c", ATTEMPTS, str(secret)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    holds, found = json.loads(done.stdout)
    assert set(holds) == set(MEASURES)
    assert {name for name in WORKS if found.pop(name) != "works"} == set()
    if not holds["file_access"]:
        found = {name: said for name, said in found.items() if name not in NEEDS_FILE_ACCESS}
    if not holds["system_calls"]:
        pytest.skip("this kernel has no seccomp filters")
    assert {name for name, said in found.items() if said == "works"} == set()
    assert secret.read_text() == "x"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux confines a process")
def test_the_processes_of_a_pool_are_confined_and_the_pool_tells(caplog) -> None:
    caplog.set_level("INFO")
    with DecoderPool(1, DecodeLimits()) as pool:
        assert pool.confined == {}
        for _ in range(2):
            assert (
                len(list(pool.open(made.dicom(np.zeros((2, 64, 96), np.uint8)), Sampling()))) == 2
            )
        (pid,) = pool.pids
        status = Path(f"/proc/{pid}/status").read_text()
        confined = pool.confined
    assert set(confined) == set(MEASURES)
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    if confined["privileges"]:
        assert fields["NoNewPrivs"] == "1"
        assert int(fields["CapEff"], 16) == int(fields["CapPrm"], 16) == 0
    if confined["system_calls"]:
        assert fields["Seccomp"] == "2"
    if platform.machine() == "x86_64" and Path("/proc/sys/kernel/seccomp").exists():
        assert confined["system_calls"]
    (line,) = [record for record in caplog.records if record.message == "decoders confined"]
    assert line.confined == confined
    assert line.missing == sorted(name for name, holds in confined.items() if not holds)

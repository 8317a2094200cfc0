"""A pool of warm decoder processes, so that a hostile file cannot take the service down.

Each process decodes one file at a time, with limits on memory, processor time and wall-clock time.
A process that exceeds a limit is killed and replaced, and its file gets an error.
"""

import logging
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from service.errors import CorruptImage, DecodeLimit, DecoderFailure, ServiceError, Stopping
from service.imaging.formats.frames import DecodedFrame, DecodedImage, ImageInfo
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.sampling import Sampling
from service.imaging.sandbox import messages

log = logging.getLogger(__name__)
_START_S = 60.0  # the first start on a busy machine reads a hundred megabytes of libraries
_POLL_S = 0.5
_BUFFER_BYTES = 4_000_000
_FILES_PER_PROCESS = 1000  # then it is replaced, so that leaks of libraries stay small
_PROGRAM = (sys.executable, "-m", "service.imaging.sandbox.decoder_process")
_ROOT = Path(__file__).parents[3]


class _Process:
    """One decoder process; used by one thread at a time."""

    def __init__(self, program: Sequence[str]) -> None:
        ours, theirs = socket.socketpair()
        for side in (ours, theirs):
            side.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        command = [*program, str(theirs.fileno())]
        # The environment of the service may hold secrets, so the process gets none of it. It gets
        # one thread and one heap, because every further thread would reserve addresses, which
        # the memory limit counts.
        environment = {
            "PYTHONPATH": str(_ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "MALLOC_ARENA_MAX": "1",
            "OPENCV_LOG_LEVEL": "SILENT",
        }
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            command, env=environment, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
        )
        theirs.close()
        self._link = ours
        self.confined: dict[str, bool] | None = None  # what the process gave up, when it is known
        self.files = 0

    @property
    def is_alive(self) -> bool:
        """Whether it runs; the system may have killed it while it was idle."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def send(self, data: bytes, sampling: Sampling, limits: DecodeLimits) -> None:
        """Pass on one file. Raises DecoderFailure: the process does not start."""
        self.files += 1
        try:
            if self.confined is None:
                self._link.settimeout(_START_S)
                messages.receive(self._link, max_raw=0)
                messages.send(self._link, {"max_bytes": limits.max_decode_bytes})
                report, _ = messages.receive(self._link, max_raw=0)
                self.confined = messages.confined_from(report)
            self._link.settimeout(limits.max_decode_s)
            message = {"sampling": str(sampling), "limits": asdict(limits)}
            messages.send(self._link, message, data)
        except (messages.ConnectionBroken, OSError) as error:
            raise DecoderFailure("a decoder process does not start or answer") from error

    def answers(self, limits: DecodeLimits) -> Iterator[tuple[dict[str, Any], bytearray]]:
        """Yield messages as they arrive; only time spent waiting for the process counts.

        Raises:
            DecodeLimit: the time is over, or a limit killed the process.
            CorruptImage: the process failed on the file.
        """
        left_s = limits.max_decode_s
        while True:
            self._link.settimeout(max(left_s, 0.001))
            start_s = time.monotonic()
            try:
                yield messages.receive(self._link, max_raw=3 * limits.max_pixels)
            except TimeoutError as error:
                raise DecodeLimit(
                    f"decoding takes longer than {limits.max_decode_s:g} s"
                ) from error
            except messages.ConnectionBroken as error:
                raise self._end_reason() from error
            finally:
                left_s -= time.monotonic() - start_s

    def _end_reason(self) -> ServiceError:
        self._process.kill()
        status = self._process.wait()
        if status in (-signal.SIGXCPU, -signal.SIGKILL):
            return DecodeLimit("decoding takes more memory or time than allowed for one file")
        return CorruptImage("the decoder fails on the file")

    def close(self) -> None:
        """Kill the process."""
        self._link.close()
        self._process.kill()
        self._process.wait()


class DecoderPool:
    """At most ``count`` processes, shared by any number of threads. Use as a context manager.

    A process starts when a file needs it and stays warm; plain stills need none.
    """

    def __init__(
        self, count: int, limits: DecodeLimits, *, program: Sequence[str] = _PROGRAM
    ) -> None:
        self._program = program
        self._limits = limits
        self._count = count
        self._idle: queue.Queue[_Process] = queue.Queue()
        self._all: set[_Process] = set()
        self._lock = threading.Lock()
        self._is_closed = False
        self._confined: dict[str, bool] = {}

    def __enter__(self) -> "DecoderPool":
        return self

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._is_closed = True
            processes, self._all = self._all, set()
        for process in processes:
            process.close()

    @property
    def pids(self) -> list[int]:
        """Ids of the running processes."""
        with self._lock:
            return sorted(process.pid for process in self._all)

    def _borrow(self) -> _Process:
        with self._lock:
            if self._is_closed:
                raise Stopping("the service is shutting down")
            if self._idle.empty() and len(self._all) < self._count:
                self._start()
        process = self._next_idle()
        if process.files and not process.is_alive:
            self._give_back(process, is_clean=False)
            return self._borrow()
        return process

    def _next_idle(self) -> _Process:
        """Wait for a process, or until the pool is closed."""
        while True:
            try:
                return self._idle.get(timeout=_POLL_S)
            except queue.Empty:
                if self._is_closed:
                    raise Stopping("the service is shutting down") from None

    def _start(self) -> None:
        process = _Process(self._program)
        self._all.add(process)
        self._idle.put(process)

    def open(self, data: bytes, sampling: Sampling) -> DecodedImage:
        """Decode in a process of the pool; block while all are busy.

        The process stays busy until the frames are exhausted or their iterator is closed.

        Raises:
            UnsupportedFormat, CorruptImage, ImageTooLarge, ClipTooLong, DecodeLimit: at once,
                or during iteration.
            DecoderFailure: no process starts.
            Stopping: the pool is closed.
        """
        results = self._decode(data, sampling)
        info = cast(ImageInfo, next(results))
        return DecodedImage(info, cast(Iterator[DecodedFrame], results))

    def _decode(self, data: bytes, sampling: Sampling) -> Iterator[ImageInfo | DecodedFrame]:
        """The image info, then the frames; closing this generator returns the process."""
        process = self._borrow()
        is_clean = False
        try:
            process.send(data, sampling, self._limits)
            self._note(process)
            for message, raw in process.answers(self._limits):
                is_clean = ("error" in message or "end" in message) and "leaves" not in message
                if "error" in message:
                    raise messages.error_from(message)
                if is_clean:
                    return
                yield messages.result_from(message, raw)
        except messages.ConnectionBroken as error:
            raise CorruptImage("the decoder fails on the file") from error
        finally:
            self._give_back(process, is_clean)

    @property
    def confined(self) -> dict[str, bool]:
        """Which measures of ``confinement`` hold for the processes; empty before the first file."""
        return dict(self._confined)

    def _note(self, process: _Process) -> None:
        """Log once what the processes give up, and what this system does not let them."""
        if self._confined or not process.confined:
            return
        self._confined = process.confined
        missing = sorted(name for name, holds in self._confined.items() if not holds)
        level = logging.WARNING if missing else logging.INFO
        log.log(level, "decoders confined", extra={"confined": self._confined, "missing": missing})

    def _give_back(self, process: _Process, is_clean: bool) -> None:
        """Reuse the process unless it may be in the middle of a file or is old."""
        if is_clean and process.files < _FILES_PER_PROCESS:
            self._idle.put(process)
            return
        with self._lock:
            self._all.discard(process)
            if not self._is_closed:
                self._start()
        process.close()

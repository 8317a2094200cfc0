"""A pool of warm decoder processes, so that a hostile file cannot take the service down.

Each process takes one file at a time. It has a limit of memory and of processor time, and its
parent waits only so long: whoever exceeds one is killed and replaced, and the file gets an error.
"""

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
from types import TracebackType
from typing import cast

from service.errors import CorruptImage, DecodeLimit, DecoderFailure, ServiceError, Stopping
from service.imaging.formats import sandbox_messages as messages
from service.imaging.formats.frames import DecodedFrame, DecodedImage, ImageInfo
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.sampling import Sampling

_START_S = 60.0  # a first start on a busy machine reads a hundred megabytes of libraries
_LOOK_UP_S = 0.5
_BUFFER_BYTES = 4_000_000
_FILES_PER_PROCESS = 1000  # then replaced: what leaks in a library stays small
_PROGRAM = (sys.executable, "-m", "service.imaging.formats.sandbox_worker")
_ROOT = Path(__file__).parents[3]


class _Process:
    """One decoder process; used by one thread at a time."""

    def __init__(self, program: Sequence[str]) -> None:
        ours, theirs = socket.socketpair()
        for side in (ours, theirs):
            side.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        command = [*program, str(theirs.fileno())]
        # Nothing of our own environment: it may hold secrets. One thread, one heap: the limit
        # of memory counts addresses, and every further thread would reserve some.
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
        self._is_ready = False
        self.files = 0

    @property
    def is_alive(self) -> bool:
        """Whether it can take a file; the system may have ended it while it was idle."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def send(self, data: bytes, sampling: Sampling, limits: DecodeLimits) -> None:
        """Hand over one file. Raises DecoderFailure: the process does not start."""
        self.files += 1
        try:
            if not self._is_ready:
                self._link.settimeout(_START_S)
                messages.receive(self._link, max_raw=0)
                self._is_ready = True
            self._link.settimeout(limits.max_decode_s)
            said = {"sampling": str(sampling), "limits": asdict(limits)}
            messages.send(self._link, said, data)
        except (messages.ConnectionBroken, OSError) as error:
            raise DecoderFailure("a decoder process does not start or answer") from error

    def answers(self, limits: DecodeLimits) -> Iterator[tuple[dict[str, object], bytearray]]:
        """Messages as they come. Waiting for the process counts, the reader's own time not.

        Raises:
            DecodeLimit: out of time, or killed by a limit.
            CorruptImage: the process failed on the file.
        """
        left_s = limits.max_decode_s
        while True:
            self._link.settimeout(max(left_s, 0.001))
            began = time.monotonic()
            try:
                yield messages.receive(self._link, max_raw=3 * limits.max_pixels)
            except TimeoutError as error:
                raise DecodeLimit(
                    f"decoding takes longer than {limits.max_decode_s:g} s"
                ) from error
            except messages.ConnectionBroken as error:
                raise self._why_gone() from error
            finally:
                left_s -= time.monotonic() - began

    def _why_gone(self) -> ServiceError:
        self._process.kill()
        status = self._process.wait()
        if status in (-signal.SIGXCPU, -signal.SIGKILL):
            return DecodeLimit("decoding takes more memory or time than one file is given")
        return CorruptImage("the decoder fails on the file")

    def close(self) -> None:
        """End the process at once."""
        self._link.close()
        self._process.kill()
        self._process.wait()


class DecoderPool:
    """At most ``count`` processes, shared by any number of threads. Use as a context manager.

    Each starts when a file needs it and stays warm: who sends only stills pays for none.
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

    def __enter__(self) -> "DecoderPool":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._is_closed = True
            left, self._all = self._all, set()
        for process in left:
            process.close()

    @property
    def pids(self) -> list[int]:
        """Of the processes that live now."""
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
        """Wait for a process, and not for ever when the pool is closed meanwhile."""
        while True:
            try:
                return self._idle.get(timeout=_LOOK_UP_S)
            except queue.Empty:
                if self._is_closed:
                    raise Stopping("the service is shutting down") from None

    def _start(self) -> None:
        process = _Process(self._program)
        self._all.add(process)
        self._idle.put(process)

    def open(self, data: bytes, sampling: Sampling) -> DecodedImage:
        """Decode in a process of the pool; blocks while all are busy.

        Walk the frames to their end, or close their iterator: the process is lent until then.

        Raises:
            UnsupportedFormat, CorruptImage, ImageTooLarge, ClipTooLong, DecodeLimit: at once,
                or while the frames are walked.
            DecoderFailure: no process starts.
            Stopping: the pool is closed.
        """
        walk = self._walk(data, sampling)
        info = cast(ImageInfo, next(walk))
        return DecodedImage(info, cast(Iterator[DecodedFrame], walk))

    def _walk(self, data: bytes, sampling: Sampling) -> Iterator[ImageInfo | DecodedFrame]:
        """What was opened, then the frames; one generator, so that leaving it gives back."""
        process = self._borrow()
        is_clean = False
        try:
            process.send(data, sampling, self._limits)
            for said, raw in process.answers(self._limits):
                is_clean = "error" in said or "end" in said
                if "error" in said:
                    raise messages.error_from(said)
                if is_clean:
                    return
                yield (
                    messages.image_info_from(said)
                    if "info" in said
                    else messages.frame_from(said, raw)
                )
        except messages.ConnectionBroken as error:
            raise CorruptImage("the decoder fails on the file") from error
        finally:
            self._give_back(process, is_clean)

    def _give_back(self, process: _Process, is_clean: bool) -> None:
        """Lend it again, unless it may be in the middle of a file, or is old."""
        if is_clean and process.files < _FILES_PER_PROCESS:
            self._idle.put(process)
            return
        with self._lock:
            self._all.discard(process)
            if not self._is_closed:
                self._start()
        process.close()

"""Sends a folder of images to a collection: parallel, in order, resumable.

A few threads read and send batches. At most ``2 x workers`` batches are in memory, and they are
settled in the order of the files. When the service is busy, a request is repeated later. Equal
bytes are one scan, so a file that is sent twice after a failure is stored once.
"""

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from service.cli.ingest_report import Report, Settled
from service.client.client import ApiError, Client
from service.errors import InputError

_STILLS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
SUFFIXES = frozenset({*_STILLS, ".gif", ".dcm", ".dicom", ".mp4", ".avi"})
PER_REQUEST = 32
BYTES_PER_REQUEST = 16_000_000
ATTEMPTS = 8
LONGEST_WAIT_S = 30.0
_OF_THE_FILE = frozenset({413, 415, 422})  # all files of the request were refused


@dataclass(frozen=True, slots=True)
class Ingested:
    """The outcome of an ingest; ``problems`` holds (path, code and detail).

    Attributes:
        skipped: number of files that an earlier run settled; they were not read.
    """

    sent: int
    known: int
    problems: tuple[tuple[Path, str], ...]
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    metadata: dict[str, Any]
    bytes: int
    modified_ns: int


def ensure_collection(client: Client, name: str) -> None:
    """Create the collection if it is missing."""
    if name not in {collection["name"] for collection in client.collections()}:
        client.create_collection(name)


def image_files(folder: Path) -> list[Path]:
    """The image files below a folder, sorted, without hidden files."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def ingest(
    client: Client,
    collection: str,
    files: Sequence[Path],
    metadata: Sequence[dict[str, Any]] | None = None,
    *,
    workers: int = 4,
    report: Report | None = None,
    on_done: Callable[[int], None] = lambda count: None,
) -> Ingested:
    """Send the files that the collection does not have; bad files are reported, not fatal.

    Args:
        metadata: one object per file.
        workers: number of parallel requests.
        report: gets one line per file; files that it lists as stored are skipped, unless they
            changed since.
        on_done: called after each batch with the number of its files.

    Raises:
        ApiError: the service refused a whole request, or stayed busy.
        httpx.HTTPError: the service could not be reached any more.
        InputError: not one metadata object per file, or no worker.
    """
    objects = list(metadata) if metadata is not None else [{} for _ in files]
    if len(objects) != len(files) or workers < 1:
        raise InputError("expected one metadata object per file, and at least one worker")
    counts = {"stored": 0, "known": 0}
    problems: list[tuple[Path, str]] = []
    with ExitStack() as stack:
        earlier = {} if report is None else report.earlier()
        if report is not None:
            stack.enter_context(report)
        todo = [f for f in _described(files, objects) if not _is_settled(f, earlier)]
        skipped = len(files) - len(todo)
        if skipped:
            on_done(skipped)
        for batch in _in_order(_Sender(client, collection), _batches(todo), workers):
            for line in batch:
                if line.is_there:
                    counts[line.outcome] += 1
                else:
                    problems.append((Path(line.path), f"{line.code}: {line.detail}"))
            if report is not None:
                report.add(batch)
            on_done(len(batch))
    return Ingested(counts["stored"], counts["known"], tuple(problems), skipped)


def _described(files: Sequence[Path], objects: Sequence[dict[str, Any]]) -> Iterator[_File]:
    for path, metadata in zip(files, objects, strict=True):
        try:
            status = path.stat()
        except OSError:  # reported when the file is read
            yield _File(path, metadata, 0, 0)
        else:
            yield _File(path, metadata, status.st_size, status.st_mtime_ns)


def _is_settled(file: _File, earlier: dict[str, Settled]) -> bool:
    line = earlier.get(str(file.path))
    if line is None or not line.is_there:
        return False
    return (line.bytes, line.modified_ns) == (file.bytes, file.modified_ns)


def _batches(files: Sequence[_File]) -> Iterator[list[_File]]:
    batch: list[_File] = []
    for file in files:
        if len(batch) == PER_REQUEST or sum(f.bytes for f in batch) > BYTES_PER_REQUEST:
            yield batch
            batch = []
        batch.append(file)
    if batch:
        yield batch


def _in_order(
    sender: "_Sender", batches: Iterator[list[_File]], workers: int
) -> Iterator[list[Settled]]:
    """The settled batches in the order of the files; the first failure stops the others."""
    under_way: deque[Future[list[Settled]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="ingest") as pool:
        try:
            for batch in batches:
                under_way.append(pool.submit(sender.settle, batch))
                if len(under_way) == 2 * workers:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            sender.stop()
            pool.shutdown(wait=True, cancel_futures=True)


class _Sender:
    """Reads and sends batches; all threads share the pause while the service is busy."""

    def __init__(self, client: Client, collection: str) -> None:
        self._client = client
        self._collection = collection
        self._stopping = threading.Event()
        self._not_before_s = 0.0

    def stop(self) -> None:
        """Stop the pauses of all threads; requests that are on the way still end."""
        self._stopping.set()

    def settle(self, batch: list[_File]) -> list[Settled]:
        """Return one line per file, in order. Raises ApiError, httpx.HTTPError."""
        lines: dict[Path, Settled] = {}
        read: list[tuple[_File, bytes, str]] = []
        for file in batch:
            try:
                data = file.path.read_bytes()
            except OSError as error:
                name = type(error).__name__
                lines[file.path] = _line(file, "unreadable", code="unreadable", detail=name)
            else:
                read.append((file, data, hashlib.sha256(data).hexdigest()))
        digests = [digest for _, _, digest in read]
        known = self._retry(lambda: self._client.known(self._collection, digests))
        for file, _, digest in read:
            if digest in known:
                lines[file.path] = _line(file, "known", sha256=digest, scan_id=known[digest])
        fresh = [(file, data, digest) for file, data, digest in read if digest not in known]
        lines |= {Path(line.path): line for line in self._send(fresh)}
        return [lines[file.path] for file in batch]

    def _send(self, fresh: list[tuple[_File, bytes, str]]) -> list[Settled]:
        if not fresh:
            return []
        images = [data for _, data, _ in fresh]
        metadata = [file.metadata for file, _, _ in fresh]
        try:
            items = self._retry(
                lambda: self._client.add_scans(self._collection, images, metadata)["items"]
            )
        except ApiError as error:
            if error.status not in _OF_THE_FILE and error.code != "name_taken":
                raise
            if len(fresh) == 1:
                file, _, digest = fresh[0]
                detail = str(error).partition(": ")[2]
                return [_line(file, "refused", code=error.code, detail=detail, sha256=digest)]
            half = len(fresh) // 2  # one file may be too large: send halves to isolate it
            return self._send(fresh[:half]) + self._send(fresh[half:])
        return [
            _answered(file, digest, item)
            for (file, _, digest), item in zip(fresh, items, strict=True)
        ]

    def _retry(self, call: Callable[[], Any]) -> Any:
        """Repeat a call while the service is busy or unreachable; all threads share the pause."""
        for attempt in range(ATTEMPTS):
            self._stopping.wait(max(0.0, self._not_before_s - time.monotonic()))
            try:
                return call()
            except (ApiError, httpx.TransportError) as error:
                is_busy = not isinstance(error, ApiError) or error.status == 503
                if not is_busy or attempt == ATTEMPTS - 1 or self._stopping.is_set():
                    raise
                asked_s = getattr(error, "retry_after_s", None) or 1.0
                wait_s = min(LONGEST_WAIT_S, asked_s * 2**attempt / 2)
                self._not_before_s = time.monotonic() + wait_s
        raise AssertionError("unreachable")


def _answered(file: _File, digest: str, item: dict[str, Any]) -> Settled:
    if "problem" in item:
        problem = item["problem"]
        return _line(file, "refused", code=problem["code"], detail=problem["detail"], sha256=digest)
    outcome = "stored" if item["created"] else "known"
    return _line(file, outcome, sha256=digest, scan_id=item["scan"]["scan_id"])


def _line(file: _File, outcome: Any, **more: str) -> Settled:
    return Settled(str(file.path), outcome, bytes=file.bytes, modified_ns=file.modified_ns, **more)

"""Sends files to a collection: parallel, in order, resumable.

A few threads read and send batches. At most ``2 x workers`` batches are in memory, and they are
settled in the order of the files. When the service is busy, a request is repeated later. Equal
bytes are one scan, so a file that is sent twice after a failure is stored once.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar, cast

from service.catalog.plain_text import name_of, settled_attributes, settled_labels
from service.cli.file_reading import FileReader, FileToSend, ReadFile, file_to_send
from service.cli.folder_walk import COMPANIONS
from service.cli.ingesting.ingest_report import (
    FAILED,
    Report,
    Settled,
    collection_mark,
    path_text,
)
from service.errors import InputError
from sonoprobe_client import ApiError, Client, NoAnswer
from sonoprobe_client.bodies import ScanMetadata
from sonoprobe_client.models import AddedScan, ScanAnswer

Answered = TypeVar("Answered")
PER_REQUEST = 32
BYTES_PER_REQUEST = 16_000_000
ATTEMPTS = 8
LONGEST_WAIT_S = 30.0
_OF_THE_FILE = frozenset({413, 415, 422})  # all files of the request were refused
_LATER = frozenset({429, 502, 503, 504})  # busy, or a proxy whose replica died


@dataclass(frozen=True, slots=True)
class Ingested:
    """The outcome of an ingest; ``problems`` and ``passed_over`` hold (path, code and detail).

    Attributes:
        skipped: number of files that an earlier run settled; they were not read.
        companions: number of those passed over that belong to a medium or a system.
        remarks: number of files that are there, by what is odd about them.
    """

    sent: int
    known: int
    problems: tuple[tuple[Path, str], ...]
    skipped: int = 0
    passed_over: tuple[tuple[Path, str], ...] = ()
    companions: int = 0
    remarks: Mapping[str, int] = field(default_factory=dict)


def ensure_collection(client: Client, name: str) -> bool:
    """Create the collection if it is missing; return whether it was."""
    if name in {collection.name for collection in client.collections()}:
        return False
    client.create_collection(name)
    return True


def ingest(
    client: Client,
    collection: str,
    files: Sequence[Path],
    metadata: Sequence[Mapping[str, Any]] | None = None,
    *,
    folder: Path | None = None,
    reader: FileReader | None = None,
    not_sent: Sequence[Settled] = (),
    workers: int = 4,
    report: Report | None = None,
    on_done: Callable[[int], None] = lambda count: None,
) -> Ingested:
    """Send the files that the collection does not have; bad files are reported, not fatal.

    Args:
        metadata: one object per file.
        folder: paths in the report are relative to it.
        reader: how files are read; by default every content is sent as it is.
        not_sent: lines about other files, for the report and the counts.
        workers: number of parallel requests.
        report: gets one line per file; files that it lists as stored are skipped, unless they
            or their metadata changed since, or they were sent to another collection.
        on_done: called after each batch with the number of its files.

    Raises:
        ApiError: the service refused a whole request, or stayed busy.
        NoAnswer: the service could not be reached any more.
        InputError: not one metadata object per file, or no worker.
    """
    objects = list(metadata) if metadata is not None else [{} for _ in files]
    if len(objects) != len(files) or workers < 1:
        raise InputError("expected one metadata object per file, and at least one worker")
    tally = _Tally()
    if report is not None and files:
        stored = client.collection(collection)
        report.collection = collection_mark(stored.name, stored.created_at)
    with ExitStack() as stack:
        earlier = {} if report is None else report.earlier()
        if report is not None:
            stack.enter_context(report)
        all_files = [file_to_send(*pair, folder) for pair in zip(files, objects, strict=True)]
        todo = [file for file in all_files if not _is_settled(file, earlier)]
        tally.skipped = len(files) - len(todo)
        if tally.skipped:
            on_done(tally.skipped)
        sender = _Sender(client, collection, reader or FileReader())
        for batch in chain([not_sent], _in_order(sender, _batches(todo), workers)):
            lines = [tally.counted(line) for line in batch]
            if report is not None:
                report.add(lines)
            if batch is not not_sent:
                on_done(len(batch))
    return tally.outcome()


class _Tally:
    """Counts lines, and marks files whose bytes an earlier file of the run has."""

    def __init__(self) -> None:
        self.skipped = 0
        self._outcomes: Counter[str] = Counter()
        self._remarks: Counter[str] = Counter()
        self._companions = 0
        self._problems: list[tuple[Path, str]] = []
        self._passed_over: list[tuple[Path, str]] = []
        self._first: dict[bytes, str] = {}  # sha256 -> path

    def counted(self, line: Settled) -> Settled:
        """Count a line and return it, marked if it is a duplicate."""
        self._outcomes[line.outcome] += 1
        reason = f"{line.code}: {line.detail}" if line.detail else line.code
        if line.outcome in FAILED:
            self._problems.append((Path(line.path), reason))
            return line
        if line.outcome == "passed_over":
            self._passed_over.append((Path(line.path), reason))
            self._companions += line.code in COMPANIONS
            return line
        first = self._first.setdefault(bytes.fromhex(line.sha256), line.path)
        if first != line.path and not line.code:
            line = line.marked("duplicate", f"the same bytes as {first}")
        if line.code:
            self._remarks[line.code] += 1
        return line

    def outcome(self) -> Ingested:
        return Ingested(
            self._outcomes["stored"],
            self._outcomes["known"],
            tuple(self._problems),
            self.skipped,
            tuple(self._passed_over),
            self._companions,
            dict(self._remarks),
        )


def _is_settled(file: FileToSend, earlier: Mapping[str, Settled]) -> bool:
    line = earlier.get(file.text) or earlier.get(path_text(file.path))
    if line is None or not line.is_there or line.metadata != file.metadata_digest:
        return False
    return (line.bytes, line.modified_ns) == (file.bytes, file.modified_ns)


def _batches(files: Sequence[FileToSend]) -> Iterator[list[FileToSend]]:
    """A large file goes alone, so that it is read when no other is."""
    batch: list[FileToSend] = []
    for file in files:
        bytes_so_far = sum(f.bytes for f in batch)
        if batch and (len(batch) == PER_REQUEST or bytes_so_far + file.bytes > BYTES_PER_REQUEST):
            yield batch
            batch = []
        batch.append(file)
    if batch:
        yield batch


def _in_order(
    sender: "_Sender", batches: Iterator[list[FileToSend]], workers: int
) -> Iterator[Sequence[Settled]]:
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

    def __init__(self, client: Client, collection: str, reader: FileReader) -> None:
        self._client = client
        self._collection = collection
        self._reader = reader
        self._stopping = threading.Event()
        self._large = threading.Lock()  # bounds the memory of all threads by one large file
        self._not_before_s = 0.0

    def stop(self) -> None:
        """Stop the pauses of all threads; requests that are on the way still end."""
        self._stopping.set()

    def settle(self, batch: list[FileToSend]) -> list[Settled]:
        """Return one line per file, in order. Raises ApiError, NoAnswer."""
        if sum(file.bytes for file in batch) > BYTES_PER_REQUEST:
            with self._large:
                return self._settle(batch)
        return self._settle(batch)

    def _settle(self, batch: list[FileToSend]) -> list[Settled]:
        lines: dict[str, Settled] = {}
        read: list[ReadFile] = []
        for file in batch:
            result = self._reader.read(file)
            if isinstance(result, Settled):
                lines[file.text] = result
            else:
                read.append(result)
        fresh: list[ReadFile] = []
        known = self._known([file.sha256 for file in read])
        for file_read in read:
            same = [scan for scan in known.get(file_read.sha256, ()) if not _kept(scan, file_read)]
            if same:
                lines[file_read.file.text] = _line(file_read, "known", same[0])
            else:
                fresh.append(file_read)
        lines |= {line.path: line for line in self._send(fresh)}
        return [lines[file.text] for file in batch]

    def _known(self, digests: list[str]) -> dict[str, list[ScanAnswer]]:
        if not digests:
            return {}
        return self._retry(lambda: self._client.known_scans(self._collection, digests))

    def _send(self, fresh: list[ReadFile]) -> list[Settled]:
        if not fresh:
            return []
        images = [read.data for read in fresh]
        metadata = [cast(ScanMetadata, read.metadata) for read in fresh]

        def send() -> list[AddedScan]:
            added = self._client.add_scans(
                self._collection, images, metadata, max_files=PER_REQUEST
            )
            return added.items

        try:
            items = self._retry(send)
        except ApiError as error:
            if error.status not in _OF_THE_FILE and error.code != "name_taken":
                raise
            if len(fresh) == 1:
                detail = str(error).partition(": ")[2]
                (read,) = fresh
                return [read.file.settled("refused", error.code, detail, sha256=read.sha256)]
            half = len(fresh) // 2  # one file may be too large: send halves to isolate it
            return self._send(fresh[:half]) + self._send(fresh[half:])
        return [_answered(read, item) for read, item in zip(fresh, items, strict=True)]

    def _retry(self, call: Callable[[], Answered]) -> Answered:
        """Repeat a call while the service is busy or unreachable; all threads share the pause."""
        for attempt in range(ATTEMPTS):
            self._stopping.wait(max(0.0, self._not_before_s - time.monotonic()))
            try:
                return call()
            except (ApiError, NoAnswer) as error:
                is_busy = not isinstance(error, ApiError) or error.status in _LATER
                if not is_busy or attempt == ATTEMPTS - 1 or self._stopping.is_set():
                    raise
                asked_s = getattr(error, "retry_after_s", None) or 1.0
                wait_s = min(LONGEST_WAIT_S, asked_s * 2**attempt / 2)
                self._not_before_s = time.monotonic() + wait_s
        raise AssertionError("unreachable")


def _answered(read: ReadFile, item: AddedScan) -> Settled:
    if item.scan is not None:
        return _line(read, "stored" if item.created else "known", item.scan)
    problem = item.problem
    code, detail = ("no_answer", "") if problem is None else (problem.code, problem.detail)
    return read.file.settled("refused", code, detail, sha256=read.sha256)


def _line(read: ReadFile, outcome: str, scan: ScanAnswer) -> Settled:
    """The line of a file that the collection has, with what is odd about it."""
    code, detail = read.remark, ""
    kept = _kept(scan, read)
    if kept and outcome == "known":
        code, detail = "kept_as_stored", f"the stored scan keeps its own {', '.join(kept)}"
    elif not code and scan.image.sha256 != read.sha256:
        code = "same_pixels"
    return read.file.settled(outcome, code, detail, sha256=read.sha256, scan_id=scan.scan_id)


def _kept(scan: ScanAnswer, read: ReadFile) -> list[str]:
    """Names of the metadata that the stored scan does not have as they were sent."""
    wanted, stored = read.metadata, scan.document()
    plain = [
        name
        for name in ("scan_id", "subject_id", "study_id")
        if name in wanted and stored[name] != name_of(wanted[name])
    ]
    groups = {
        "labels": settled_labels(wanted.get("labels", {})),
        "attributes": settled_attributes(wanted.get("attributes", {})),
    }
    inner = [
        f"{group}.{name}"
        for group, values in groups.items()
        for name, value in values.items()
        if stored[group].get(name) != value
    ]
    return plain + inner

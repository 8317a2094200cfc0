"""Stores labelled files in a collection, and their labels in its scans."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.cli.ingesting.ingest import ensure_collection, ingest
from service.cli.ingesting.ingest_report import Report, Settled, path_text
from service.cli.labelled_files import LabelledFile
from service.cli.terminal import progress
from service.errors import InputError
from sonoprobe_client import Client
from sonoprobe_client.bodies import LabelledExample


@dataclass(frozen=True, slots=True)
class WrittenLabels:
    """Labels of scans: new ones, those that replaced another label, and those that were there."""

    written: int
    changed: int
    unchanged: int

    def __str__(self) -> str:
        return (
            f"labels: {self.written} written, {self.changed} changed, {self.unchanged} there before"
        )


class Outcomes(Report):
    """Keeps the outcome of each file in memory."""

    def __init__(self) -> None:
        self.by_path: dict[str, Settled] = {}

    def earlier(self) -> dict[str, Settled]:
        """No file was sent before."""
        return {}

    def __enter__(self) -> "Outcomes":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def add(self, settled: Iterable[Settled]) -> None:
        """Keep the outcomes."""
        self.by_path |= {line.path: line for line in settled}


def write_labels(
    client: Client, collection: str, task: str, files: Sequence[LabelledFile]
) -> WrittenLabels:
    """Store the files with their labels; scans that were stored before get theirs.

    Raises:
        InputError: the service refused a file, or one picture has two labels; then no label of a
            scan that was stored before is changed.
    """
    outcomes = _sent(client, collection, files, task)
    labels = _label_per_scan(files, outcomes)
    written = changed = unchanged = 0
    for scan_id, label in labels.items():
        known = client.scan(collection, scan_id).labels.get(task)
        is_new = any(o.scan_id == scan_id and o.outcome == "stored" for o in outcomes.values())
        if known == label:
            written, unchanged = written + is_new, unchanged + (not is_new)
            continue
        client.patch_scan(collection, scan_id, {"labels": {task: label}})
        written, changed = written + (known is None), changed + (known is not None)
    return WrittenLabels(written, changed, unchanged)


def store_examples(
    client: Client, collection: str, files: Sequence[LabelledFile]
) -> list[LabelledExample]:
    """Store the files and return them as examples; the labels of scans stay as they are.

    Raises:
        InputError: the service refused a file.
    """
    outcomes = _sent(client, collection, files)
    return [
        {"scan_id": outcomes[path_text(file.path)].scan_id, "label": file.label} for file in files
    ]


def _sent(
    client: Client, collection: str, files: Sequence[LabelledFile], task: str | None = None
) -> dict[str, Settled]:
    """Path -> outcome of each file. Raises InputError: the service refused one."""
    _refuse_two_labels([(str(file.path), file.label) for file in files])
    ensure_collection(client, collection)
    metadata: list[dict[str, object]] = []
    for file in files:
        fields: dict[str, object] = {k: v for k, v in file.example.items() if k != "label"}
        metadata.append(fields | ({} if task is None else {"labels": {task: file.label}}))
    outcomes, paths = Outcomes(), [file.path for file in files]
    with progress("sending", len(files)) as advance:
        done = ingest(client, collection, paths, metadata, report=outcomes, on_done=advance)
    if done.problems:
        path, reason = done.problems[0]
        raise InputError(f"{len(done.problems)} files were refused, first {path}: {reason}")
    return outcomes.by_path


def _label_per_scan(files: Sequence[LabelledFile], outcomes: dict[str, Settled]) -> dict[str, str]:
    """Scan id -> label. Raises InputError: two files are one picture with two labels."""
    pairs = [(outcomes[path_text(file.path)].scan_id, file.label) for file in files]
    _refuse_two_labels(pairs, [file.path for file in files])
    return dict(pairs)


def _refuse_two_labels(
    pairs: Sequence[tuple[str, str]], paths: Sequence[Path] | None = None
) -> None:
    first: dict[str, int] = {}
    for row, (key, label) in enumerate(pairs):
        earlier = first.setdefault(key, row)
        if pairs[earlier][1] != label:
            named = [str(paths[i]) if paths else f"row {i + 1}" for i in (earlier, row)]
            raise InputError(f"one picture has two different labels: {' and '.join(named)}")

"""The main job in one go: upload frames, find similar ones, learn classes from a few labels.

Everything goes over HTTP, as a clinical back-end would do it.
"""

import csv
import hashlib
import random
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.cli.ingest import Ingested, image_files, ingest
from service.client.client import Client
from service.errors import InputError, NotEnoughExamples

SAMPLES = Path(__file__).parent / "samples"
COLLECTION, TASK = "demo", "class"
MANIFEST = "manifest.csv"
PREDICT_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class DemoExample:
    """One image file; ``group`` is what must not be on both sides of a split."""

    path: Path
    label: str
    group: str


@dataclass(frozen=True, slots=True)
class StoredExamples:
    """A stored scan of the demo."""

    scan_id: str
    label: str
    group: str


@dataclass(frozen=True, slots=True)
class DemoNeighbours:
    """Search over all stored frames, the query's own group left out.

    Attributes:
        queries: how many frames were searched for.
        same_class: share of queries whose best hit has their class.
        chance: the same share for a random hit.
        example: query class and (class, cosine) of its best hits.
    """

    queries: int
    same_class: float
    chance: float
    example: tuple[str, tuple[tuple[str, float], ...]]


@dataclass(frozen=True, slots=True)
class Taught:
    """Accuracy on frames that no classifier saw, over several random choices of labels.

    Attributes:
        balanced_accuracy: mean over the choices; ``deviation`` is their standard deviation.
        reported: what the first classifier said of itself by cross-validation, with interval.
    """

    classes: int
    labelled_per_class: int
    judged: int
    repeats: int
    balanced_accuracy: float
    deviation: float
    reported: float | None
    reported_interval: tuple[float, float] | None


def find_examples(folder: Path) -> list[DemoExample]:
    """Images of a folder with one sub-folder per class.

    Groups come from the nearest ``manifest.csv`` at or above the folder (columns ``path``,
    ``group``, ``label_conflict``; paths relative to it); frames that it marks as contradicting
    are left out. Without one, files of equal bytes are a group.

    Raises:
        InputError: fewer than two classes.
    """
    listed = _manifest_rows(folder.resolve())
    found: list[DemoExample] = []
    for path in image_files(folder):
        label = path.relative_to(folder).parts[0]
        if path.parent == folder:
            continue
        row = listed.get(path.resolve())
        if row is not None and row.get("label_conflict", "").lower() in ("1", "true", "yes"):
            continue
        group = row["group"] if row else hashlib.sha256(path.read_bytes()).hexdigest()
        found.append(DemoExample(path, label, group))
    if len({example.label for example in found}) < 2:
        raise InputError("expected a folder with images in at least 2 sub-folders, one per class")
    return found


def _manifest_rows(folder: Path) -> dict[Path, dict[str, str]]:
    for parent in (folder, *folder.parents):
        file = parent / MANIFEST
        if not file.is_file():
            continue
        with file.open(newline="", encoding="utf-8") as lines:
            rows = [row for row in csv.DictReader(lines) if row.get("path") and row.get("group")]
        return {parent / row["path"]: row for row in rows}
    return {}


def upload(
    client: Client, examples: Sequence[DemoExample], *, on_done: Callable[[int], None]
) -> tuple[Ingested, list[StoredExamples]]:
    """Store every frame with its class and group; return what the collection now holds."""
    client.create_collection(COLLECTION, description="sonoprobe demo")
    metadata = [{"subject_id": _digest(e.group), "labels": {TASK: e.label}} for e in examples]
    done = ingest(client, COLLECTION, [e.path for e in examples], metadata, on_done=on_done)
    stored = [
        StoredExamples(scan["scan_id"], scan["labels"][TASK], scan["subject_id"])
        for scan in client.scans(COLLECTION)
    ]
    return done, stored


def _digest(group: str) -> str:
    return hashlib.sha256(group.encode()).hexdigest()[:32]


def search(
    client: Client, stored: Sequence[StoredExamples], *, queries: int, seed: int = 0
) -> DemoNeighbours:
    """Search for some stored frames among all others."""
    chosen = random.Random(seed).sample(list(stored), min(queries, len(stored)))
    hits, chances = 0, []
    example: tuple[str, tuple[tuple[str, float], ...]] = ("", ())
    for scan in chosen:
        query = {"scan_id": scan.scan_id, "k": 3, "exclude_same": "subject"}
        similar = client.search(COLLECTION, query)["items"]
        labels = tuple((hit["scan"]["labels"][TASK], float(hit["score"])) for hit in similar)
        example = (scan.label, labels) if not example[0] else example
        hits += bool(labels) and labels[0][0] == scan.label
        others = [s for s in stored if s.group != scan.group]
        chances.append(sum(s.label == scan.label for s in others) / max(1, len(others)))
    return DemoNeighbours(len(chosen), hits / len(chosen), statistics.fmean(chances), example)


def teach(
    client: Client,
    stored: Sequence[StoredExamples],
    *,
    labelled: int,
    repeats: int,
    seed: int = 0,
    on_done: Callable[[int], None] = lambda count: None,
) -> Taught:
    """Fit on ``labelled`` frames per class, one per group, and judge on all other groups.

    Raises:
        NotEnoughExamples: a class has no group left to be judged on.
    """
    scores: list[float] = []
    first: dict[str, Any] = {}
    judged = 0
    for repeat in range(repeats):
        train, rest = split(stored, labelled, random.Random(f"{seed}/{repeat}"))
        name = f"demo-{repeat}"
        body = {
            "name": name,
            "collection": COLLECTION,
            "examples": [{"scan_id": s.scan_id, "label": s.label} for s in train],
        }
        report = client.fit(body)["report"]
        first = first or report
        scores.append(_balanced(client, name, rest))
        judged = len(rest)
        on_done(1)
    interval = first["interval_95"]
    return Taught(
        classes=len(first["labels"][0]["classes"]),
        labelled_per_class=labelled,
        judged=judged,
        repeats=repeats,
        balanced_accuracy=statistics.fmean(scores),
        deviation=statistics.stdev(scores) if len(scores) > 1 else 0.0,
        reported=first["balanced_accuracy"],
        reported_interval=None if interval is None else (interval[0], interval[1]),
    )


def split(
    stored: Sequence[StoredExamples], labelled: int, rng: random.Random
) -> tuple[list[StoredExamples], list[StoredExamples]]:
    """``labelled`` frames per class, each from another group, and every frame of other groups.

    Raises:
        NotEnoughExamples: a class has no group left to be judged on.
    """
    train: list[StoredExamples] = []
    used: set[str] = set()
    for label in sorted({scan.label for scan in stored}):
        of_class = [scan for scan in stored if scan.label == label]
        rng.shuffle(of_class)
        taken = list(_one_per_group(of_class, used))[:labelled]
        used |= {scan.group for scan in taken}
        train += taken
    rest = [scan for scan in stored if scan.group not in used]
    if {scan.label for scan in rest} != {scan.label for scan in stored}:
        raise NotEnoughExamples(f"expected more than {labelled} groups in every class")
    return train, rest


def _one_per_group(scans: Sequence[StoredExamples], used: set[str]) -> Iterator[StoredExamples]:
    seen = set(used)
    for scan in scans:
        if scan.group not in seen:
            seen.add(scan.group)
            yield scan


def _balanced(client: Client, classifier: str, rest: Sequence[StoredExamples]) -> float:
    right: dict[str, list[bool]] = defaultdict(list)
    for start in range(0, len(rest), PREDICT_AT_ONCE):
        part = rest[start : start + PREDICT_AT_ONCE]
        answer = client.predict_scans(classifier, COLLECTION, [s.scan_id for s in part])
        for scan, item in zip(part, answer["items"], strict=True):
            right[scan.label].append(item["most_probable"] == scan.label)
    return statistics.fmean(statistics.fmean(map(float, found)) for found in right.values())

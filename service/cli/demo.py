"""A demo over HTTP: upload frames, find similar ones, fit classifiers from a few labels."""

import csv
import hashlib
import random
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.cli.folder_walk import image_files
from service.cli.ingesting.ingest import Ingested, ingest
from service.errors import InputError, NotEnoughExamples
from sonoprobe_client import Client
from sonoprobe_client.bodies import NewClassifierBody, QueryBody
from sonoprobe_client.models import VersionReport

SAMPLES = Path(__file__).parent / "samples"
COLLECTION, TASK = "demo", "class"
MANIFEST = "manifest.csv"
PREDICT_AT_ONCE = 200
MAX_QUERIES = 200


@dataclass(frozen=True, slots=True)
class DemoExample:
    """One image file; frames of one ``group`` must be on one side of a split."""

    path: Path
    label: str
    group: str


@dataclass(frozen=True, slots=True)
class StoredExample:
    """A stored frame of the demo."""

    scan_id: str
    label: str
    group: str


def find_examples(folder: Path) -> list[DemoExample]:
    """The images of a folder with one sub-folder per class.

    Groups come from the nearest ``manifest.csv`` in the folder or above it (columns ``path``,
    relative to the manifest, ``group``, ``label_conflict``); frames with a label conflict are left
    out. Without a manifest, files of equal bytes are a group.

    Raises:
        InputError: fewer than two classes.
    """
    listed = _manifest_rows(folder.resolve())
    examples: list[DemoExample] = []
    for path in image_files(folder):
        label = path.relative_to(folder).parts[0]
        if path.parent == folder:
            continue
        row = listed.get(path.resolve())
        if row is not None and row.get("label_conflict", "").lower() in ("1", "true", "yes"):
            continue
        group = row["group"] if row else hashlib.sha256(path.read_bytes()).hexdigest()
        examples.append(DemoExample(path, label, group))
    if len({example.label for example in examples}) < 2:
        raise InputError("expected a folder with images in at least 2 sub-folders, one per class")
    return examples


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
) -> tuple[Ingested, list[StoredExample]]:
    """Store every frame with its class and group; return the stored frames."""
    client.create_collection(COLLECTION, description="sonoprobe demo")
    metadata = [{"subject_id": _digest(e.group), "labels": {TASK: e.label}} for e in examples]
    done = ingest(client, COLLECTION, [e.path for e in examples], metadata, on_done=on_done)
    stored = [
        StoredExample(scan.scan_id, scan.labels[TASK], str(scan.subject_id))
        for scan in client.scans(COLLECTION)
    ]
    return done, stored


def _digest(group: str) -> str:
    return hashlib.sha256(group.encode()).hexdigest()[:32]


def search(client: Client, stored: Sequence[StoredExample]) -> str:
    """Search for some stored frames among those of other groups; say how good the hits are."""
    queries = random.Random(0).sample(list(stored), min(MAX_QUERIES, len(stored)))
    hits, chances, example = 0, [], ""
    for scan in queries:
        query: QueryBody = {"scan_id": scan.scan_id, "k": 3, "exclude_same": "subject"}
        similar = client.search(COLLECTION, query).items
        labels = [hit.scan.labels[TASK] for hit in similar]
        hits += labels[:1] == [scan.label]
        others = [other for other in stored if other.group != scan.group]
        chances.append(sum(other.label == scan.label for other in others) / max(1, len(others)))
        scores = ", ".join(
            f"{label} {hit.score:.2f}" for label, hit in zip(labels, similar, strict=True)
        )
        example = example or f"a {scan.label} found: {scores}"
    return (
        f"Searched {len(queries)} of them among all other groups: best hit of the same class "
        f"{hits / len(queries):.0%} (chance {statistics.fmean(chances):.0%}); {example}"
    )


def teach(
    client: Client,
    stored: Sequence[StoredExample],
    *,
    labelled: int,
    repeats: int,
    on_done: Callable[[int], None],
) -> list[str]:
    """Fit on ``labelled`` frames per class and evaluate on all other groups; say how accurate.

    Raises:
        NotEnoughExamples: a class has no group left for the evaluation.
    """
    scores: list[float] = []
    reports: list[VersionReport | None] = []
    rest: list[StoredExample] = []
    for repeat in range(repeats):
        train, rest = split(stored, labelled, random.Random(f"0/{repeat}"))
        body: NewClassifierBody = {
            "name": f"demo-{repeat}",
            "collection": COLLECTION,
            "examples": [{"scan_id": scan.scan_id, "label": scan.label} for scan in train],
        }
        reports.append(client.fit(body).report)
        scores.append(_balanced(client, f"demo-{repeat}", rest))
        on_done(1)
    first, classes = reports[0], len({scan.label for scan in stored})
    deviation = statistics.stdev(scores) if len(scores) > 1 else 0.0
    lines = [
        f"Taught {classes} classes from {labelled} labelled frames each: balanced accuracy "
        f"[bold]{100 * statistics.fmean(scores):.1f} ± {100 * deviation:.1f} %[/bold] "
        f"on the {len(rest)} frames of other groups "
        f"(mean ± SD of {repeats} random choices; chance {100 / classes:.0f} %)"
    ]
    if first and first.balanced_accuracy is not None and first.interval_95 is not None:
        low, high = first.interval_95
        lines.append(
            "The first classifier's own estimate, from cross-validation on its examples: "
            f"{100 * first.balanced_accuracy:.0f} % "
            f"(95 % interval {100 * low:.0f} to {100 * high:.0f} %)"
        )
    return lines


def split(
    stored: Sequence[StoredExample], labelled: int, rng: random.Random
) -> tuple[list[StoredExample], list[StoredExample]]:
    """``labelled`` frames per class, each from another group, and every frame of other groups.

    Raises:
        NotEnoughExamples: a class has no group left for the evaluation.
    """
    train: list[StoredExample] = []
    used: set[str] = set()
    for label in sorted({scan.label for scan in stored}):
        of_class = [scan for scan in stored if scan.label == label]
        rng.shuffle(of_class)
        free: dict[str, StoredExample] = {}
        for scan in of_class:
            if scan.group not in used:
                free.setdefault(scan.group, scan)
        chosen = list(free.values())[:labelled]
        used |= {scan.group for scan in chosen}
        train += chosen
    rest = [scan for scan in stored if scan.group not in used]
    if {scan.label for scan in rest} != {scan.label for scan in stored}:
        raise NotEnoughExamples(f"expected more than {labelled} groups in every class")
    return train, rest


def _balanced(client: Client, classifier: str, rest: Sequence[StoredExample]) -> float:
    right: dict[str, list[bool]] = defaultdict(list)
    for start in range(0, len(rest), PREDICT_AT_ONCE):
        part = rest[start : start + PREDICT_AT_ONCE]
        answer = client.predict_scans(classifier, COLLECTION, [s.scan_id for s in part])
        for scan, item in zip(part, answer.raise_for_items(), strict=True):
            right[scan.label].append(item.most_probable == scan.label)
    return statistics.fmean(statistics.fmean(map(float, hits)) for hits in right.values())

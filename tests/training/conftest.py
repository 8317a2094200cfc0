"""Toy features and a small manifest of simulated frames."""

import csv
from pathlib import Path

import numpy as np
import pytest

from training.catalogue.simulator import write_samples
from training.evaluation.protocol import LabelledSet

CLASSES, GROUPS, PER_GROUP, WIDTH = ("a", "b", "c"), 12, 2, 8
COLUMNS = ("path", "use", "dataset", "label", "group", "split", "licence", "label_conflict")


@pytest.fixture
def labelled() -> LabelledSet:
    """Three classes of twelve groups of two frames; no split of its own."""
    labels = np.repeat(CLASSES, GROUPS * PER_GROUP)
    groups = [f"g{number // PER_GROUP}" for number in range(len(labels))]
    return LabelledSet("toy", labels, np.array(groups), np.zeros(len(labels), bool))


@pytest.fixture
def knowing(labelled: LabelledSet) -> np.ndarray:
    """Features that know the class, with a little noise."""
    noise = 0.1 * np.random.default_rng(0).normal(size=(len(labelled.labels_N), WIDTH))
    noise[:, : len(CLASSES)] += labelled.labels_N[:, None] == np.array(CLASSES)
    return noise


@pytest.fixture
def blind(labelled: LabelledSet) -> np.ndarray:
    """Features that know nothing."""
    return np.random.default_rng(1).normal(size=(len(labelled.labels_N), WIDTH))


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulated frames: ``lesions`` (bench), ``lung`` (bench, support in the corpus), corpus.

    The last row of ``lesions`` carries a conflicting label and must be left out.
    """
    folder = tmp_path_factory.mktemp("frames")
    rows: list[list[str]] = []
    for file in write_samples(folder, per_class=12):
        scene, number = file.parent.name, int(file.stem.rsplit("_", 1)[1])
        name = str(file.relative_to(folder))
        if scene in ("cyst", "stone", "mass"):
            rows.append([name, "bench", "lesions", scene, f"{scene}{number}", "", "CC0", "0"])
        elif scene in ("a_lines", "b_lines"):
            use = "corpus" if number < 6 else "bench"
            rows.append([name, use, "lung", scene, f"{scene}{number // 2}", "", "CC0", "0"])
        else:
            rows.append([name, "corpus", "plain", "", "", "", "CC0", "0"])
    rows.append([rows[0][0], "bench", "lesions", "mass", "other", "", "CC0", "1"])
    path = folder / "manifest.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([COLUMNS, *rows])
    return path

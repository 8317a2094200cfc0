"""The frames of the tutorial, from a public set or simulated.

One frame of each patient of a public set, as ``labelled/CLASS/PATIENT/FILE`` to learn from and
``new/CLASS/PATIENT/FILE`` of other patients to ask about, and ``other/lung.png``, which shows
another organ. The set ``simulated`` needs no network.
"""

import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from service.errors import InputError
from service.imaging.analysis.thumbnails import encode_png
from training.catalogue import fetch as fetching
from training.catalogue.adapters import FoundFile, find_frames
from training.catalogue.entries import find, packaged_catalogue
from training.catalogue.simulator import simulate
from training.catalogue.unpack import is_archive, unpack

SIMULATED = "simulated"
SIMULATED_CLASSES = ("cyst", "mass", "stone")
SEED = 7
NEW_PER_CLASS = 4


def write_frames(files: Iterable[FoundFile], folder: Path, *, per_class: int) -> dict[str, int]:
    """Copy ``per_class`` frames to learn from and four to ask about, for each class.

    Patients are numbered anew. Returns the number of frames per class.

    Raises:
        InputError: a class has too few patients, or the folder holds frames already.
    """
    if (folder / "labelled").exists():
        raise InputError(f"{folder} holds frames already")
    wanted = per_class + NEW_PER_CLASS
    classes = _one_of_each_patient(files)
    few = {label: len(frames) for label, frames in classes.items() if len(frames) < wanted}
    if few or not classes:
        raise InputError(f"expected {wanted} patients in each class, got {few or 'no class'}")
    number = 0
    for label, frames in classes.items():
        for place, file in enumerate(frames[:wanted]):
            number += 1
            use = "labelled" if place < per_class else "new"
            target = folder / use / label / f"p{number:03d}"
            target.mkdir(parents=True)
            shutil.copy(file.path, target / f"{label}-{number:03d}{file.path.suffix.lower()}")
    (folder / "other").mkdir()
    lung = simulate("a_lines", np.random.default_rng(SEED), geometry="sector")
    (folder / "other" / "lung.png").write_bytes(encode_png(lung.pixels_HW))
    return dict.fromkeys(classes, wanted)


def _one_of_each_patient(files: Iterable[FoundFile]) -> dict[str, list[FoundFile]]:
    """The frames of each class in an order that the seed gives."""
    first: dict[str, FoundFile] = {}
    for file in files:
        if file.label and not file.problem:
            first.setdefault(file.group or file.path.name, file)
    frames = sorted(first.values(), key=lambda file: file.path.as_posix())
    random.Random(SEED).shuffle(frames)
    labels = sorted({file.label for file in frames})
    return {label: [file for file in frames if file.label == label] for label in labels}


def simulated_files(folder: Path, per_class: int) -> Iterator[FoundFile]:
    """Draw a frame for each patient of three simulated classes."""
    for place, label in enumerate(SIMULATED_CLASSES):
        for number in range(per_class + NEW_PER_CLASS):
            rng = np.random.default_rng([SEED, place, number])
            geometry = "linear" if number % 2 == 0 else "sector"
            frame = simulate(label, rng, geometry=geometry)  # type: ignore[arg-type]
            path = folder / f"{label}-{number}.png"
            path.write_bytes(encode_png(frame.pixels_HW))
            yield FoundFile(path, label, path.stem)


@contextmanager
def files_of(
    name: str, downloads: Path, per_class: int, *, say: Callable[[str], None]
) -> Iterator[Iterable[FoundFile]]:
    """The files of a set while the block runs; fetched into ``downloads`` if they are not there.

    Raises:
        InputError: an unknown set, or one that cannot be fetched.
    """
    if name == SIMULATED:
        with TemporaryDirectory() as drawn:
            yield simulated_files(Path(drawn), per_class)
        return
    dataset = find(name, packaged_catalogue())
    say(f"{dataset.title}, {dataset.licence}, {dataset.url}")
    folder = downloads / dataset.name
    with fetching.open_client() as client:
        files = fetching.fetch(dataset, folder, client)
    for file in filter(is_archive, files):
        if not (folder / "unpacked").exists():
            unpack(file, folder / "unpacked")
    yield find_frames(folder / "unpacked", dataset.layout)

"""Sets that the ``ultrabench`` package prepared, with their fixed splits.

The package (MIT, Tupper and Gagné 2025, arXiv 2501.13193) turns published downloads into one
folder per set: ``train.json``, ``validation.json`` and ``test.json``, each a list of records with
``image`` (a path inside the folder), ``label`` (a number), often a class name and a patient. Only
that folder is read here; the package itself is not needed.
"""

import json
from pathlib import Path
from typing import Any

from service.errors import InputError
from training.catalogue.manifest import ManifestRow
from training.evaluation.sets import EvaluationSet, assemble

_SUPPORT, _TEST = ("train", "validation"), "test"
_CLASS_NAMES = ("pathology", "class", "image_quality")
_GROUPS = ("patient", "source")  # source: the video a frame was taken from


def read_ultrabench(folder: Path) -> EvaluationSet:
    """Read one prepared set: training and validation records are its support, test its test part.

    Records without a label (segmentation only) are left out.

    Raises:
        InputError: a split file is missing or wrong, a path leaves the folder, fewer than two
            classes, or a patient on both sides.
    """
    support = [row for split in _SUPPORT for row in _rows(folder, split)]
    return assemble(folder.name, support, _rows(folder, _TEST))


def _rows(folder: Path, split: str) -> list[ManifestRow]:
    path = folder / f"{split}.json"
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
        return [_row(folder, split, r) for r in records if r.get("label") is not None]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder.name}/{path.name} is no split of ultrabench") from error


def _row(folder: Path, split: str, record: dict[str, Any]) -> ManifestRow:
    image = Path(record["image"])
    if image.is_absolute() or ".." in image.parts:
        raise InputError(f"an image of {folder.name} lies outside its folder")
    name = next((record[key] for key in _CLASS_NAMES if record.get(key)), record["label"])
    group = next((record[key] for key in _GROUPS if record.get(key) is not None), image)
    return ManifestRow(
        path=folder / image,
        use="bench",
        dataset=folder.name,
        label=str(name),
        group=f"{folder.name}/{group}",
        split=split,
        licence="",
        label_conflict=False,
    )

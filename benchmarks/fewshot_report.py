"""What few labelled frames give, measured on real frames, and which defaults follow.

Support and test never share a group. Needs the labelled frames of the folder that
SONOPROBE_SHARED names (else ``../shared``); embeddings come from the shipped bundle and are kept in
a folder (--cache, the one of ``python -m training evaluate``).
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

import fewshot_studies as studies
import numpy as np
from fewshot_data import Data, Row, pictures, read

from training.evaluation.encoders import BundleEncoder, bundle_encoders, embed

BUNDLE = Path(__file__).parents[1] / "service" / "embedding" / "default_bundle"
PICTURES = 40  # of each kind that is no ultrasound
NAMES = (
    "heads",
    "calibration",
    "conformal",
    "abstention",
    "novelty",
    "random_against_grouped",
    "group_counts",
    "likeness",
)
PLOTS = {  # study -> x, y, what tells the lines apart, which rows
    "heads": ("shots", "mean", ("head",), {}),
    "calibration": ("shots", "ece_after", ("set",), {}),
    "conformal": ("nominal", "coverage", ("set", "shots"), {"method": "lac"}),
    "novelty": ("shots", "auroc_organ", ("set", "method"), {}),
    "abstention": ("answered", "accuracy", ("set", "shots"), {}),
    "random_against_grouped": ("grouped_cv", "random_cv", ("set",), {}),
    "likeness": ("likeness", "recall", ("set",), {}),
}


def main() -> None:
    """Measure, print tables, and write plots."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object as last line")
    parser.add_argument("--out", type=Path, help="folder for PNG plots")
    parser.add_argument("--cache", type=Path, default=Path("runs/features"))
    parser.add_argument("--frames", type=int, default=2000, help="of each set, about, at most")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--sets", nargs="*", default=[])
    parser.add_argument("--studies", nargs="*", choices=NAMES, help="all without")
    given = parser.parse_args()
    encoder = bundle_encoders(BUNDLE)[0]
    data = read(encoder, given.sets, given.frames, given.cache)
    found: dict[str, list[Row]] = {}
    studied = all_studies(data, encoder)
    for name in given.studies or studied:
        found[name] = studied[name](data, given.seeds)
        table(name, found[name])
    if given.out:
        plot(found, given.out)
    if given.json:
        print(json.dumps(found))


def all_studies(data: Data, encoder: BundleEncoder) -> dict[str, Callable[[Data, int], list[Row]]]:
    """Table -> study of (data, seeds)."""
    made_of = studies.Trusted(data)

    def novelty(given: Data, seeds: int) -> list[Row]:
        strangers = embed(encoder, pictures(PICTURES)).astype(np.float64)
        return studies.outliers(given, strangers, seeds)

    return {
        "heads": studies.heads,
        "calibration": partial(studies.calibration, made_of=made_of),
        "conformal": partial(studies.coverage, made_of=made_of),
        "abstention": partial(studies.abstention, made_of=made_of),
        "novelty": novelty,
        "random_against_grouped": studies.optimism,
        "group_counts": studies.counting,
        "likeness": studies.likeness,
    }


def table(name: str, rows: list[Row]) -> None:
    """Print rows of equal keys."""
    print(f"\n{name}", flush=True)
    keys = list(dict.fromkeys(key for row in rows for key in row))
    print("  ".join(f"{key:>14}" for key in keys))
    for row in rows:
        print("  ".join(f"{row.get(key, '')!s:>14.24}" for key in keys))


def plot(found: dict[str, list[Row]], folder: Path) -> None:
    """One PNG file per study that has lines to show."""
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    for name, (x, y, keys, wanted) in PLOTS.items():
        if name not in found:
            continue
        figure = Figure(figsize=(7, 5), layout="constrained")
        panel = figure.subplots()
        lines: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for row in found[name]:
            if all(row[key] == value for key, value in wanted.items()):
                label = " ".join(str(row[key]) for key in keys)
                lines[label].append((float(str(row[x])), float(str(row[y]))))
        for label, points in lines.items():
            panel.plot(*zip(*sorted(points), strict=True), marker="o", label=label)
        panel.set_xlabel(x)
        panel.set_ylabel(y)
        panel.legend(fontsize="x-small")
        figure.savefig(folder / f"{name}.png", dpi=120)


if __name__ == "__main__":
    main()

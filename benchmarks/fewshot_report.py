"""How well a few labelled frames teach, measured on real frames; the defaults follow from it.

Support and test never share a group. Needs the labelled frames of the folder that
SONOPROBE_SHARED names (else ``../shared``). Embeddings come from the shipped bundle, or that of
--bundle, and are cached in a folder (--cache, that of ``python -m training evaluate``).
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import fewshot_studies as studies
import numpy as np
from fewshot_data import Data, Row, pictures, read
from harness import argument_parser, write_report

from service.embedding.bundle import SHIPPED_BUNDLE
from training.evaluation.encoders import BundleEncoder, bundle_encoders, embed
from training.evaluation.served import WAYS

PICTURES = 40  # of each kind that is no ultrasound
NAMES = (
    "heads",
    "calibration",
    "conformal",
    "abstention",
    "novelty",
    "random_against_grouped",
    "group_counts",
    "similarity",
)
PLOTS = {  # study -> x, y, columns that name a line, which rows
    "heads": ("shots", "mean", ("head",), {}),
    "calibration": ("shots", "ece_after", ("set",), {}),
    "conformal": ("nominal", "coverage", ("set", "shots"), {"method": "lac"}),
    "novelty": ("shots", "auroc_organ", ("set", "method"), {}),
    "abstention": ("answered", "accuracy", ("set", "shots"), {}),
    "random_against_grouped": ("grouped_cv", "random_cv", ("set",), {}),
    "similarity": ("similarity", "recall", ("set",), {}),
}


def main() -> None:
    """Measure, print tables, and write plots."""
    parser = argument_parser(__doc__)
    parser.add_argument("--plots", type=Path, help="folder for PNG files")
    parser.add_argument("--bundle", type=Path, default=SHIPPED_BUNDLE)
    parser.add_argument("--way", choices=WAYS, default="whole", help="frames, or what is served")
    parser.add_argument("--cache", type=Path, default=Path("runs/features"))
    parser.add_argument("--frames", type=int, default=2000, help="of each set, about, at most")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--sets", nargs="*", default=[])
    parser.add_argument(
        "--shots", nargs="*", type=int, default=studies.SHOTS[1:], help="of the study conformal"
    )
    parser.add_argument("--studies", nargs="*", choices=NAMES, help="all without")
    arguments = parser.parse_args()
    encoder = bundle_encoders(arguments.bundle)[0]
    data = read(encoder, arguments.sets, arguments.frames, arguments.cache, arguments.way)
    tables: dict[str, list[Row]] = {}
    studied = all_studies(data, encoder, arguments.shots)
    for name in arguments.studies or studied:
        tables[name] = studied[name](data, arguments.seeds)
        table(name, tables[name])
    if arguments.plots:
        plot(tables, arguments.plots)
    write_report(tables, arguments)


def all_studies(
    data: Data, encoder: BundleEncoder, shots: Sequence[int]
) -> dict[str, Callable[[Data, int], list[Row]]]:
    """Table -> study of (data, seeds)."""
    fits = studies.CalibratedFits(data)

    def novelty(data: Data, seeds: int) -> list[Row]:
        others = embed(encoder, pictures(PICTURES)).astype(np.float64)
        return studies.outliers(data, others, seeds)

    return {
        "heads": studies.heads,
        "calibration": partial(studies.calibration, fits=fits),
        "conformal": partial(studies.coverage, fits=fits, shots_tried=tuple(shots)),
        "abstention": partial(studies.abstention, fits=fits),
        "novelty": novelty,
        "random_against_grouped": studies.optimism,
        "group_counts": studies.counting,
        "similarity": studies.similarity,
    }


def table(name: str, rows: list[Row]) -> None:
    """Print rows of equal keys."""
    print(f"\n{name}", flush=True)
    keys = list(dict.fromkeys(key for row in rows for key in row))
    print("  ".join(f"{key:>14}" for key in keys))
    for row in rows:
        print("  ".join(f"{row.get(key, '')!s:>14.24}" for key in keys))


def plot(tables: dict[str, list[Row]], folder: Path) -> None:
    """One PNG file per study that has lines to show."""
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    for name, (x, y, keys, filters) in PLOTS.items():
        if name not in tables:
            continue
        figure = Figure(figsize=(7, 5), layout="constrained")
        panel = figure.subplots()
        lines: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for row in tables[name]:
            if all(row[key] == value for key, value in filters.items()):
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

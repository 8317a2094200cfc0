"""How often the 95 % intervals of balanced accuracy, recall and precision hold the truth.

Patients of each class are called rightly with a known chance, and wrong calls are spread over
the other classes. Prints one row per setting: coverage and mean width of each interval.

    python benchmarks/interval_coverage.py --draws 200 --json
"""

from typing import TypeAlias

import numpy as np
from harness import argument_parser, write_report

from service.fewshot.heldout import HeldOut
from service.fewshot.metrics import compute_metrics

Setting: TypeAlias = tuple[tuple[int, ...], tuple[float, ...]]
SETTINGS: tuple[Setting, ...] = (  # patients of each class, chance to be called rightly
    ((5, 5), (0.7, 0.7)),
    ((10, 10), (0.9, 0.9)),
    ((20, 20), (0.8, 0.8)),
    ((10,) * 5, (0.9,) * 5),
    ((50, 5), (0.9, 0.6)),
    ((100, 5), (0.8, 0.8)),
    ((100, 8), (0.95, 0.8)),
    ((200, 10), (0.8, 0.9)),
    ((60, 60, 5), (0.8, 0.8, 0.8)),
)
FIGURES = ("balanced accuracy", "recall", "precision", "recall of the last", "precision of it")


def coverage(setting: Setting, draws: int) -> dict[str, tuple[float, float]]:
    """Figure -> (coverage, mean width); of the first class where the name does not say otherwise.

    Draws that have no such figure are left out.
    """
    patients, chances = setting
    rng, count = np.random.default_rng(7), len(patients)
    right_C = np.array(chances)
    wrong_C = (1 - right_C) / (count - 1)
    calls_CC = np.where(np.eye(count) > 0, right_C[:, None], wrong_C[:, None])
    precision_C = right_C / calls_CC.sum(0)
    truths = (right_C.mean(), right_C[0], precision_C[0], right_C[-1], precision_C[-1])
    labels_N = np.repeat(np.arange(count), patients)
    rows: dict[str, list[tuple[bool, float]]] = {name: [] for name in FIGURES}
    for draw in range(draws):
        guesses_N = (rng.random((len(labels_N), 1)) > calls_CC[labels_N].cumsum(1)).sum(1)
        guesses_N = np.minimum(guesses_N, count - 1)
        names = tuple(map(str, range(count)))
        held_out = HeldOut(names, np.eye(count)[guesses_N], labels_N, np.arange(len(labels_N)))
        found = compute_metrics(held_out, seed=draw)
        first, last = found.per_class[0], found.per_class[-1]
        figures = (found.balanced_accuracy, first.recall, first.precision, last.recall)
        for name, figure, truth in zip(FIGURES, (*figures, last.precision), truths, strict=True):
            if figure is not None:
                is_inside = figure.low - 1e-9 <= truth <= figure.high + 1e-9
                rows[name].append((is_inside, figure.high - figure.low))
    means = {name: np.mean(values, axis=0).tolist() for name, values in rows.items()}
    return {name: (covered, width) for name, (covered, width) in means.items()}


def main() -> None:
    """Print the table."""
    parser = argument_parser(__doc__)
    parser.add_argument("--draws", type=int, default=200)
    arguments = parser.parse_args()
    print("| patients per class | called rightly | " + " | ".join(FIGURES) + " |")
    print("|---|---|" + "---|" * len(FIGURES))
    settings = []
    for setting in SETTINGS:
        figures = coverage(setting, arguments.draws)
        cells = [f"{c:.3f} ({width:.2f})" for c, width in figures.values()]
        print("| " + " | ".join([*map(str, setting), *cells]) + " |", flush=True)
        found = {name: {"coverage": c, "mean_width": width} for name, (c, width) in figures.items()}
        patients, chances = setting
        settings.append({"patients": patients, "called_rightly": chances, "intervals": found})
    write_report({"draws": arguments.draws, "settings": settings}, arguments)


if __name__ == "__main__":
    main()

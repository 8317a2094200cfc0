"""How often the interval of a paired difference holds the true difference.

Two heads score the same patients; the truth is the difference over very many patients. Prints one
row per setting: coverage of 95 % intervals, share of wrong verdicts, and mean width.

    python benchmarks/paired_coverage.py --draws 400 --json
"""

import numpy as np
from harness import argument_parser, write_report

from service.arrays import Doubles, Ints
from service.fewshot.head import softmax
from service.fewshot.heldout import HeldOut
from service.fewshot.metrics import area_under_roc
from service.fewshot.uncertainty.paired import METRICS, ScorePair, paired_differences

CLASSES = ("a", "b")
SETTINGS = (  # patients per class, signal of either head, correlation of their errors, frames
    (5, (1.0, 1.0), 0.8, 1),
    (5, (2.5, 2.5), 0.9, 1),
    (5, (3.0, 1.0), 0.5, 3),
    (10, (1.0, 1.0), 0.8, 1),
    (10, (2.0, 1.0), 0.8, 3),
    (20, (2.0, 2.0), 0.95, 1),
    (20, (2.0, 1.0), 0.8, 1),
    (50, (1.5, 1.5), 0.9, 1),
    (50, (2.0, 1.5), 0.9, 2),
)


def drawn_pair(
    rng: np.random.Generator,
    patients: int,
    signals: tuple[float, float],
    correlation: float,
    frames: int,
) -> tuple[ScorePair, Ints]:
    """Scores of ``frames`` frames of so many patients per class by two heads."""
    labels_N = np.repeat([0, 1], patients * frames)
    groups_N = np.arange(2 * patients).repeat(frames)
    noise_2G = rng.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], 2 * patients).T
    noise_2N = noise_2G[:, groups_N] + 0.3 * rng.normal(size=(2, labels_N.size))
    heads = []
    for signal, noise_N in zip(signals, noise_2N, strict=True):
        margin_N = signal * (labels_N - 0.5) + noise_N
        heads.append(HeldOut(CLASSES, np.stack([-margin_N, margin_N], 1), labels_N, groups_N))
    first, second = heads
    pair = ScorePair(first, second, softmax(first.logits_NC), softmax(second.logits_NC))
    return pair, groups_N


def true_differences(pair: ScorePair) -> dict[str, float]:
    """The differences over very many patients, of whom all frames count."""
    figures = []
    for head, shares_NC in ((pair.first, pair.first_NC), (pair.second, pair.second_NC)):
        right_N = head.logits_NC.argmax(1) == head.labels_N
        ones_1N = np.ones((1, len(right_N)))
        figures.append(
            (
                float(right_N.mean()),
                float(area_under_roc(shares_NC[:, 1], head.labels_N == 1, ones_1N)[0]),
                float(-np.log(shares_NC[np.arange(len(right_N)), head.labels_N]).mean()),
            )
        )
    first, second = figures
    return {metric: a - b for metric, a, b in zip(METRICS, first, second, strict=True)}


def coverage(
    setting: tuple[int, tuple[float, float], float, int], draws: int
) -> dict[str, Doubles]:
    """Metric -> (coverage, share of verdicts with the wrong sign, mean width)."""
    patients, signals, correlation, frames = setting
    rng = np.random.default_rng(7)
    truth = true_differences(drawn_pair(rng, 50_000, signals, correlation, frames)[0])
    rows: dict[str, list[tuple[bool, bool, float]]] = {metric: [] for metric in METRICS}
    for draw in range(draws):
        pair, groups_N = drawn_pair(rng, patients, signals, correlation, frames)
        for found in paired_differences({None: pair}, groups_N, seed=draw):
            true = truth[found.metric]
            low, high = found.low or 0.0, found.high or 0.0
            is_wrong = (low > 0 and true <= 0) or (high < 0 and true >= 0)
            rows[found.metric].append((low <= true <= high, is_wrong, high - low))
    return {metric: np.mean(values, axis=0) for metric, values in rows.items()}


def main() -> None:
    """Print the table."""
    parser = argument_parser(__doc__)
    parser.add_argument("--draws", type=int, default=400)
    arguments = parser.parse_args()
    print("| patients per class | signals | correlation | frames | " + " | ".join(METRICS) + " |")
    print("|---|---|---|---|" + "---|" * len(METRICS))
    settings = []
    for setting in SETTINGS:
        figures = {name: row.tolist() for name, row in coverage(setting, arguments.draws).items()}
        cells = [f"{c:.3f}, {wrong:.3f}, {width:.3f}" for c, wrong, width in figures.values()]
        print("| " + " | ".join([*map(str, setting), *cells]) + " |", flush=True)
        found = {
            name: {"coverage": c, "wrong_verdicts": wrong, "mean_width": width}
            for name, (c, wrong, width) in figures.items()
        }
        names = ("patients", "signals", "correlation", "frames")
        settings.append(dict(zip(names, setting, strict=True)) | {"differences": found})
    write_report({"draws": arguments.draws, "settings": settings}, arguments)


if __name__ == "__main__":
    main()

"""How often 95 % intervals hold the truth where each patient has many frames.

Patients differ: the share of the frames of one that are called rightly is drawn from a beta
distribution, or most patients have one share and a few another, much lower one. The area under the
ROC curve is that of scores with an effect of the patient. Prints one row per setting: coverage and
mean width of each interval.

    python benchmarks/clustered_coverage.py [--draws 200] [--json]
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
from harness import argument_parser, write_report
from scipy.special import ndtri

from service.arrays import Doubles
from service.fewshot.heldout import HeldOut
from service.fewshot.metrics import compute_metrics
from service.fewshot.uncertainty.intervals import Estimate

FRAMES = 10
OF_PATIENTS = 0.7  # of the variance of the scores
SHARES: tuple[tuple[float, ...], ...] = (  # mean and concentration, or bad patients and shares
    (0.7, 2),
    (0.9, 0.5),
    (0.9, 2),
    (0.95, 0.5),
    (0.95, 2),
    (0.95, 10),
    (0.15, 0.95, 0.2),
)
PATIENTS = (5, 8, 12, 20)
AREAS = (0.8, 0.9, 0.95)


@dataclass(frozen=True, slots=True)
class ClusterRow:
    """A figure in a setting: how often its interval holds the truth, and how wide it is."""

    figure: str
    patients: int
    setting: tuple[float, ...]
    coverage: float
    width: float


def drawn_shares(rng: np.random.Generator, setting: tuple[float, ...], patients: int) -> Doubles:
    """(G,) the share of the frames of each patient that are called rightly."""
    if len(setting) == 3:
        bad, usual, low = setting
        return np.where(rng.random(patients) < bad, low, usual)
    mean, concentration = setting
    return rng.beta(mean * concentration, (1 - mean) * concentration, patients)


def true_mean(setting: tuple[float, ...]) -> float:
    """The share over very many patients."""
    if len(setting) == 3:
        bad, usual, low = setting
        return (1 - bad) * usual + bad * low
    return setting[0]


def rates(setting: tuple[float, ...], patients: int, draws: int, seed: int = 7) -> list[ClusterRow]:
    """Recall of one of two classes of so many patients each, and balanced accuracy."""
    rng, truth = np.random.default_rng(seed), true_mean(setting)
    labels_N, groups_N = np.repeat([0, 1], patients * FRAMES), np.arange(2 * patients)
    found: dict[str, list[Estimate | None]] = {"recall": [], "balanced accuracy": []}
    for draw in range(draws):
        shares_G = drawn_shares(rng, setting, 2 * patients)
        right_N = rng.random(len(labels_N)) < shares_G.repeat(FRAMES)
        guesses_N = np.where(right_N, labels_N, 1 - labels_N)
        held_out = HeldOut(("a", "b"), np.eye(2)[guesses_N], labels_N, groups_N.repeat(FRAMES))
        metrics = compute_metrics(held_out, seed=draw)
        found["recall"].append(metrics.per_class[0].recall)
        found["balanced accuracy"].append(metrics.balanced_accuracy)
    return [
        ClusterRow(name, patients, setting, *_covered(figures, truth))
        for name, figures in found.items()
    ]


def areas(area: float, patients: int, draws: int, seed: int = 7) -> ClusterRow:
    """The area under the ROC curve of normal scores of two classes of so many patients each."""
    rng, apart = np.random.default_rng(seed), float(ndtri(area)) * np.sqrt(2)
    labels_N = np.repeat([0, 1], patients * FRAMES)
    groups_N = np.arange(2 * patients).repeat(FRAMES)
    found = []
    for draw in range(draws):
        effects_N = np.sqrt(OF_PATIENTS) * rng.normal(size=2 * patients)[groups_N]
        scores_N = effects_N + np.sqrt(1 - OF_PATIENTS) * rng.normal(size=len(labels_N))
        scores_N += apart * (labels_N - 0.5)
        logits_NC = np.stack([-scores_N, scores_N], axis=1)
        metrics = compute_metrics(HeldOut(("a", "b"), logits_NC, labels_N, groups_N), seed=draw)
        found.append(metrics.auroc)
    return ClusterRow("AUROC", patients, (area,), *_covered(found, area))


def _covered(figures: list[Estimate | None], truth: float) -> tuple[float, float]:
    there = [figure for figure in figures if figure is not None]
    inside = [figure.low - 1e-9 <= truth <= figure.high + 1e-9 for figure in there]
    return float(np.mean(inside)), float(np.mean([figure.high - figure.low for figure in there]))


def rows(draws: int) -> Iterator[ClusterRow]:
    """All settings."""
    for patients in PATIENTS:
        for setting in SHARES:
            yield from rates(setting, patients, draws)
        for area in AREAS:
            yield areas(area, patients, draws)


def main() -> None:
    """Print the table, or one JSON object."""
    parser = argument_parser(__doc__)
    parser.add_argument("--draws", type=int, default=200)
    arguments = parser.parse_args()
    print("| figure | patients per class | setting | coverage | width |\n|---|---|---|---|---|")
    found = []
    for row in rows(arguments.draws):
        cells = (row.figure, row.patients, row.setting, f"{row.coverage:.3f}", f"{row.width:.2f}")
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)
        found.append(asdict(row))
    write_report({"draws": arguments.draws, "frames": FRAMES, "rows": found}, arguments)


if __name__ == "__main__":
    main()

"""How often 95 % intervals of accuracy in use hold the truth where few patients have most outcomes.

Each patient is called rightly with a chance of its own, drawn from a beta distribution whose
correlation within patients is given; patients have ten outcomes in the mean, all of one class.
Prints one row per figure, sizes of patients and number of patients, over all accuracies and
correlations: mean coverage, coverage of the worst cell, and mean width.

    python benchmarks/outcome_coverage.py [--draws 100] [--json]
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from typing import Literal, TypeAlias

import numpy as np
from harness import argument_parser, write_report

from service.arrays import Doubles, Ints
from service.fewshot.drift.accuracy_in_use import HeadOutcomes, accuracy_in_use
from service.fewshot.uncertainty.intervals import Estimate

Sizes: TypeAlias = Literal["equal", "log-normal", "one has half", "Zipf"]
SIZES: tuple[Sizes, ...] = ("equal", "log-normal", "one has half", "Zipf")
PATIENTS = (5, 12, 30, 100)
ACCURACIES = (0.5, 0.8, 0.95, 0.98)
CORRELATIONS = (0.0, 0.3, 0.9)
OUTCOMES = 10  # of a patient, in the mean
SIGMA = 1.5  # of the log-normal sizes
CONFIDENCE, SPREAD = 0.85, 0.1  # of all answers, whatever the accuracy is
FIGURES = ("accuracy", "overconfidence", "recall", "balanced accuracy")


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure in a setting; None where no draw had it."""

    figure: str
    sizes: Sizes
    patients: int
    accuracy: float
    correlation: float
    coverage: float | None
    width: float | None


def drawn_sizes(rng: np.random.Generator, sizes: Sizes, patients: int) -> Ints:
    """(G,) outcomes of each patient, one at least."""
    if sizes == "equal":
        weights_G = np.ones(patients)
    elif sizes == "log-normal":
        weights_G = np.exp(SIGMA * rng.normal(size=patients) - SIGMA**2 / 2) / patients
    elif sizes == "one has half":
        weights_G = np.where(np.arange(patients) == 0, patients - 1.0, 1.0)
    else:
        weights_G = 1 / np.arange(1.0, patients + 1)
    total = 1.0 if sizes == "log-normal" else weights_G.sum()
    sizes_G: Ints = np.maximum(1, np.rint(OUTCOMES * patients * weights_G / total)).astype(int)
    return sizes_G


def drawn_chances(
    rng: np.random.Generator, accuracy: float, correlation: float, patients: int
) -> Doubles:
    """(G,) the chance of each patient to be called rightly."""
    if not correlation:
        return np.full(patients, accuracy)
    total = 1 / correlation - 1
    return rng.beta(accuracy * total, (1 - accuracy) * total, patients)


def figures_of_draw(
    rng: np.random.Generator, sizes: Sizes, patients: int, accuracy: float, correlation: float
) -> dict[str, Estimate | None]:
    """The figures of one draw."""
    sizes_G = drawn_sizes(rng, sizes, patients)
    groups_N = np.arange(patients).repeat(sizes_G)
    truth_N = rng.permutation(np.arange(patients) % 2)[groups_N]
    chances_G = drawn_chances(rng, accuracy, correlation, patients)
    right_N = rng.random(len(groups_N)) < chances_G[groups_N]
    guesses_N = np.where(right_N, truth_N, 1 - truth_N)
    confidence_N = CONFIDENCE + SPREAD * rng.uniform(-1, 1, len(groups_N))
    outcomes = HeadOutcomes(truth_N, guesses_N, confidence_N, groups_N >= 0, groups_N)
    used = accuracy_in_use(outcomes, ("a", "b"))
    found = (used.accuracy, used.overconfidence, used.recall["a"], used.balanced_accuracy)
    return dict(zip(FIGURES, found, strict=True))


def cells(
    sizes: Sizes, patients: int, accuracy: float, correlation: float, draws: int
) -> Iterator[Cell]:
    """All figures of a setting."""
    rng = np.random.default_rng(7)
    truths = (accuracy, CONFIDENCE - accuracy, accuracy, accuracy)
    found = [figures_of_draw(rng, sizes, patients, accuracy, correlation) for _ in range(draws)]
    for name, truth in zip(FIGURES, truths, strict=True):
        there = [figure for figures in found if (figure := figures[name]) is not None]
        inside = [figure.low - 1e-9 <= truth <= figure.high + 1e-9 for figure in there]
        coverage = float(np.mean(inside)) if there else None
        width = float(np.mean([figure.high - figure.low for figure in there])) if there else None
        yield Cell(name, sizes, patients, accuracy, correlation, coverage, width)


def summary(found: list[Cell]) -> tuple[float, float, float] | None:
    """Mean coverage, coverage of the worst cell, and mean width."""
    covered = [cell.coverage for cell in found if cell.coverage is not None]
    widths = [cell.width for cell in found if cell.width is not None]
    return (float(np.mean(covered)), min(covered), float(np.mean(widths))) if covered else None


def main() -> None:
    """Print the table, and all cells with ``--json``."""
    parser = argument_parser(__doc__)
    parser.add_argument("--draws", type=int, default=100)
    arguments = parser.parse_args()
    found: list[Cell] = []
    print("| sizes | patients | " + " | ".join(FIGURES) + " |\n|---|---|" + "---|" * len(FIGURES))
    for sizes in SIZES:
        for patients in PATIENTS:
            rows = [
                cell
                for accuracy, correlation in product(ACCURACIES, CORRELATIONS)
                for cell in cells(sizes, patients, accuracy, correlation, arguments.draws)
            ]
            found += rows
            told = [summary([cell for cell in rows if cell.figure == name]) for name in FIGURES]
            texts = ["" if t is None else f"{t[0]:.3f}, {t[1]:.3f} ({t[2]:.2f})" for t in told]
            print(f"| {sizes} | {patients} | " + " | ".join(texts) + " |", flush=True)
        told = [
            summary([cell for cell in found if (cell.figure, cell.sizes) == (name, sizes)])
            for name in FIGURES
        ]
        texts = ["" if t is None else f"{t[0]:.3f}, {t[1]:.3f} ({t[2]:.2f})" for t in told]
        print(f"| {sizes} | all | " + " | ".join(texts) + " |", flush=True)
    report = {"draws": arguments.draws, "cells": [asdict(cell) for cell in found]}
    write_report(report, arguments)


if __name__ == "__main__":
    main()

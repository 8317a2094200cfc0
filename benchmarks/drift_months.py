"""Alarms of a classifier in use over a month of 3,000 answers, in drawn data.

Two classes, a reference of 80 held-out patients of 3 frames each, and the limits of the service.
Prints one row per scenario: alarms of windows in a month, the share of months with one, and the
median answers until the first of those months. Of similarity and margin half of the variance is of
the patient. Similarity is shifted in its own standard deviations.

    python benchmarks/drift_months.py [--references 10] [--months 4] [--json]
"""

from collections.abc import Callable, Mapping
from dataclasses import fields

import numpy as np
from harness import argument_parser, write_report

from service.arrays import Doubles
from service.fewshot.drift.drift_alarms import (
    WINDOWS,
    DriftTest,
    drift_limits,
    false_alarm_share,
    limits_of_mixture,
)
from service.fewshot.drift.drift_reference import (
    FIGURES,
    DriftReference,
    HeldOutUse,
    drift_reference,
)

ANSWERS, DAYS, FRAMES, PATIENTS = 3000, 30, 3, 80
SIMILARITY, SPREAD = 0.8, 0.05
MARGIN = 0.1  # answers below it are abstained from
Rng = np.random.Generator


def drawn(
    rng: Rng,
    patients: int,
    *,
    frames: int = FRAMES,
    rare: float = 0.5,
    shift: float = 0.0,
    contrast: float = 1.0,
) -> HeldOutUse:
    """Answers to patients one after the other; a balanced fit would be calibrated."""
    groups_N = np.arange(patients).repeat(frames)

    def noise() -> Doubles:
        of_patients_N = rng.normal(size=patients)[groups_N]
        values_N: Doubles = np.sqrt(0.5) * (of_patients_N + rng.normal(size=len(groups_N)))
        return values_N

    signs_N = np.where(rng.random(patients) < rare, 1, -1)[groups_N]
    rare_N = 1 / (1 + np.exp(-2 * contrast * (signs_N + noise())))
    sure_N = np.maximum(rare_N, 1 - rare_N)
    similarity_N = SIMILARITY + SPREAD * (noise() + shift)
    classes_N = (rare_N > 0.5).astype(np.int64)
    is_unsure_N = 2 * sure_N - 1 < MARGIN
    return HeldOutUse(similarity_N, 1 - similarity_N, sure_N, is_unsure_N, classes_N, groups_N)


def joined(parts: list[HeldOutUse]) -> HeldOutUse:
    """One after the other."""
    names = [field.name for field in fields(HeldOutUse)]
    return HeldOutUse(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def days(of_day: Callable[[int], HeldOutUse]) -> HeldOutUse:
    """A month whose days differ."""
    return joined([of_day(day) for day in range(DAYS)])


DAILY = ANSWERS // DAYS // FRAMES + 1
SCENARIOS: dict[str, Callable[[Rng], HeldOutUse]] = {
    "as the examples": lambda rng: drawn(rng, ANSWERS // FRAMES),
    "2 % of the rare class": lambda rng: drawn(rng, ANSWERS // FRAMES, rare=0.02),
    "20 % of the rare class": lambda rng: drawn(rng, ANSWERS // FRAMES, rare=0.2),
    "90 % of one class at weekends, else 30 %": lambda rng: days(
        lambda day: drawn(rng, DAILY, rare=0.9 if day % 7 > 4 else 0.3)
    ),
    "10 frames of each patient": lambda rng: drawn(rng, ANSWERS // 10, frames=10),
    "30 frames of each patient": lambda rng: drawn(rng, ANSWERS // 30, frames=30),
    "similarity falls by 1 over the month": lambda rng: days(
        lambda day: drawn(rng, DAILY, shift=-day / (DAYS - 1))
    ),
    "similarity falls by 0.5 on day 15": lambda rng: days(
        lambda day: drawn(rng, DAILY, shift=-0.5 if day >= DAYS / 2 else 0.0)
    ),
    "half the contrast from day 15": lambda rng: days(
        lambda day: drawn(rng, DAILY, contrast=0.5 if day >= DAYS / 2 else 1.0)
    ),
}


def alarms_of(
    reference: DriftReference, limits: Mapping[int, Doubles], use: HeldOutUse
) -> list[int]:
    """The answers after which a window alarmed."""
    figures_NF, found = use.figures(), []
    for window in WINDOWS:
        for start in range(0, ANSWERS - window + 1, window):
            rows = slice(start, start + window)
            strata_N = use.stratum_N[rows]
            counts_C = np.bincount(strata_N, minlength=2)
            sums_CF = np.zeros((2, len(FIGURES)))
            np.add.at(sums_CF, strata_N, figures_NF[rows])
            share = false_alarm_share(window)
            limit_F = limits_of_mixture(limits[window], reference, counts_C, share)
            test = DriftTest(window, reference.deviation(counts_C, sums_CF), limit_F)
            if test.alarms:
                found.append(start + window)
    return found


def main() -> None:
    """Print the table."""
    parser = argument_parser(__doc__)
    parser.add_argument("--references", type=int, default=10)
    parser.add_argument("--months", type=int, default=4, help="of each reference")
    arguments = parser.parse_args()
    found: dict[str, list[list[int]]] = {name: [] for name in SCENARIOS}
    for seed in range(arguments.references):
        rng = np.random.default_rng(seed)
        reference = drift_reference(drawn(rng, PATIENTS), 2)
        limits = {
            window: drift_limits(reference, window, false_alarm_share(window)) for window in WINDOWS
        }
        for name, month in SCENARIOS.items():
            for _ in range(arguments.months):
                found[name].append(alarms_of(reference, limits, month(rng)))
    print("| a month | alarms | months with one | median answers until the first |")
    print("|---|---|---|---|")
    rows = []
    for name, months in found.items():
        firsts = [min(alarms) for alarms in months if alarms]
        row = {
            "scenario": name,
            "alarms": float(np.mean([len(alarms) for alarms in months])),
            "months_with_one": len(firsts) / len(months),
            "answers_until_first": float(np.median(firsts)) if firsts else None,
        }
        print("| " + " | ".join(map(str, row.values())) + " |")
        rows.append(row)
    write_report({"answers": ANSWERS, "months": len(months), "rows": rows}, arguments)


if __name__ == "__main__":
    main()

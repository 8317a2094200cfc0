"""How calibrated the probabilities of a fit are on fresh rows, and what another temperature gives.

Classes around drawn centres, one patient per row; a share of the labels is random. ``best`` is the
temperature that the fresh rows themselves would choose. Prints one row per setting.

    python benchmarks/large_calibration.py [--seeds 1] [--json]
"""

from dataclasses import asdict, dataclass

import numpy as np
from harness import argument_parser, write_report

from service.arrays import Floats, Ints
from service.fewshot.calibrator import fit_calibrator, fit_temperature, reliability
from service.fewshot.fit import fit
from service.fewshot.head import softmax

FRESH = 20_000
CLASSES, WIDTH = 4, 256
SETTINGS = (  # examples, distance of the centres, share of random labels
    (400, 0.3, 0.0),
    (400, 0.3, 0.3),
    (20_000, 0.1, 0.0),
    (20_000, 0.2, 0.0),
    (20_000, 0.1, 0.3),
    (20_000, 0.3, 0.3),
)


@dataclass(frozen=True, slots=True)
class CalibrationRow:
    """Figures on fresh rows, whose labels are as random as those of the examples."""

    examples: int
    distance: float
    random_labels: float
    accuracy: float
    confidence: float
    temperature: float
    ece: float
    best_temperature: float
    best_ece: float


def measured(examples: int, distance: float, random_labels: float, seed: int) -> CalibrationRow:
    """One fit."""
    rng = np.random.default_rng(seed)
    centres_CD = distance * rng.normal(size=(CLASSES, WIDTH)) / np.sqrt(WIDTH)

    def drawn(count: int) -> tuple[Floats, Ints]:
        truth_N = rng.integers(0, CLASSES, count)
        rows_ND = centres_CD[truth_N] + rng.normal(size=(count, WIDTH)) / np.sqrt(WIDTH)
        said_N = np.where(
            rng.random(count) < random_labels, rng.integers(0, CLASSES, count), truth_N
        )
        return rows_ND.astype(np.float32), said_N

    rows_ND, said_N = drawn(examples)
    names = [str(row) for row in range(examples)]
    fitted = fit(rows_ND, [f"c{label}" for label in said_N], names, encoder_id="drawn")
    temperature = fit_calibrator(fitted.scores.chosen).calibration.temperature
    fresh_ND, truth_N = drawn(FRESH)
    logits_NC, ones_N = fitted.head.logits(fresh_ND), np.ones(FRESH)
    best = fit_temperature(logits_NC, truth_N, ones_N)
    served_NC = softmax(logits_NC / temperature)
    return CalibrationRow(
        examples,
        distance,
        random_labels,
        accuracy=float((served_NC.argmax(1) == truth_N).mean()),
        confidence=float(served_NC.max(1).mean()),
        temperature=temperature,
        ece=reliability(served_NC, truth_N, ones_N).ece,
        best_temperature=best,
        best_ece=reliability(softmax(logits_NC / best), truth_N, ones_N).ece,
    )


def main() -> None:
    """Print the table, or one JSON object."""
    parser = argument_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    rows = [measured(*s, seed) for s in SETTINGS for seed in range(arguments.seeds)]
    names = list(CalibrationRow.__slots__)
    print("| " + " | ".join(names) + " |\n" + "|---" * len(names) + "|")
    for row in rows:
        print("| " + " | ".join(f"{value:.4g}" for value in asdict(row).values()) + " |")
    write_report({"fresh": FRESH, "rows": [asdict(row) for row in rows]}, arguments)


if __name__ == "__main__":
    main()

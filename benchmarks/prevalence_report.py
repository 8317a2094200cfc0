"""What a version says where one class is rarer in use than its examples are.

Drawn data: a classifier of two classes is fitted by the service to as many patients of each, one
frame each, and asked about patients of whom few have the second class. Three ways to answer:
*as told* by a balanced fit, *by the prevalence* (each probability times the share of its class in
use, divided by their sum), and by a fit whose ``class_weights`` are the shares in use. Prints one
row per setting and way, of the mean over draws.

    python benchmarks/prevalence_report.py [--draws 8] [--share 0.02] [--json]
"""

import numpy as np
from harness import argument_parser, write_report

from service.arrays import Bools, Doubles, Ints, unit_rows
from service.fewshot.calibrator import expected_calibration_error, fit_calibrator
from service.fewshot.fit import fit

WIDTH, ASKED = 64, 2500
CLASSES = ("common", "rare")
SETTINGS = ((10, 2.5), (10, 4.0), (40, 2.5), (40, 4.0))  # patients of each class, signal
SURE = 0.8


WAYS = ("as told", "by the prevalence", "class_weights")
FIGURES = ("called", "right", "right where sure", "sensitivity", "ece", "log loss", "in sets")


def drawn(rng: np.random.Generator, labels_N: Ints, direction_D: Doubles, signal: float) -> Doubles:
    """(N, D) unit rows of two classes that are so many standard deviations apart."""
    rows_ND = rng.normal(size=(len(labels_N), WIDTH)) + 2
    rows_ND += signal * (labels_N[:, None] - 0.5) * direction_D
    return unit_rows(rows_ND)


def figures(probabilities_NC: Doubles, labels_N: Ints, members_NC: Bools | None) -> list[float]:
    """In the order of ``FIGURES``; NaN where nothing was called so."""
    rare_N, is_rare_N = probabilities_NC[:, 1], labels_N == 1
    called_N = rare_N >= 0.5
    rows_N = np.arange(len(labels_N))
    true_N = np.maximum(probabilities_NC[rows_N, labels_N], 1e-12)
    shares_N = np.full(len(labels_N), 1 / len(labels_N))
    right, sure = (
        float(is_rare_N[chosen_N].mean()) if chosen_N.any() else np.nan
        for chosen_N in (called_N, rare_N >= SURE)
    )
    return [
        float(called_N.mean()),
        right,
        sure,
        float(called_N[is_rare_N].mean()),
        expected_calibration_error(probabilities_NC, labels_N, shares_N),
        float(-np.log(true_N).mean()),
        np.nan if members_NC is None else float(members_NC[rows_N, labels_N].mean()),
    ]


def draw(seed: int, patients: int, signal: float, share: float) -> dict[str, list[float]]:
    """Way -> figures of one fit."""
    rng = np.random.default_rng(seed)
    direction_D = rng.normal(size=WIDTH)
    direction_D /= np.linalg.norm(direction_D)
    taught_N, asked_N = np.repeat([0, 1], patients), np.arange(ASKED) < share * ASKED
    labels_N = asked_N.astype(np.int64)
    rows_ND, asked_ND = (drawn(rng, of_N, direction_D, signal) for of_N in (taught_N, labels_N))
    names, groups = [CLASSES[c] for c in taught_N], [str(row) for row in range(2 * patients)]
    in_use_C = np.array([1 - share, share])
    weights = dict(zip(CLASSES, in_use_C.tolist(), strict=True))
    found = {}
    for way, class_weights in ((WAYS[0], None), (WAYS[2], weights)):
        made = fit(rows_ND, names, groups, encoder_id="e", weights=class_weights)
        calibrator = fit_calibrator(made.scores.chosen)
        told_NC = calibrator.calibration.probabilities(made.head.logits(asked_ND))
        members_NC = calibrator.conformal.sets(told_NC, 0.9).members_NC
        found[way] = figures(told_NC, labels_N, members_NC)
        if way == WAYS[0]:
            weighted_NC = told_NC * in_use_C
            shifted_NC = weighted_NC / weighted_NC.sum(1, keepdims=True)
            found[WAYS[1]] = figures(shifted_NC, labels_N, members_NC)
    return found


def main() -> None:
    """Print the table."""
    parser = argument_parser(__doc__)
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--share", type=float, default=0.02, help="of the rare class in use")
    arguments = parser.parse_args()
    print("| patients of each | signal | way | " + " | ".join(FIGURES) + " |")
    print("|---|---|---|" + "---|" * len(FIGURES))
    rows = []
    for patients, signal in SETTINGS:
        draws = [draw(seed, patients, signal, arguments.share) for seed in range(arguments.draws)]
        for way in WAYS:
            table_BF = np.array([found[way] for found in draws])
            # A draw in which nothing is called rare has no share of right calls.
            means = [
                float(column_B[np.isfinite(column_B)].mean())
                if np.isfinite(column_B).any()
                else None
                for column_B in table_BF.T
            ]
            cells = ["" if mean is None else f"{mean:.3f}" for mean in means]
            print(f"| {patients} | {signal} | {way} | " + " | ".join(cells) + " |", flush=True)
            told = dict(zip(FIGURES, means, strict=True))
            rows.append({"patients": patients, "signal": signal, "way": way} | told)
    write_report({"draws": arguments.draws, "share": arguments.share, "rows": rows}, arguments)


if __name__ == "__main__":
    main()

"""What unlabelled scans add to a few labelled frames, measured inductively on real frames.

The groups without a labelled frame are split in two: half of them are the unlabelled scans, the
other half is tested (of a set with a fixed support, its unlabelled rest and its tested part). Each
seed is one draw of labelled frames and of halves. Frames and cache as in ``fewshot_report.py``.
Gains have the 95 % interval over draws; the rows ``mean`` are of all sets.

Shape suffixes: N labelled frames, U unlabelled frames, Q tested frames, C classes, D width.
"""

from collections import defaultdict
from pathlib import Path

import numpy as np
from fewshot_data import Data, Doubles, Ints, Row, accuracy_percent, class_numbers, read, splits
from fewshot_report import table
from fewshot_studies import SHOTS, Draws, gains, with_means
from fit_promises import promises
from harness import argument_parser, write_report
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from service.arrays import unit_rows
from service.embedding.bundle import SHIPPED_BUNDLE
from service.fewshot.fit import Fit, fit
from service.fewshot.head import softmax
from service.fewshot.semi_supervision.propagation import centred
from service.fewshot.semi_supervision.semi_supervised import (
    NumberedScans,
    Propagation,
    UnlabelledScans,
)
from service.fewshot.solver import LogisticProblem
from training.evaluation.encoders import bundle_encoders
from training.evaluation.protocol import LabelledSet, Split
from training.evaluation.served import WAYS

C = 10.0


def main() -> None:
    """Measure, print and write."""
    parser = argument_parser(__doc__, with_out=True)
    parser.add_argument("--bundle", type=Path, default=SHIPPED_BUNDLE)
    parser.add_argument("--way", choices=WAYS, default="whole", help="frames, or what is served")
    parser.add_argument("--cache", type=Path, default=Path("runs/features"))
    parser.add_argument("--frames", type=int, default=2000, help="of each set, about, at most")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--sets", nargs="*", default=[])
    arguments = parser.parse_args()
    encoder = bundle_encoders(arguments.bundle)[0]
    data = read(encoder, arguments.sets, arguments.frames, arguments.cache, arguments.way)
    with threadpool_limits(1):
        tables = {"unlabelled": measure(data, arguments.seeds)}
    table("unlabelled", tables["unlabelled"])
    write_report(tables, arguments)


def measure(data: Data, seeds: int) -> list[Row]:
    """Per set and shots: balanced accuracy without, and the gain of each way to use the scans."""
    values_of: Draws = defaultdict(list)
    for shots in SHOTS:
        for name, split, labelled, rows_ND in splits(data, shots, seeds):
            draws = values_of[name, shots]
            draws.append(_one(labelled, unit_rows(rows_ND), split, len(draws)))
    return [{**key, **_summary(by_set)} for key, by_set in with_means(values_of)]


def pool_and_test(labelled: LabelledSet, split: Split, seed: int) -> tuple[Ints, Ints]:
    """Rows of the unlabelled and of the tested frames, of different groups."""
    if labelled.has_own_split:
        return np.setdiff1d(np.flatnonzero(labelled.support_N), split.train), split.test
    groups = np.unique(labelled.groups_N[split.test])
    half = np.random.default_rng((seed, 7)).permutation(groups)[: len(groups) // 2]
    is_pool_Q = np.isin(labelled.groups_N[split.test], half)
    return split.test[is_pool_Q], split.test[~is_pool_Q]


def _one(labelled: LabelledSet, unit_ND: Doubles, split: Split, seed: int) -> dict[str, float]:
    pool, test = pool_and_test(labelled, split, seed)
    truth_N = class_numbers(labelled)
    labels, groups = (
        labelled.labels_N[split.train].tolist(),
        labelled.groups_N[split.train].tolist(),
    )
    scans = UnlabelledScans(unit_ND[pool], labelled.groups_N[pool].tolist())
    plain = fit(unit_ND[split.train], labels, groups, encoder_id="report")
    served = fit(unit_ND[split.train], labels, groups, encoder_id="report", unlabelled=scans)
    problem = LogisticProblem(unit_ND[split.train], truth_N[split.train], len(labelled.classes))
    numbers = np.unique(groups, return_inverse=True)[1]
    always = Propagation(problem, numbers, NumberedScans.of(scans, groups), C).fitted()[0]
    mean_D = unit_ND[pool].mean(0)
    moved = LogisticProblem(
        centred(problem.rows_NR, mean_D).astype(np.float64), problem.labels_N, problem.classes
    )
    central = moved.solve(np.arange(moved.size), C)
    tuned = transductive(problem, unit_ND[pool])

    def score(head: tuple[Doubles, Doubles], rows_QD: Doubles) -> float:
        return accuracy_percent(truth_N[test], (rows_QD @ head[0].T + head[1]).argmax(1))

    values = {
        "without": accuracy_percent(truth_N[test], plain.head.logits(unit_ND[test]).argmax(1)),
        "served": accuracy_percent(truth_N[test], served.head.logits(unit_ND[test]).argmax(1)),
        "always": score(always, unit_ND[test]),
        "centred": score(central, centred(unit_ND[test], mean_D).astype(np.float64)),
        "transductive": score(tuned, unit_ND[test]),
        "used": float(served.report.unlabelled is not None and served.report.unlabelled.used),
    }
    held = (labelled, unit_ND, test)
    return values | _promises("", plain, *held) | _promises("_served", served, *held)


def _promises(
    suffix: str, head_fit: Fit, labelled: LabelledSet, unit_ND: Doubles, test: Ints
) -> dict[str, float]:
    """Calibration and coverage on tested frames; and whether the interval holds the accuracy."""
    truth_Q = class_numbers(labelled)[test]
    logits_QC = head_fit.head.logits(unit_ND[test])
    values = promises(suffix, head_fit, labelled, logits_QC, test)
    interval = head_fit.report.interval_95
    if interval is not None:
        truly = accuracy_percent(truth_Q, logits_QC.argmax(1)) / 100
        values[f"inside{suffix}"] = float(interval[0] <= truly <= interval[1])
        values[f"optimism{suffix}"] = 100 * (head_fit.report.balanced_accuracy or 0) - 100 * truly
    return values


def transductive(problem: LogisticProblem, pool_UD: Doubles) -> tuple[Doubles, Doubles]:
    """Fine-tune the head with the entropy of its answers on the scans, weighted as the labels.

    Dhillon et al. 2020, "A baseline for few-shot image classification", on a linear head.
    """
    every = np.arange(problem.size)
    weights_CD, bias_C = problem.solve(every, C)
    share_N, truth_NC = problem.shares(every), np.eye(problem.classes)[problem.labels_N]
    weight = share_N.sum() / len(pool_UD)

    def loss(flat: Doubles) -> tuple[float, Doubles]:
        table_CW = flat.reshape(problem.classes, -1)
        chances_NC = softmax(problem.rows_NR @ table_CW[:, :-1].T + table_CW[:, -1])
        chances_UC = softmax(pool_UD @ table_CW[:, :-1].T + table_CW[:, -1])
        logs_UC = np.log(np.maximum(chances_UC, 1e-12))
        entropy_U = -(chances_UC * logs_UC).sum(1)
        value = -(share_N * np.log(np.maximum(chances_NC[truth_NC > 0], 1e-12))).sum()
        value += weight * entropy_U.sum() + (table_CW[:, :-1] ** 2).sum() / (2 * C)
        error_NC = share_N[:, None] * (chances_NC - truth_NC)
        slope_UC = -weight * chances_UC * (logs_UC + entropy_U[:, None])
        gradient_CW = np.zeros_like(table_CW)
        gradient_CW[:, :-1] = error_NC.T @ problem.rows_NR + slope_UC.T @ pool_UD
        gradient_CW[:, :-1] += table_CW[:, :-1] / C
        gradient_CW[:, -1] = error_NC.sum(0) + slope_UC.sum(0)
        return float(value), gradient_CW.ravel()

    start_CW = np.concatenate([weights_CD, bias_C[:, None]], 1)
    options = {"maxiter": 50}
    found = minimize(loss, start_CW.ravel(), jac=True, method="L-BFGS-B", options=options)
    table_CW = found.x.reshape(problem.classes, -1)
    return table_CW[:, :-1], table_CW[:, -1]


def _summary(by_set: list[list[dict[str, float]]]) -> Row:
    row = gains(by_set, "without", ("served", "always", "centred", "transductive"))
    draws = [draw for of_set in by_set for draw in of_set]
    row["used"] = round(float(np.mean([draw["used"] for draw in draws])), 2)
    for name in ("ece", "coverage", "inside", "optimism"):
        for suffix in ("", "_served"):
            known = [draw[name + suffix] for draw in draws if name + suffix in draw]
            if known:
                row[name + suffix] = round(float(np.mean(known)), 3)
    return row


if __name__ == "__main__":
    main()

"""What few labelled frames give, measured on real frames, and which defaults follow.

Support and test never share a group. Needs the labelled frames of the folder that
SONOPROBE_SHARED names (else ``../shared``); embeddings come from the shipped bundle or from a
cache of ``python -m training evaluate`` (--cache).

Shape suffixes: N frames, M frames of the support, Q tested frames, C classes, D embedding width.
"""

import argparse
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

from service.errors import NotEnoughExamples
from service.fewshot.calibrate import reliability
from service.fewshot.conformal import conformal
from service.fewshot.fit import Fit, fit, fit_head
from service.fewshot.heldout import HeldOut, softmax
from service.fewshot.novelty import novelty
from service.fewshot.solve import Problem
from service.fewshot.trust import margins, trust
from training.data import read_manifest
from training.evaluation.cache import features
from training.evaluation.encoders import BundleEncoder, bundle_encoders, embed
from training.evaluation.protocol import LabelledSet, Split, shot_split
from training.evaluation.sets import read_sets, thinned

Doubles: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Row: TypeAlias = dict[str, object]
Data: TypeAlias = dict[str, tuple[LabelledSet, Doubles]]

BUNDLE = Path(__file__).parents[1] / "service" / "bundle"
SHOTS = (1, 5, 10, 20)
PICTURES, FRAMES_PER_CLASS = 40, 20  # of each kind; of random against grouped cross-validation


def main() -> None:
    """Measure, print tables, and write plots."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object as last line")
    parser.add_argument("--out", type=Path, help="folder for PNG plots")
    parser.add_argument("--cache", type=Path, default=Path("cache"), help="folder of features")
    parser.add_argument("--frames", type=int, default=400, help="of each set, at most")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--sets", nargs="*", default=[])
    given = parser.parse_args()
    encoder = bundle_encoders(BUNDLE)[0]
    data = read(encoder, given.sets, given.frames, given.cache)
    strangers = embed(encoder, pictures(PICTURES)).astype(np.float64)
    found: dict[str, list[Row]] = {}
    for name, study in STUDIES.items():
        found[name] = study(data, given.seeds)
        table(name, found[name])
    found["novelty"] = outliers(data, strangers, given.seeds)
    table("novelty", found["novelty"])
    if given.out:
        plot(found, given.out)
    if given.json:
        print(json.dumps(found))


def read(encoder: BundleEncoder, names: list[str], frames: int, cache: Path) -> Data:
    """Labels and embeddings of every set."""
    beside = Path(__file__).parents[2] / "shared"
    shared = Path(os.environ.get("SONOPROBE_SHARED") or beside)
    rows = read_manifest(shared / "data" / "manifest.csv")
    sets = [thinned(chosen, frames) for chosen in read_sets(rows, names)]
    return {s.name: (s.labelled, features(encoder, s.rows, cache).astype(np.float64)) for s in sets}


def pictures(count: int) -> list[npt.NDArray[np.uint8]]:
    """Noise, smooth gradients and pages of text-like blocks, ``count`` of each, 256 px."""
    rng = np.random.default_rng(0)
    side = 256
    across = np.linspace(0, 1, side)
    found = [rng.integers(0, 256, (side, side)) for _ in range(count)]
    for _ in range(count):
        slope, other = rng.normal(size=2)
        plane = slope * across[:, None] + other * across
        found.append(255 * (plane - plane.min()) / np.ptp(plane))
    for _ in range(count):
        page = np.full((side, side), 245)
        for top in range(12, side - 12, 14):
            for left in range(12, int(rng.integers(side // 2, side - 12)), 7):
                page[top : top + int(rng.integers(4, 9)), left : left + int(rng.integers(2, 6))] = (
                    20
                )
        found.append(page)
    return [np.asarray(picture).astype(np.uint8) for picture in found]


def splits(data: Data, shots: int, seeds: int) -> Iterator[tuple[str, Split, LabelledSet, Doubles]]:
    """Every set and seed that has groups enough for so many shots."""
    for name, (labelled, rows_ND) in data.items():
        for seed in range(seeds):
            try:
                yield name, shot_split(labelled, shots, seed), labelled, rows_ND
            except NotEnoughExamples:
                break


def numbers(labelled: LabelledSet) -> Ints:
    """Class number of every frame."""
    return np.searchsorted(labelled.classes, labelled.labels_N)


def balanced(truth_Q: Ints, right_Q: npt.NDArray[np.floating] | npt.NDArray[np.bool_]) -> float:
    """Mean over classes of the mean of each."""
    return float(np.mean([right_Q[truth_Q == c].mean() for c in np.unique(truth_Q)]))


def fitted(labelled: LabelledSet, rows_ND: Doubles, train: Ints) -> Fit:
    """The service's head on some frames."""
    labels, groups = labelled.labels_N[train].tolist(), labelled.groups_N[train].tolist()
    return fit(rows_ND[train], labels, groups, encoder_id="report")


def logistic(c: float) -> Callable[[Doubles, Ints, Doubles], Doubles]:
    """Class-balanced logistic regression at a fixed C: support, labels, tested rows -> scores."""

    def scores(rows_MD: Doubles, labels_M: Ints, tested_QD: Doubles) -> Doubles:
        axes_RD = np.linalg.svd(rows_MD, full_matrices=False)[2]
        problem = Problem(rows_MD @ axes_RD.T, labels_M, int(labels_M.max()) + 1)
        weights_CR, bias_C = problem.solve(np.arange(len(labels_M)), c)
        return tested_QD @ axes_RD.T @ weights_CR.T + bias_C

    return scores


def nearest_mean(rows_MD: Doubles, labels_M: Ints, tested_QD: Doubles) -> Doubles:
    """Cosine with the mean of each class."""
    means_CD = np.stack([rows_MD[labels_M == c].mean(0) for c in range(labels_M.max() + 1)])
    return tested_QD @ (means_CD / np.linalg.norm(means_CD, axis=1, keepdims=True)).T


def ridge(penalty: float) -> Callable[[Doubles, Ints, Doubles], Doubles]:
    """Least squares to one-hot targets, closed form, rows centred on the support."""

    def scores(rows_MD: Doubles, labels_M: Ints, tested_QD: Doubles) -> Doubles:
        mean_D = rows_MD.mean(0)
        centred_MD, truth_MC = rows_MD - mean_D, np.eye(labels_M.max() + 1)[labels_M]
        gram_MM = centred_MD @ centred_MD.T + penalty * np.eye(len(labels_M))
        return (tested_QD - mean_D) @ centred_MD.T @ np.linalg.solve(gram_MM, truth_MC)

    return scores


HEADS: dict[str, Callable[[Doubles, Ints, Doubles], Doubles]] = {
    "logistic C=1": logistic(1.0),
    "logistic C=10": logistic(10.0),
    "logistic C=100": logistic(100.0),
    "nearest class mean": nearest_mean,
    "ridge 0.1": ridge(0.1),
    "ridge 1": ridge(1.0),
}


def heads(data: Data, seeds: int) -> list[Row]:
    """Balanced accuracy per head and shots, mean and scatter over seeds and sets, percent."""
    scores: dict[tuple[str, int], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for shots in SHOTS:
        for name, split, labelled, rows_ND in splits(data, shots, seeds):
            truth_N = numbers(labelled)
            train, test = split.train, split.test
            names, groups = labelled.labels_N[train].tolist(), labelled.groups_N[train].tolist()
            served = fit_head(rows_ND[train], names, groups, encoder_id="report")
            by_head = {
                head: make(rows_ND[train], truth_N[train], rows_ND[test])
                for head, make in HEADS.items()
            } | {"served: C by grouped CV": served.logits(rows_ND[test])}
            for head, logits_QC in by_head.items():
                score = 100 * balanced(truth_N[test], logits_QC.argmax(1) == truth_N[test])
                scores[head, shots][name].append(score)
    return [
        {
            "head": head,
            "shots": shots,
            "mean": round(float(np.mean([np.mean(s) for s in by_set.values()])), 2),
            "sd_over_seeds": round(float(np.mean([np.std(s) for s in by_set.values()])), 2),
            **{name: round(float(np.mean(s)), 1) for name, s in by_set.items()},
        }
        for (head, shots), by_set in scores.items()
    ]


def tested(
    made: Fit, labelled: LabelledSet, rows_ND: Doubles, test: Ints
) -> tuple[Doubles, HeldOut, Doubles]:
    """Logits of frames that were not fitted, with their labels and balanced weights."""
    logits_QC = made.head.logits(rows_ND[test])
    groups_Q = np.unique(labelled.groups_N[test], return_inverse=True)[1]
    held = HeldOut(labelled.classes, logits_QC, numbers(labelled)[test], groups_Q)
    return logits_QC, held, held.balanced_shares()


def calibration(data: Data, seeds: int) -> list[Row]:
    """ECE, Brier score and log loss on tested frames, before and after the temperature."""
    found: dict[tuple[str, int], list[list[float]]] = defaultdict(list)
    for shots in SHOTS[1:]:
        for name, split, labelled, rows_ND in splits(data, shots, seeds):
            made = fitted(labelled, rows_ND, split.train)
            temperature = trust(made, rows_ND[split.train]).calibration
            logits_QC, held, shares_Q = tested(made, labelled, rows_ND, split.test)
            figures = [
                reliability(given_QC, held.labels_N, shares_Q)
                for given_QC in (softmax(logits_QC), temperature.probabilities(logits_QC))
            ]
            values = [v for r in figures for v in (r.ece, r.brier, r.log_loss)]
            found[name, shots].append([*values, temperature.temperature])
    columns = ("ece", "brier", "log_loss", "ece_after", "brier_after", "log_loss_after", "t")
    return [
        {"set": name, "shots": shots, **_means(columns, rows)}
        for (name, shots), rows in found.items()
    ]


def coverage(data: Data, seeds: int) -> list[Row]:
    """Share of tested frames whose set holds their class (classes equal), and set sizes."""
    found: dict[tuple[str, int, str, float], list[list[float]]] = defaultdict(list)
    for shots in SHOTS[1:]:
        for name, split, labelled, rows_ND in splits(data, shots, seeds):
            made = fitted(labelled, rows_ND, split.train)
            trusted = trust(made, rows_ND[split.train])
            inside = trusted.calibration.probabilities(made.for_calibration.logits_NC)
            given_QC = trusted.probabilities(made.head, rows_ND[split.test])
            truth_Q = numbers(labelled)[split.test]
            for method in ("lac", "aps"):
                scores = conformal(made.for_calibration, inside, method=method)
                for nominal in (0.8, 0.9):
                    sets = scores.sets(given_QC, nominal)
                    if sets.members_NC is not None:
                        hit_Q = sets.members_NC[np.arange(len(truth_Q)), truth_Q]
                        size = float(sets.members_NC.sum(1).mean())
                        key = (name, shots, method, nominal)
                        found[key].append([balanced(truth_Q, hit_Q), size])
    return [
        {
            "set": name,
            "shots": shots,
            "method": method,
            "nominal": nominal,
            **_means(("coverage", "set_size"), rows),
        }
        for (name, shots, method, nominal), rows in found.items()
    ]


def outliers(data: Data, strangers: Doubles, seeds: int) -> list[Row]:
    """AUROC of the distance: tested frames against other organs and against other pictures."""
    found: dict[tuple[str, int, str], list[list[float]]] = defaultdict(list)
    for shots in SHOTS[1:]:
        for name, split, labelled, rows_ND in splits(data, shots, seeds):
            others = np.concatenate([rows for other, (_, rows) in data.items() if other != name])
            groups_M = np.unique(labelled.groups_N[split.train], return_inverse=True)[1]
            for method in ("nearest", "class_mean"):
                made = novelty(
                    rows_ND[split.train], numbers(labelled)[split.train], groups_M, method=method
                )
                own, organ, picture = (
                    made.distances(rows) for rows in (rows_ND[split.test], others, strangers)
                )
                aurocs = [_auroc(own, out) for out in (organ, picture)]
                flagged = [float(made.far(rows).mean()) for rows in (own, organ, picture)]
                found[name, shots, method].append([*aurocs, *flagged])
    columns = ("auroc_organ", "auroc_picture", "far_own", "far_organ", "far_picture")
    return [
        {"set": name, "shots": shots, "method": method, **_means(columns, rows)}
        for (name, shots, method), rows in found.items()
    ]


def _auroc(inside: Doubles, outside: Doubles) -> float:
    truth = np.repeat([0, 1], [len(inside), len(outside)])
    return float(roc_auc_score(truth, np.concatenate([inside, outside])))


def abstention(data: Data, seeds: int) -> list[Row]:
    """Accuracy of what is answered against the share answered, by margin, and at the default."""
    found: dict[tuple[str, int, str], list[list[float]]] = defaultdict(list)
    for shots in (10, 20):
        for name, split, labelled, rows_ND in splits(data, shots, seeds):
            made = fitted(labelled, rows_ND, split.train)
            trusted = trust(made, rows_ND[split.train])
            given_QC = trusted.probabilities(made.head, rows_ND[split.test])
            right_Q = given_QC.argmax(1) == numbers(labelled)[split.test]
            margin_Q = margins(given_QC)
            for share in (1.0, 0.8, 0.6, 0.4, 0.2):
                kept_Q = margin_Q >= np.quantile(margin_Q, 1 - share)
                found[name, shots, f"{share:.0%}"].append([kept_Q.mean(), right_Q[kept_Q].mean()])
            kept_Q = margin_Q >= trusted.least_margin
            if kept_Q.any():
                found[name, shots, "default"].append([kept_Q.mean(), right_Q[kept_Q].mean()])
    return [
        {"set": name, "shots": shots, "rule": rule, **_means(("answered", "accuracy"), rows)}
        for (name, shots, rule), rows in found.items()
    ]


def optimism(data: Data, seeds: int) -> list[Row]:
    """Random and grouped cross-validation of the same fits, and what strangers' frames give.

    The support is whole groups until each class has 20 frames, as someone uploads cines.
    """
    found: dict[str, list[list[float]]] = defaultdict(list)
    for name, (labelled, rows_ND) in data.items():
        for seed in range(seeds):
            train, test = _whole_groups(labelled, seed)
            truth_N = numbers(labelled)
            if len(np.unique(truth_N[test])) < len(labelled.classes):
                continue
            labels = labelled.labels_N[train].tolist()
            grouped = fitted(labelled, rows_ND, train)
            own = [str(row) for row in train]
            randomly = fit(rows_ND[train], labels, own, encoder_id="report").report
            if grouped.report.balanced_accuracy is None or randomly.balanced_accuracy is None:
                continue
            guesses_Q = grouped.head.logits(rows_ND[test]).argmax(1)
            strangers = balanced(truth_N[test], guesses_Q == truth_N[test])
            found[name].append(
                [randomly.balanced_accuracy, grouped.report.balanced_accuracy, strangers]
            )
    columns = ("random_cv", "grouped_cv", "other_groups")
    return [{"set": name, "fits": len(r), **_means(columns, r)} for name, r in found.items()]


def _whole_groups(labelled: LabelledSet, seed: int) -> tuple[Ints, Ints]:
    rng = np.random.default_rng(seed)
    taught: set[str] = set()
    train: list[int] = []
    for name in labelled.classes:
        of_class_N = labelled.labels_N == name
        count = 0
        for group in rng.permutation(np.unique(labelled.groups_N[of_class_N])).tolist():
            if count < FRAMES_PER_CLASS and group not in taught:
                rows = np.flatnonzero(of_class_N & (labelled.groups_N == group))
                rows = rng.permutation(rows)[: FRAMES_PER_CLASS - count]
                taught.add(group)
                train += rows.tolist()
                count += len(rows)
    return np.array(train), np.flatnonzero(~np.isin(labelled.groups_N, list(taught)))


def _means(columns: tuple[str, ...], rows: list[list[float]]) -> Row:
    means = np.mean(rows, axis=0)
    return {name: round(float(value), 4) for name, value in zip(columns, means, strict=True)}


def table(name: str, rows: list[Row]) -> None:
    """Print rows of equal keys."""
    print(f"\n{name}", flush=True)
    keys = list(dict.fromkeys(key for row in rows for key in row))
    print("  ".join(f"{key:>14}" for key in keys))
    for row in rows:
        print("  ".join(f"{row.get(key, '')!s:>14.24}" for key in keys))


def plot(found: dict[str, list[Row]], folder: Path) -> None:
    """PNG files: heads by shots, coverage by shots, accuracy by share answered."""
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    axes = {
        "heads": ("shots", "mean", ("head",)),
        "conformal": ("shots", "coverage", ("set", "method", "nominal")),
        "abstention": ("answered", "accuracy", ("set", "shots")),
    }
    for name, (x, y, keys) in axes.items():
        figure = Figure(figsize=(7, 5), layout="constrained")
        panel = figure.subplots()
        lines: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for row in found[name]:
            label = " ".join(str(row[key]) for key in keys)
            lines[label].append((float(str(row[x])), float(str(row[y]))))
        for label, points in lines.items():
            panel.plot(*zip(*sorted(points), strict=True), marker="o", label=label)
        panel.set_xlabel(x)
        panel.set_ylabel(y)
        panel.legend(fontsize="x-small")
        figure.savefig(folder / f"{name}.png", dpi=120)


STUDIES: dict[str, Callable[[Data, int], list[Row]]] = {
    "heads": heads,
    "calibration": calibration,
    "conformal": coverage,
    "abstention": abstention,
    "random_against_grouped": optimism,
}

if __name__ == "__main__":
    main()

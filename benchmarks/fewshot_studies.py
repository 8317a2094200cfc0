"""The studies of the few-shot report: labelled embeddings in, rows of a table out.

Shape suffixes: N frames, Q tested frames, C classes, D embedding width, P pairs.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import TypeAlias

import numpy as np
from fewshot_data import (
    Data,
    Doubles,
    Ints,
    Row,
    accuracy_percent,
    class_numbers,
    splits,
    whole_groups,
)
from fewshot_heads import HEADS, REFERENCE
from sklearn.metrics import roc_auc_score

from service.arrays import unit_rows
from service.fewshot.calibrator import Calibrator, fit_calibrator, margins, reliability
from service.fewshot.conformal import conformal
from service.fewshot.duplicates import near_duplicate_groups
from service.fewshot.fit import Fit, fit, fit_head
from service.fewshot.head import softmax
from service.fewshot.heldout import HeldOut
from service.fewshot.metrics import balanced_accuracy
from service.fewshot.novelty import novelty
from training.evaluation.protocol import LabelledSet

SHOTS = (1, 5, 10, 20)
HEAD_SHOTS = (*SHOTS, 50)
SIMILARITIES = (0.7, 0.75, 0.8, 0.85, 0.88, 0.9, 0.92, 0.94, 0.95, 0.96)
RESAMPLES = 2000
OUTLIERS = 500  # frames of other organs
Draws: TypeAlias = dict[tuple[str, int], list[dict[str, float]]]  # set and shots -> each draw


def fit_rows(labelled: LabelledSet, rows_ND: Doubles, train: Ints) -> Fit:
    """The service's head on some frames."""
    labels, groups = labelled.labels_N[train].tolist(), labelled.groups_N[train].tolist()
    return fit(rows_ND[train], labels, groups, encoder_id="report")


class CalibratedFits:
    """Fits with their calibrators, each computed once for all studies."""

    def __init__(self, data: Data) -> None:
        self._data = data
        self.of = cache(self._of)

    def _of(self, name: str, train: tuple[int, ...]) -> tuple[Fit, Calibrator]:
        labelled, rows_ND = self._data[name]
        head_fit = fit_rows(labelled, rows_ND, np.array(train))
        return head_fit, fit_calibrator(head_fit.scores.chosen)


def heads(data: Data, seeds: int) -> list[Row]:
    """Balanced accuracy per head and shots in percent, and what it gains on C = 10.

    ``gain_low`` and ``gain_high`` are the 95 % interval of the mean gain: bootstrap over seeds
    within each set. Sets with too few groups for so many shots are left out of that row.
    """
    scores: dict[tuple[str, int], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for shots in HEAD_SHOTS:
        for name, split, labelled, rows_ND in splits(data, shots, seeds):
            truth_N, train, test = class_numbers(labelled), split.train, split.test
            groups_M = np.unique(labelled.groups_N[train], return_inverse=True)[1]
            for head, make in HEADS.items():
                logits_QC = make(rows_ND[train], truth_N[train], groups_M, rows_ND[test])
                score = accuracy_percent(truth_N[test], logits_QC.argmax(1))
                scores[head, shots][name].append(score)
    return [
        {
            "head": head,
            "shots": shots,
            "mean": round(float(np.mean([np.mean(s) for s in by_set.values()])), 2),
            "sd_over_seeds": round(float(np.mean([np.std(s) for s in by_set.values()])), 2),
            **_gain(by_set, scores[REFERENCE, shots]),
            **{name: round(float(np.mean(s)), 1) for name, s in by_set.items()},
        }
        for (head, shots), by_set in scores.items()
    ]


def _gain(by_set: dict[str, list[float]], reference: dict[str, list[float]]) -> Row:
    pairs = [np.subtract(by_set[name], reference[name]) for name in by_set]
    return {
        "gain": round(float(np.mean([p.mean() for p in pairs])), 2),
        **mean_interval(pairs, "gain"),
    }


def mean_interval(by_set: list[Doubles], name: str, digits: int = 2) -> Row:
    """95 % of the mean over sets, draws resampled within each set."""
    rng = np.random.default_rng(0)
    means = [
        np.mean([rng.choice(values, len(values)).mean() for values in by_set])
        for _ in range(RESAMPLES)
    ]
    low, high = np.percentile(means, [2.5, 97.5])
    return {f"{name}_low": round(float(low), digits), f"{name}_high": round(float(high), digits)}


def with_means(draws_of: Draws) -> Iterator[tuple[Row, list[list[dict[str, float]]]]]:
    """The draws of every set, then for each number of shots those of all sets together."""
    for (name, shots), draws in draws_of.items():
        yield {"set": name, "shots": shots}, [draws]
    for shots in SHOTS:
        together = [draws for (_, k), draws in draws_of.items() if k == shots]
        if len(together) > 1:
            yield {"set": "mean", "shots": shots}, together


def gains(by_set: list[list[dict[str, float]]], without: str, ways: Sequence[str]) -> Row:
    """Of the draws of each set: the score without, and what each way gains, with its interval."""
    bases = [np.array([draw[without] for draw in draws]) for draws in by_set]
    base = np.mean([scores.mean() for scores in bases])
    row: Row = {"draws": len(bases[0]), without: round(float(base), 1)}
    for way in ways:
        pairs = [
            np.array([draw[way] for draw in draws]) - scores
            for draws, scores in zip(by_set, bases, strict=True)
        ]
        row[way] = round(float(np.mean([pair.mean() for pair in pairs])), 2)
        row |= mean_interval(pairs, way)
    return row


def tested(
    head_fit: Fit, labelled: LabelledSet, rows_ND: Doubles, test: Ints
) -> tuple[Doubles, HeldOut, Doubles]:
    """Logits of frames that were not fitted, with their labels and balanced weights."""
    logits_QC = head_fit.head.logits(rows_ND[test])
    groups_Q = np.unique(labelled.groups_N[test], return_inverse=True)[1]
    held = HeldOut(labelled.classes, logits_QC, class_numbers(labelled)[test], groups_Q)
    return logits_QC, held, held.balanced_shares()


def calibration(data: Data, seeds: int, fits: CalibratedFits) -> list[Row]:
    """ECE, Brier score and log loss on tested frames, before and after the temperature."""
    values_of: dict[tuple[str, int], list[list[float]]] = defaultdict(list)
    for shots in SHOTS[1:]:
        for name, split, labelled, rows_ND in splits(data, shots, seeds):
            head_fit, calibrator = fits.of(name, tuple(split.train.tolist()))
            temperature = calibrator.calibration
            logits_QC, held, shares_Q = tested(head_fit, labelled, rows_ND, split.test)
            figures = [
                reliability(given_QC, held.labels_N, shares_Q)
                for given_QC in (softmax(logits_QC), temperature.probabilities(logits_QC))
            ]
            values = [v for r in figures for v in (r.ece, r.brier, r.log_loss)]
            values_of[name, shots].append([*values, temperature.temperature])
    columns = ("ece", "brier", "log_loss", "ece_after", "brier_after", "log_loss_after", "t")
    return [
        {"set": name, "shots": shots, **_means(columns, rows)}
        for (name, shots), rows in values_of.items()
    ]


def coverage(
    data: Data, seeds: int, fits: CalibratedFits, shots_tried: Sequence[int] = SHOTS[1:]
) -> list[Row]:
    """Share of tested frames whose set holds their class (classes equal), and set sizes.

    The methods that end with ``_plain`` have no prior over groups.
    """
    values_of: dict[tuple[str, int, str, float], list[list[float]]] = defaultdict(list)
    for shots in shots_tried:
        for name, split, labelled, rows_ND in splits(data, shots, seeds):
            head_fit, calibrator = fits.of(name, tuple(split.train.tolist()))
            inside = calibrator.calibration.probabilities(head_fit.scores.chosen.logits_NC)
            given_QC = calibrator.calibration.probabilities(
                head_fit.head.logits(rows_ND[split.test])
            )
            truth_Q = class_numbers(labelled)[split.test]
            of_method = {
                method: conformal(head_fit.scores.chosen, inside, method=method)
                for method in ("lac", "aps")
            }
            of_method["lac_plain"] = replace(of_method["lac"], prior_P=np.empty(0))
            for method, scores in of_method.items():
                for nominal in (0.8, 0.9):
                    sets = scores.sets(given_QC, nominal)
                    if sets.members_NC is not None:
                        hit_Q = sets.members_NC[np.arange(len(truth_Q)), truth_Q]
                        size = float(sets.members_NC.sum(1).mean())
                        key = (name, shots, method, nominal)
                        # A miss is a guess of a class that does not exist.
                        misses_Q = np.where(hit_Q, truth_Q, sets.members_NC.shape[1])
                        share = balanced_accuracy(truth_Q, misses_Q, sets.members_NC.shape[1])
                        values_of[key].append([share, size])
    return [
        {
            "set": name,
            "shots": shots,
            "method": method,
            "nominal": nominal,
            **_means(("coverage", "set_size"), rows),
        }
        for (name, shots, method, nominal), rows in values_of.items()
    ]


def outliers(data: Data, pictures: Doubles, seeds: int) -> list[Row]:
    """AUROC of the distance: tested frames against other organs and against other pictures."""
    values_of: dict[tuple[str, int, str], list[list[float]]] = defaultdict(list)
    other_organs = {name: _of_others(data, name) for name in data}
    for shots in SHOTS[1:]:
        for name, split, labelled, rows_ND in splits(data, shots, seeds):
            others = other_organs[name]
            groups_M = np.unique(labelled.groups_N[split.train], return_inverse=True)[1]
            for method in ("nearest", "class_mean"):
                distances = novelty(
                    rows_ND[split.train],
                    class_numbers(labelled)[split.train],
                    groups_M,
                    method=method,
                )
                own, organ, picture = (
                    distances.distances(rows) for rows in (rows_ND[split.test], others, pictures)
                )
                aurocs = [_auroc(own, out) for out in (organ, picture)]
                flagged = [float(distances.far(rows).mean()) for rows in (own, organ, picture)]
                values_of[name, shots, method].append([*aurocs, *flagged])
    columns = ("auroc_organ", "auroc_picture", "far_own", "far_organ", "far_picture")
    return [
        {"set": name, "shots": shots, "method": method, **_means(columns, rows)}
        for (name, shots, method), rows in values_of.items()
    ]


def _of_others(data: Data, name: str) -> Doubles:
    """Random frames of all other sets."""
    rows = np.concatenate([rows for other, (_, rows) in data.items() if other != name])
    return rows[np.random.default_rng(0).permutation(len(rows))[:OUTLIERS]]


def _auroc(inside: Doubles, outside: Doubles) -> float:
    truth = np.repeat([0, 1], [len(inside), len(outside)])
    return float(roc_auc_score(truth, np.concatenate([inside, outside])))


def abstention(data: Data, seeds: int, fits: CalibratedFits) -> list[Row]:
    """Accuracy of the answered frames by the share answered, and at the default margin."""
    values_of: dict[tuple[str, int, str], list[list[float]]] = defaultdict(list)
    for shots in (10, 20):
        for name, split, labelled, rows_ND in splits(data, shots, seeds):
            head_fit, calibrator = fits.of(name, tuple(split.train.tolist()))
            given_QC = calibrator.calibration.probabilities(
                head_fit.head.logits(rows_ND[split.test])
            )
            right_Q = given_QC.argmax(1) == class_numbers(labelled)[split.test]
            margin_Q = margins(given_QC)
            for share in (1.0, 0.8, 0.6, 0.4, 0.2):
                kept_Q = margin_Q >= np.quantile(margin_Q, 1 - share)
                values_of[name, shots, f"{share:.0%}"].append(
                    [kept_Q.mean(), right_Q[kept_Q].mean()]
                )
            kept_Q = margin_Q >= calibrator.min_margin
            if kept_Q.any():
                values_of[name, shots, "default"].append([kept_Q.mean(), right_Q[kept_Q].mean()])
    return [
        {"set": name, "shots": shots, "rule": rule, **_means(("answered", "accuracy"), rows)}
        for (name, shots, rule), rows in values_of.items()
    ]


def optimism(data: Data, seeds: int) -> list[Row]:
    """Random and grouped cross-validation of the same fits, and the accuracy on other groups.

    In percent. The support is whole groups until each class has 20 frames, as cines are uploaded.
    ``optimism`` is random minus other groups, with a 95 % bootstrap interval over fits.
    """
    values_of: dict[str, list[list[float]]] = defaultdict(list)
    for name, (labelled, rows_ND) in data.items():
        for seed in range(seeds):
            train, test = whole_groups(labelled, seed)
            truth_N = class_numbers(labelled)
            if len(np.unique(truth_N[test])) < len(labelled.classes):
                continue
            labels = labelled.labels_N[train].tolist()
            grouped = fit_rows(labelled, rows_ND, train)
            randomly = fit(rows_ND[train], labels, _rows(train), encoder_id="report").report
            if grouped.report.balanced_accuracy is None or randomly.balanced_accuracy is None:
                continue
            guesses_Q = grouped.head.logits(rows_ND[test]).argmax(1)
            validated = (randomly.balanced_accuracy, grouped.report.balanced_accuracy)
            truly = accuracy_percent(truth_N[test], guesses_Q)
            groups = float(grouped.report.groups)
            values_of[name].append([*(100 * value for value in validated), truly, groups])
    if not values_of:
        return []  # no set has frames enough
    rows = [_optimism(name, [np.array(r)]) for name, r in values_of.items()]
    return [*rows, _optimism("all sets", [np.array(r) for r in values_of.values()])]


def _rows(train: Ints) -> list[str]:
    return [str(row) for row in train]


def _optimism(name: str, by_set: list[Doubles]) -> Row:
    means = np.mean([values.mean(0) for values in by_set], axis=0)
    columns = ("random_cv", "grouped_cv", "other_groups", "groups")
    row: Row = {"set": name, "fits": sum(len(values) for values in by_set)}
    row |= {key: round(float(v), 2) for key, v in zip(columns, means, strict=True)}
    for key, minuend in (("optimism", 0), ("grouped_off", 1)):
        row[key] = round(float(means[minuend] - means[2]), 2)
        row |= mean_interval([values[:, minuend] - values[:, 2] for values in by_set], key)
    return row


def counting(data: Data, seeds: int) -> list[Row]:
    """Balanced accuracy on other groups when a group counts once, or each of its frames."""
    values_of: dict[str, list[list[float]]] = defaultdict(list)
    for name, (labelled, rows_ND) in data.items():
        for seed in range(seeds):
            train, test = whole_groups(labelled, seed)
            truth_N = class_numbers(labelled)
            if len(np.unique(truth_N[test])) < len(labelled.classes):
                continue
            labels, groups = labelled.labels_N[train].tolist(), labelled.groups_N[train].tolist()
            scores = []
            for counted in ("groups", "frames"):
                head = fit_head(rows_ND[train], labels, groups, encoder_id="r", counted=counted)
                guesses_Q = head.logits(rows_ND[test]).argmax(1)
                scores.append(accuracy_percent(truth_N[test], guesses_Q))
            values_of[name].append([*scores, len(set(groups))])
    rows: list[Row] = []
    for name, values in values_of.items():
        table = np.array(values)
        means = _means(("once", "one_by_one", "groups"), values)
        rows.append({"set": name, **means, **mean_interval([table[:, 0] - table[:, 1]], "gain")})
    return rows


def similarity(data: Data, seeds: int) -> list[Row]:
    """How well groups by similarity match the true groups, per threshold, on all frames.

    ``recall`` is the share of pairs of one true group that are similar; ``mixed`` is the share of
    frames whose group by similarity holds frames of several true groups.
    """
    rows: list[Row] = []
    for name, (labelled, rows_ND) in data.items():
        truth_N = np.unique(labelled.groups_N, return_inverse=True)[1]
        unit_ND = unit_rows(rows_ND)
        first_P, second_P = np.triu_indices(len(unit_ND), 1)
        cosine_P = (unit_ND @ unit_ND.T)[first_P, second_P]
        same_P = truth_N[first_P] == truth_N[second_P]
        for value in SIMILARITIES:
            groups_N = near_duplicate_groups(rows_ND, min_similarity=value)
            similar_P = cosine_P >= value
            rows.append(
                {
                    "set": name,
                    "similarity": value,
                    "recall": round(float(similar_P[same_P].mean()), 4),
                    "false_pairs": int((similar_P & ~same_P).sum()),
                    "groups": int(groups_N.max()) + 1,
                    "true_groups": int(truth_N.max()) + 1,
                    "mixed": round(_mixed(groups_N, truth_N), 4),
                    "largest": int(np.bincount(groups_N).max()),
                }
            )
    return rows


def _mixed(groups_N: Ints, truth_N: Ints) -> float:
    pairs = np.unique(np.stack([groups_N, truth_N]), axis=1)
    truths_G = np.bincount(pairs[0])
    return float((truths_G[groups_N] > 1).mean())


def _means(columns: tuple[str, ...], rows: list[list[float]]) -> Row:
    means = np.mean(rows, axis=0)
    return {name: round(float(value), 4) for name, value in zip(columns, means, strict=True)}

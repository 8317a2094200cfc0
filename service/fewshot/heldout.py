"""Out-of-fold scores, by heads that had not seen the examples, and the weight of each example.

A version stores them in format 1: an npz of arrays and one JSON document, without pickles.

Shape suffixes: N examples, M examples with scores, C classes.
"""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from service.arrays import Bools, Doubles, Ints
from service.errors import ArtifactMismatch
from service.fewshot.duplicates import fingerprints
from service.fewshot.head import UNREADABLE


def in_groups(count: int) -> str:
    """``1 group``, ``4 groups``: how messages count groups."""
    return f"{count} group" if count == 1 else f"{count} groups"


def shares_of_pairs(labels_N: Ints, groups_N: Ints) -> Doubles:
    """(N,) 1 / rows of the same group and label; there is one row at least."""
    keys_N = groups_N * (int(labels_N.max()) + 1) + labels_N
    _, pair_N, rows_P = np.unique(keys_N, return_inverse=True, return_counts=True)
    shares_N: Doubles = 1.0 / rows_P[pair_N]
    return shares_N


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Out-of-fold logits of labelled examples, in the caller's order.

    Attributes:
        classes: C names.
        logits_NC: float64, from heads fitted without the row's group; NaN = no scores.
        labels_N: class numbers.
        groups_N: numbers of patients, studies or images; a group is never on both sides of a split.
        class_weights_C: weight of each class relative to the others; None = all the same.
    """

    classes: tuple[str, ...]
    logits_NC: Doubles
    labels_N: Ints
    groups_N: Ints
    class_weights_C: Doubles | None = None

    @property
    def is_scored(self) -> Bools:
        """Which rows have scores."""
        scored_N: Bools = np.asarray(np.isfinite(self.logits_NC).all(axis=1))
        return scored_N

    def scored(self) -> "HeldOut":
        """The rows that have scores."""
        return self.rows(self.is_scored)

    def guesses(self) -> Ints:
        """(N,) the number of the class of the highest logit; -1 for a row without scores."""
        return guesses(self.logits_NC)

    def rows(self, chosen: Bools | Ints) -> "HeldOut":
        """Some rows, by mask or number."""
        return replace(
            self,
            logits_NC=self.logits_NC[chosen],
            labels_N=self.labels_N[chosen],
            groups_N=self.groups_N[chosen],
        )

    def groups_per_class(self) -> Ints:
        """(C,) number of distinct groups of each class."""
        labels_M = self._pairs()[0]
        counts_C: Ints = np.bincount(labels_M, minlength=len(self.classes))
        return counts_C

    def _pairs(self) -> tuple[Ints, Ints, Ints]:
        """Label of each distinct (group, label) pair, pair number of each row, rows per pair."""
        keys_N = self.groups_N * len(self.classes) + self.labels_N
        keys_P, pair_N, rows_P = np.unique(keys_N, return_inverse=True, return_counts=True)
        return keys_P % len(self.classes), pair_N, rows_P

    def shares(self) -> Doubles:
        """(N,) 1 / rows of the same group and label: frames of one cine count once together."""
        _, pair_N, rows_P = self._pairs()
        shares_N: Doubles = 1.0 / rows_P[pair_N]
        return shares_N

    def balanced_shares(self) -> Doubles:
        """(N,) ``shares`` scaled so that classes weigh as in the fit; same sum as ``shares``.

        Heads are fitted for classes that are equally frequent, or weighted by ``class_weights_C``,
        and their probabilities are evaluated in the same way.
        """
        labels_P, pair_N, rows_P = self._pairs()
        pairs_C = np.bincount(labels_P, minlength=len(self.classes))
        weights_C = 1.0 if self.class_weights_C is None else self.class_weights_C
        wanted_C = (pairs_C > 0) * weights_C
        scale_C = len(labels_P) * wanted_C / (wanted_C.sum() * np.maximum(pairs_C, 1))
        shares_N: Doubles = scale_C[self.labels_N] / rows_P[pair_N]
        return shares_N

    def one_row_per_group(self, seed: int = 0) -> Ints:
        """One drawn row number per (group, label), in their order.

        One row per group keeps rows exchangeable (Dunn, Wasserman, Ramdas 2022, "Distribution-
        free prediction sets for two-layer hierarchical models", subsampling once). The order of
        the rows does not change the drawn scores.
        """
        order_N = np.lexsort((fingerprints(self.logits_NC), self.labels_N, self.groups_N))
        order_N = np.random.default_rng(seed).permutation(order_N)
        pair_N = self._pairs()[1]
        first_P = np.unique(pair_N[order_N], return_index=True)[1]
        rows_P: Ints = order_N[first_P]
        return rows_P


def guesses(logits_NC: Doubles) -> Ints:
    """(N,) the number of the highest logit; -1 for a row of NaN."""
    scored_N = np.asarray(np.isfinite(logits_NC).all(axis=1))
    guesses_N: Ints = np.where(scored_N, np.where(scored_N[:, None], logits_NC, 0).argmax(1), -1)
    return guesses_N


FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class HeadScores:
    """Out-of-fold scores of one head.

    Attributes:
        nested: C chosen without the row's fold: for metrics.
        chosen: at the C, and so on the scale, of the head: for calibration and thresholds.
    """

    nested: HeldOut
    chosen: HeldOut


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """Out-of-fold scores of all heads by label; None = the head of a single-label classifier.

    Rows are the examples in the order of the fit. A version stores them, so that no reader fits
    again.
    """

    heads: Mapping[str | None, HeadScores]

    def __len__(self) -> int:
        return len(next(iter(self.heads.values())).nested.labels_N)

    def rows(self, chosen: Bools | Ints) -> "OutOfFold":
        """Some rows, by mask or number."""
        heads = {
            label: HeadScores(scores.nested.rows(chosen), scores.chosen.rows(chosen))
            for label, scores in self.heads.items()
        }
        return OutOfFold(heads)

    def to_bytes(self) -> bytes:
        """The stored format; ``from_bytes`` reads it."""
        first = next(iter(self.heads.values())).nested
        arrays: dict[str, npt.NDArray[Any]] = {"groups_N": first.groups_N}
        facts = []
        for number, (label, scores) in enumerate(self.heads.items()):
            weights_C = scores.nested.class_weights_C
            rows_M = np.flatnonzero(scores.nested.is_scored | scores.chosen.is_scored)
            differs = scores.chosen.logits_NC is not scores.nested.logits_NC
            facts.append(
                {
                    "label": label,
                    "classes": list(scores.nested.classes),
                    "class_weights": None if weights_C is None else weights_C.tolist(),
                    "differs": differs,
                }
            )
            arrays[f"labels_N_{number}"] = scores.nested.labels_N.astype(np.int32)
            arrays[f"rows_M_{number}"] = rows_M.astype(np.int32)
            arrays[f"nested_MC_{number}"] = scores.nested.logits_NC[rows_M]
            if differs:
                arrays[f"chosen_MC_{number}"] = scores.chosen.logits_NC[rows_M]
        text = json.dumps({"format_version": FORMAT_VERSION, "heads": facts})
        buffer = io.BytesIO()
        arrays["facts"] = np.frombuffer(text.encode(), np.uint8)
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()

    @staticmethod
    def from_bytes(data: bytes) -> "OutOfFold":
        """Read the stored format. Raises ArtifactMismatch: damaged, or another format."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as stored:
                facts = json.loads(stored["facts"].tobytes())
                if facts["format_version"] != FORMAT_VERSION:
                    raise ArtifactMismatch(
                        f"expected out-of-fold scores of format {FORMAT_VERSION}, "
                        f"got {facts['format_version']}"
                    )
                return OutOfFold(dict(_read_heads(stored, facts["heads"])))
        except UNREADABLE as error:
            raise ArtifactMismatch("the stored out-of-fold scores cannot be read") from error


def without_scores(data: bytes, rows: Sequence[int]) -> bytes:
    """The stored format without the scores of some rows, which count as never scored.

    Nothing is left of scores that cannot be read.
    """
    try:
        scores = OutOfFold.from_bytes(data)
    except ArtifactMismatch:
        return b""
    gone = np.array([row for row in rows if row < len(scores)], np.int64)
    heads = {}
    for label, head in scores.heads.items():
        nested = replace(head.nested, logits_NC=_blanked(head.nested.logits_NC, gone))
        differs = head.chosen.logits_NC is not head.nested.logits_NC
        logits_NC = _blanked(head.chosen.logits_NC, gone) if differs else nested.logits_NC
        heads[label] = HeadScores(nested, replace(head.chosen, logits_NC=logits_NC))
    return OutOfFold(heads).to_bytes()


def _blanked(logits_NC: Doubles, rows: Ints) -> Doubles:
    blanked_NC = logits_NC.copy()
    blanked_NC[rows] = np.nan
    return blanked_NC


def _read_heads(
    stored: Mapping[str, npt.NDArray[Any]], facts: list[dict[str, Any]]
) -> Iterator[tuple[str | None, HeadScores]]:
    groups_N = stored["groups_N"]
    for number, head in enumerate(facts):
        labels_N = stored[f"labels_N_{number}"].astype(np.int64)
        weights = head["class_weights"]
        weights_C = None if weights is None else np.array(weights, np.float64)
        classes, rows_M = tuple(head["classes"]), stored[f"rows_M_{number}"]
        nested = HeldOut(
            classes,
            _scattered(stored[f"nested_MC_{number}"], rows_M, len(labels_N)),
            labels_N,
            groups_N,
            weights_C,
        )
        chosen = nested
        if head["differs"]:
            logits_MC = stored[f"chosen_MC_{number}"]
            chosen = replace(nested, logits_NC=_scattered(logits_MC, rows_M, len(labels_N)))
        yield head["label"], HeadScores(nested, chosen)


def _scattered(logits_MC: Doubles, rows_M: Ints, count: int) -> Doubles:
    logits_NC = np.full((count, logits_MC.shape[1]), np.nan)
    logits_NC[rows_M] = logits_MC
    return logits_NC

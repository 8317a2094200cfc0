"""Drift of a classifier in use over real frames: detection delay against false alarms.

Groups (patients, videos, near-duplicates) of each set are halved. A classifier is fitted to 70 % of
the groups of one half; its reference and limits are those of the service. The frames of the other
half come in use, patient after patient in a drawn order, and again in another order when all have
been; windows are tested as the service tests them. The rule was fixed before the first run.

- False alarms: untouched frames of the other half.
- Delay: answers until the first alarm, when all frames are disturbed, or when patients of other
  sets come: all answers, or one in ten.
- ``by_frames`` shows the false alarms with limits from frames drawn one by one instead.

Shape suffixes: N frames, F figures, C classes, A answers of a stream, D embedding width.
"""

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias, cast

import numpy as np
import numpy.typing as npt
from drift_frames import DISTURBANCES, disturbed_features, halves
from harness import argument_parser, required_shared_folder, write_report
from threadpoolctl import threadpool_limits

from service.catalog.records import Author
from service.catalog.sqlite.sqlite_catalog import open_catalog
from service.classifiers.evaluation import ClassifierEvaluator
from service.classifiers.examples import Example, Examples
from service.classifiers.loaded import LoadedClassifier
from service.classifiers.monitoring.tally import confidence
from service.classifiers.monitoring.version_reference import (
    VersionReference,
    held_out_use,
    version_reference,
)
from service.classifiers.store import ClassifierStore
from service.embedding.bundle import SHIPPED_BUNDLE, near_duplicate_cosine
from service.embedding.bundle import read_manifest as read_bundle
from service.embedding.ultrasound_gate import UltrasoundTest, read_ultrasound_test
from service.fewshot.drift.drift_alarms import WINDOWS, DriftTest, false_alarm_share
from service.fewshot.drift.drift_reference import FIGURES, drift_reference
from training.catalogue.manifest import read_manifest
from training.evaluation.encoders import BundleEncoder, bundle_encoders
from training.evaluation.protocol import LabelledSet
from training.evaluation.sets import EvaluationSet, read_sets, subsample

Floats: TypeAlias = npt.NDArray[np.float32]
Doubles: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Row: TypeAlias = dict[str, object]

SETS = ("busi_full", "liver", "gallbladder_BA", "pocovid")
FRAMES = 1200  # of each set, about
SUPPORT_SHARE = 0.7
ANSWERS = 3000  # of one stream


@dataclass(frozen=True, slots=True)
class InUse:
    """Frames that come in use: untouched, and after each disturbance.

    Attributes:
        features: disturbance -> embeddings of ``groups`` of the same name.
    """

    features: Mapping[str, Floats]
    groups: Mapping[str, npt.NDArray[np.str_]]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A classifier with its reference, and the same reference of frames one by one."""

    loaded: LoadedClassifier
    reference: VersionReference
    by_frames: VersionReference
    gate: UltrasoundTest


@dataclass(frozen=True, slots=True)
class Answers:
    """What a classifier says to frames."""

    figures_NF: Doubles
    class_N: Ints
    groups: npt.NDArray[np.str_]


def main() -> None:
    """Measure, print and write."""
    parser = argument_parser(__doc__, with_out=True)
    parser.add_argument("--cache", type=Path, default=Path("runs/drift"))
    parser.add_argument("--fits", type=int, default=8, help="of each set")
    parser.add_argument("--streams", type=int, default=20, help="of each fit and disturbance")
    parser.add_argument("--sets", nargs="*", default=list(SETS))
    parser.add_argument("--halves", action="store_true", help="other halves for each fit")
    arguments = parser.parse_args()
    manifest = read_bundle(SHIPPED_BUNDLE)
    file = SHIPPED_BUNDLE / "ultrasound.npz"
    gate = read_ultrasound_test(file, manifest.dim, manifest.encoder_id)
    encoder = bundle_encoders(SHIPPED_BUNDLE, ["int8"])[0]
    rows = read_manifest(required_shared_folder() / "data" / "manifest.csv")
    sets = {s.name: subsample(s, FRAMES) for s in read_sets(rows, arguments.sets)}
    if arguments.halves:
        with threadpool_limits(1):
            table = [quiet_halves(frames, encoder, gate, arguments) for frames in sets.values()]
        for row in table:
            print(row)
        whole = over_halves(table)
        print(whole)
        write_report({"false_alarms_of_halves": table, "over_halves": whole}, arguments)
        return
    in_use = {name: used(encoder, s, arguments.cache) for name, s in sets.items()}
    false_alarms: list[Row] = []
    delays: list[Row] = []
    with threadpool_limits(1):
        for name, frames in sets.items():
            features_ND = disturbed_features(encoder, frames.rows, "untouched", arguments.cache)
            fits = list(fitted(frames, features_ND, gate, arguments.fits))
            false_alarms += quiet(name, fits, in_use[name], arguments.streams)
            delays += delayed(name, fits, in_use, arguments.streams)
    for table in (false_alarms, delays):
        for row in table:
            print(row)
    write_report({"false_alarms": false_alarms, "delays": delays}, arguments)


def used(encoder: BundleEncoder, frames: EvaluationSet, cache: Path) -> InUse:
    """The second half of a set."""
    half = halves(frames.labelled)
    whole_ND = disturbed_features(encoder, frames.rows, "untouched", cache)
    features = {"untouched": whole_ND[half.stream]}
    groups = {"untouched": frames.labelled.groups_N[half.stream]}
    chosen = tuple(frames.rows[row] for row in half.disturbed)
    for name in DISTURBANCES:
        if name != "untouched":
            features[name] = disturbed_features(encoder, chosen, name, cache)
            groups[name] = frames.labelled.groups_N[half.disturbed]
    return InUse(features, groups)


def fitted(
    frames: EvaluationSet,
    features_ND: Floats,
    gate: UltrasoundTest,
    count: int,
    *,
    other_halves: bool = False,
) -> Iterator[Fitted]:
    """Classifiers of drawn groups of the first half, through the service's own store."""
    labelled = frames.labelled
    for seed in range(count):
        # Disturbed frames are embedded of one half only; untouched ones allow other halves.
        support = halves(labelled, seed=1 + seed if other_halves else 0).support
        rows = drawn_support(labelled, support, seed)
        examples = Examples.of(
            Example(
                features_ND[row],
                str(labelled.labels_N[row]),
                str(labelled.groups_N[row]),
                f"{row}",
                None,
                str(labelled.groups_N[row]),
                None,
            )
            for row in rows.tolist()
        )
        with tempfile.TemporaryDirectory() as folder:
            catalog = open_catalog(Path(folder))
            owner = catalog.ensure_workspace("bench").workspace_id
            store = ClassifierStore(
                catalog,
                encoder_id="e",
                dim=features_ND.shape[1],
                near_duplicate_cosine=near_duplicate_cosine(read_bundle(SHIPPED_BUNDLE)),
            )
            store.fit(owner, "c", examples, Author())
            loaded = store.open(owner, "c")
            kept, scores = ClassifierEvaluator(catalog, store).out_of_fold(owner, "c", 1)
            catalog.close()
        reference = version_reference(loaded, kept, scores, gate)
        use = held_out_use(loaded, kept, scores, gate)
        separate = replace(use, groups_N=np.arange(len(use.groups_N)))
        strata = len(loaded.version.classes)
        by_frames = VersionReference(0, reference.figures, drift_reference(separate, strata))
        yield Fitted(loaded, reference, by_frames, gate)


def drawn_support(labelled: LabelledSet, support: Ints, seed: int) -> Ints:
    """All rows of some groups of the first half."""
    groups = np.random.default_rng(seed).permutation(np.unique(labelled.groups_N[support]))
    chosen = groups[: round(SUPPORT_SHARE * len(groups))]
    return support[np.isin(labelled.groups_N[support], chosen)]


def answers_of(fit: Fitted, features_ND: Floats, groups: npt.NDArray[np.str_]) -> Answers:
    """What the classifier says to each frame, as the service counts it."""
    passed_N = fit.gate.passed(features_ND)
    unusable = [None if passed else "not_ultrasound" for passed in passed_N]
    rows = fit.loaded.model.predict(features_ND, 0.9, unusable_N=unusable).rows
    figures = [
        (row.similarity, confidence(row, multi=False), row.abstained is not None) for row in rows
    ]
    number = {name: c for c, name in enumerate(fit.loaded.version.classes)}
    classes = np.array([number[row.most_probable] for row in rows])
    return Answers(np.array(figures, np.float64), classes, groups)


def stream(groups: npt.NDArray[np.str_], rng: np.random.Generator) -> Ints:
    """Row numbers: patient after patient, in another order each time all have been."""
    rows_of = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    parts: list[Ints] = []
    total = 0
    while total < ANSWERS:
        for number in rng.permutation(len(rows_of)).tolist():
            parts.append(rng.permutation(rows_of[number]))
            total += len(rows_of[number])
    return np.concatenate(parts)[:ANSWERS]


def windows_of(
    figures_AF: Doubles, class_A: Ints, reference: VersionReference
) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """(length, answers until its end, figures that alarm) of each window of a stream."""
    strata = len(reference.drift.means_CF)
    for length in WINDOWS:
        for end in range(length, len(class_A) + 1, length):
            part = slice(end - length, end)
            counts_C = np.bincount(class_A[part], minlength=strata)
            sums_CF = np.zeros((strata, len(FIGURES)))
            np.add.at(sums_CF, class_A[part], figures_AF[part])
            deviation_F = reference.drift.deviation(counts_C, sums_CF)
            limit_F = reference.limits(counts_C, false_alarm_share(length))
            yield length, end, DriftTest(length, deviation_F, limit_F).alarms


def quiet(name: str, fits: list[Fitted], in_use: InUse, streams: int) -> list[Row]:
    """False alarms of untouched frames of other patients."""
    counts: dict[tuple[str, int], list[int]] = {}
    of_figure = dict.fromkeys(FIGURES, 0)
    alarming = set()
    for number, fit in enumerate(fits):
        answers = answers_of(fit, in_use.features["untouched"], in_use.groups["untouched"])
        for seed in range(streams):
            rows_A = stream(answers.groups, np.random.default_rng((number, seed)))
            figures_AF, class_A = answers.figures_NF[rows_A], answers.class_N[rows_A]
            for how, reference in (("groups", fit.reference), ("frames", fit.by_frames)):
                for length, _, alarms in windows_of(figures_AF, class_A, reference):
                    counts.setdefault((how, length), []).append(bool(alarms))
                    if how == "groups":
                        alarming |= {number} if alarms else set()
                        for figure in alarms:
                            of_figure[figure] += 1
    answered = len(fits) * streams * ANSWERS
    row: Row = {"set": name, "groups": fits[0].reference.drift.groups, "fits": len(fits)}
    for how in ("groups", "frames"):
        total = sum(sum(counts[how, length]) for length in WINDOWS)
        row[f"per_1000_{how}"] = round(1000 * total / answered, 3)
        for length in WINDOWS:
            row[f"{how}_{length}"] = round(float(np.mean(counts[how, length])), 5)
    return [{**row, "fits_that_alarm": len(alarming), "by_figure": of_figure}]


def quiet_halves(
    frames: EvaluationSet,
    encoder: BundleEncoder,
    gate: UltrasoundTest,
    arguments: argparse.Namespace,
) -> Row:
    """False alarms as ``quiet``, where each fit has halves of its own."""
    features_ND = disturbed_features(encoder, frames.rows, "untouched", arguments.cache)
    fits = fitted(frames, features_ND, gate, arguments.fits, other_halves=True)
    rows: list[Row] = []
    for seed, fit in enumerate(fits):
        stream_rows = halves(frames.labelled, seed=1 + seed).stream
        groups = frames.labelled.groups_N[stream_rows]
        own = InUse({"untouched": features_ND[stream_rows]}, {"untouched": groups})
        rows += quiet(frames.name, [fit], own, arguments.streams)
    figures = [name for name in rows[0] if name.startswith(("per_1000", "groups_", "frames_"))]
    means: Row = {
        name: round(float(np.mean([float(str(row[name])) for row in rows])), 5) for name in figures
    }
    alarming = sum(int(str(row["fits_that_alarm"])) for row in rows)
    rates = [row["per_1000_groups"] for row in rows]
    shown: Row = {"set": frames.name, "halves": len(rows), **means, "rates": rates}
    return shown | {"halves_that_alarm": alarming}


def over_halves(table: list[Row]) -> Row:
    """The mean rate of all halves of all sets, with its 95 % interval over halves."""
    rates = np.array([rate for row in table for rate in cast("list[float]", row["rates"])])
    drawn_B = np.random.default_rng(0).choice(rates, (10_000, len(rates))).mean(1)
    low, high = np.percentile(drawn_B, (2.5, 97.5))
    return {
        "halves": len(rates),
        "per_1000": round(float(rates.mean()), 3),
        "interval_95": [round(float(low), 3), round(float(high), 3)],
        "highest": float(rates.max()),
        "halves_without": int((rates == 0).sum()),
    }


def delayed(name: str, fits: list[Fitted], in_use: Mapping[str, InUse], streams: int) -> list[Row]:
    """Answers until the first alarm after each change."""
    found: dict[str, list[float]] = {}
    for number, fit in enumerate(fits):
        own = in_use[name]
        clean = answers_of(fit, own.features["untouched"], own.groups["untouched"])
        changed = {
            disturbance: answers_of(fit, features_ND, own.groups[disturbance])
            for disturbance, features_ND in own.features.items()
            if disturbance != "untouched"
        }
        others = [use for other, use in in_use.items() if other != name]
        foreign = answers_of(
            fit,
            np.concatenate([use.features["untouched"] for use in others]),
            np.concatenate([use.groups["untouched"] for use in others]),
        )
        for seed in range(streams):
            rng = np.random.default_rng((number, seed, 1))
            for change, answers in {**changed, "other organs": foreign}.items():
                rows_A = stream(answers.groups, rng)
                found.setdefault(change, []).append(
                    delay(answers.figures_NF[rows_A], answers.class_N[rows_A], fit.reference)
                )
            figures_AF, class_A = mixed(clean, foreign, rng)
            found.setdefault("other organs, 1 of 10", []).append(
                delay(figures_AF, class_A, fit.reference)
            )
    return [{"set": name, "change": change, **summary(d)} for change, d in found.items()]


def mixed(clean: Answers, foreign: Answers, rng: np.random.Generator) -> tuple[Doubles, Ints]:
    """A stream in which every tenth answer, by chance, is to a foreign frame."""
    own_A, other_A = stream(clean.groups, rng), stream(foreign.groups, rng)
    is_foreign_A = rng.random(ANSWERS) < 0.1
    figures_AF = np.where(
        is_foreign_A[:, None], foreign.figures_NF[other_A], clean.figures_NF[own_A]
    )
    return figures_AF, np.where(is_foreign_A, foreign.class_N[other_A], clean.class_N[own_A])


def delay(figures_AF: Doubles, class_A: Ints, reference: VersionReference) -> float:
    """Answers until the end of the first window that alarms; infinite if none does."""
    ends = [end for _, end, alarms in windows_of(figures_AF, class_A, reference) if alarms]
    return min(ends, default=np.inf)


def summary(delays: list[float]) -> Row:
    """The median delay, and the share of the streams that had alarmed by then."""
    within = {f"within_{n}": round(float(np.mean(np.array(delays) <= n)), 3) for n in BY}
    median = float(np.median(delays))
    return {"median": int(median) if np.isfinite(median) else None, **within}


BY = (50, 200, 1000, ANSWERS)

if __name__ == "__main__":
    main()

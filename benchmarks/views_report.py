"""What views add to a few labelled frames: fitted to views, asked with views, or both.

Every cell is balanced accuracy on frames of other groups, over paired draws of the labelled frames.
``single`` is one embedding of each frame, ``mean`` the mean embedding of its seven views, ``all``
the seven as examples of their own. Frames are cut out and masked as the service does it. The head
of ``views`` is that of a version fitted with ``views: true``, with its calibration.

The table ``together`` compares views, unlabelled scans and both, and the same with
``views: "examples"``, where scans and queries have single embeddings. As in
``unlabelled_report.py`` half of the groups without a labelled frame are the unlabelled scans, and
the other half is tested.
Gains have the 95 % interval over draws; the rows ``mean`` are of all sets.

``--ways served whole`` measures both: what the service uses of a frame, and the frame as it was
published. ``--http DRAWS`` also sends the files of some draws to a service with the shipped encoder
and compares there what ``views: "examples"`` and ``views: true`` gain over ``views: false``.

Shape suffixes: N frames, V views, D embedding width, Q tested frames.
"""

import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
from fewshot_data import Row, accuracy_percent, class_numbers
from fewshot_report import table
from fewshot_studies import SHOTS, Draws, gains, with_means
from fit_promises import promises
from harness import argument_parser, required_shared_folder, write_report
from service_process import service_process
from threadpoolctl import threadpool_limits
from unlabelled_report import pool_and_test
from view_vectors import read_views

from service.arrays import Floats, unit_rows
from service.embedding.bundle import SHIPPED_BUNDLE
from service.errors import NotEnoughExamples
from service.fewshot.fit import fit, fit_head
from service.fewshot.head import TeachingViews
from service.fewshot.semi_supervision.semi_supervised import UnlabelledScans
from sonoprobe_client import PlainClient
from training.catalogue.manifest import read_manifest
from training.evaluation.encoders import bundle_encoders
from training.evaluation.protocol import LabelledSet, Split, shot_split
from training.evaluation.served import Way
from training.evaluation.sets import EvaluationSet, read_sets, subsample

SERVED_SHOTS, SERVED_TESTED, AT_ONCE = 5, 150, 32
Sets: TypeAlias = dict[str, tuple[LabelledSet, Floats]]  # labels, and (N, V, D) of the views
Draw: TypeAlias = dict[str, float]
TOGETHER = ("unlabelled", "views", "both", "examples", "examples_both")
_PROMISED = ("", "_examples", "_views")
SEEN: tuple[Way, ...] = ("served", "whole")
FITS = {"plain": False, "examples": "examples", "high": True}
WAYS = ("single/mean", "all/single", "all/mean", "mean/single", "mean/mean")


def main() -> None:
    """Measure, print and write."""
    parser = argument_parser(__doc__, with_out=True)
    parser.add_argument("--bundle", type=Path, default=SHIPPED_BUNDLE)
    parser.add_argument("--cache", type=Path, default=Path("runs/features"))
    parser.add_argument("--frames", type=int, default=800, help="of each set, about, at most")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--sets", nargs="*", default=[], help="all without")
    parser.add_argument("--ways", nargs="*", choices=SEEN, default=SEEN[:1])
    parser.add_argument("--tables", nargs="*", choices=tuple(TABLES), default=tuple(TABLES))
    parser.add_argument("--http", type=int, default=0, help="draws through HTTP")
    parser.add_argument("--port", type=int, default=18479)
    arguments = parser.parse_args()
    encoder = bundle_encoders(arguments.bundle)[0]
    tables: dict[str, list[Row]] = {}
    for way in arguments.ways:
        sets = read_views(encoder, arguments.sets, arguments.frames, arguments.cache, way)
        for name in arguments.tables:
            with threadpool_limits(1):
                tables[f"{name}_{way}"] = TABLES[name](sets, arguments.seeds)
            table(f"{name}_{way}", tables[f"{name}_{way}"])
    if arguments.http:
        tables["http"] = through_http(
            arguments.sets, arguments.frames, arguments.http, arguments.port
        )
        table("http", tables["http"])
    write_report(tables, arguments)


def measure(sets: Sets, seeds: int) -> list[Row]:
    """Per set and shots: accuracy of single embeddings, and the gain of each way over it."""

    def draw(labelled: LabelledSet, views_NVD: Floats, split: Split, _: int) -> dict[str, float]:
        return _draw(labelled, views_NVD, split)

    draws_of = _drawn(sets, seeds, draw)
    return [_summary(key, by_set) for key, by_set in with_means(draws_of)]


def together(sets: Sets, seeds: int) -> list[Row]:
    """Per set and shots: the gains of views, of unlabelled scans and of both over neither."""
    draws_of = _drawn(sets, seeds, _with_scans)
    return [{**key, **gains(by_set, "neither", TOGETHER)} for key, by_set in with_means(draws_of)]


TABLES: dict[str, Callable[[Sets, int], list[Row]]] = {"views": measure, "together": together}


def _drawn(
    sets: Sets, seeds: int, draw: Callable[[LabelledSet, Floats, Split, int], Draw]
) -> Draws:
    """Set and shots -> what ``draw`` gives for each seed; without those of too few groups."""
    draws_of: Draws = defaultdict(list)
    for name, (labelled, views_NVD) in sets.items():
        unit_NVD = unit_rows(views_NVD.reshape(-1, views_NVD.shape[-1])).reshape(views_NVD.shape)
        for shots in SHOTS:
            for seed in range(seeds):
                try:
                    split = shot_split(labelled, shots, seed)
                except NotEnoughExamples:
                    break
                draws_of[name, shots].append(draw(labelled, unit_NVD, split, seed))
    return draws_of


def _draw(labelled: LabelledSet, unit_NVD: Floats, split: Split) -> Draw:
    truth_Q = class_numbers(labelled)[split.test]
    mean_ND = unit_rows(unit_NVD.mean(1))
    kinds = {"single": unit_NVD[:, :1], "mean": mean_ND[:, None], "all": unit_NVD}
    values: Draw = {}
    for way in ("single/single", *WAYS):
        fitted, asked = way.split("/")
        rows_NVD = kinds[fitted]
        count = rows_NVD.shape[1]
        head = fit_head(
            rows_NVD[split.train].reshape(-1, rows_NVD.shape[-1]),
            np.repeat(labelled.labels_N[split.train], count).tolist(),
            np.repeat(labelled.groups_N[split.train], count).tolist(),
            encoder_id="report",
        )
        guesses_Q = head.logits(kinds[asked][split.test, 0]).argmax(1)
        values[way] = accuracy_percent(truth_Q, guesses_Q)
    single_ND, train = unit_NVD[:, 0], split.train
    taught = TeachingViews(single_ND[train], unit_NVD[train])
    values |= _promises("", labelled, single_ND, split, single_ND[train])
    values |= _promises("_examples", labelled, single_ND, split, taught)
    return values | _promises("_views", labelled, mean_ND, split, mean_ND[train])


def _promises(
    suffix: str,
    labelled: LabelledSet,
    rows_ND: Floats,
    split: Split,
    teaching: Floats | TeachingViews,
) -> dict[str, float]:
    """Calibration and coverage of a version that is fitted so, and asked with such rows."""
    train, test = split.train, split.test
    labels, groups = labelled.labels_N[train].tolist(), labelled.groups_N[train].tolist()
    fitted = fit(teaching, labels, groups, encoder_id="report")
    return promises(suffix, fitted, labelled, fitted.head.logits(rows_ND[test]), test)


def _summary(key: Row, by_set: list[list[Draw]]) -> Row:
    row = {**key, **gains(by_set, "single/single", WAYS)}
    for name in (f"{what}{of}" for what in ("ece", "coverage") for of in _PROMISED):
        known = [draw[name] for draws in by_set for draw in draws if name in draw]
        if known:
            row[name] = round(float(np.mean(known)), 3)
    return row


def _with_scans(labelled: LabelledSet, unit_NVD: Floats, split: Split, seed: int) -> Draw:
    pool, test = pool_and_test(labelled, split, seed)
    truth_Q = class_numbers(labelled)[test]
    labels = labelled.labels_N[split.train].tolist()
    groups = labelled.groups_N[split.train].tolist()
    values: Draw = {}
    single_ND, mean_ND = unit_NVD[:, 0], unit_rows(unit_NVD.mean(1))
    taught = TeachingViews(single_ND[split.train], unit_NVD[split.train])
    for rows_ND, teaching, plain, with_scans in (
        (single_ND, single_ND[split.train], "neither", "unlabelled"),
        (mean_ND, mean_ND[split.train], "views", "both"),
        (single_ND, taught, "examples", "examples_both"),
    ):
        scans = UnlabelledScans(rows_ND[pool], labelled.groups_N[pool].tolist())
        for name, unlabelled in ((plain, None), (with_scans, scans)):
            fitted = fit(teaching, labels, groups, encoder_id="report", unlabelled=unlabelled)
            guesses_Q = fitted.head.logits(rows_ND[test]).argmax(1)
            values[name] = accuracy_percent(truth_Q, guesses_Q)
    return values


def through_http(names: list[str], frames: int, draws: int, port: int) -> list[Row]:
    """The three kinds of fits to the same draws, with uploads as examples and as queries."""
    rows = read_manifest(required_shared_folder() / "data" / "manifest.csv")
    draws_of: Draws = {}
    with tempfile.TemporaryDirectory() as scratch, service_process(Path(scratch), port) as service:
        client = PlainClient(service.url, key=service.key, timeout=600)
        for full in read_sets(rows, names):
            bench_set = subsample(full, frames)
            draws_of[full.name, SERVED_SHOTS] = [
                {name: _asked(client, bench_set, split, views) for name, views in FITS.items()}
                for split in (
                    shot_split(bench_set.labelled, SERVED_SHOTS, seed) for seed in range(draws)
                )
            ]
    return [{**key, **gains(by_set, "plain", [*FITS][1:])} for key, by_set in with_means(draws_of)]


def _asked(client: PlainClient, bench_set: EvaluationSet, split: Split, views: object) -> float:
    """Balanced accuracy in percent of a classifier that is fitted and asked through HTTP."""
    labelled = bench_set.labelled
    examples = [
        {"label": str(labelled.labels_N[row]), "subject_id": str(labelled.groups_N[row])}
        for row in split.train
    ]
    images = [bench_set.rows[row].path.read_bytes() for row in split.train]
    client.fit_images("report", images, examples, fields={"views": views})
    test = np.random.default_rng(0).permutation(split.test)[:SERVED_TESTED]
    guesses: list[int] = []
    for start in range(0, len(test), AT_ONCE):
        part = [bench_set.rows[row].path.read_bytes() for row in test[start : start + AT_ONCE]]
        items = client.predict("report", part, nearest=0)["items"]
        guesses += [labelled.classes.index(item["most_probable"]) for item in items]
    client.delete_classifier("report")
    return accuracy_percent(class_numbers(labelled)[test], np.array(guesses))


if __name__ == "__main__":
    main()

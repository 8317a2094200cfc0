"""The order in which examples are sent changes nothing about the version."""

import hashlib

import numpy as np
import pytest

from service.catalog.records import Author, VersionExample
from service.classifiers.examples import Example, Examples, group_of
from service.classifiers.fitting import FitOptions, fitted_version
from service.classifiers.loaded import support_of
from service.fewshot.novelty import MAX_ANCHORS, novelty
from service.fewshot.portable import from_bytes

DIM, PATIENTS, FRAMES = 32, 24, 3


@pytest.mark.parametrize("with_ids", [True, False])
def test_the_order_of_the_examples_changes_neither_report_nor_answers(with_ids: bool) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for p, centre_D in enumerate(rng.normal(size=(PATIENTS, DIM))):
        centre_D[0] += 2 * (p % 2)
        for k in range(FRAMES):
            vector_D = centre_D + 0.4 * rng.normal(size=DIM)
            sha256 = hashlib.sha256(f"{p}-{k}".encode()).hexdigest()
            subject_id = f"s{p}" if with_ids else None
            rows.append(
                Example(
                    (vector_D / np.linalg.norm(vector_D)).astype(np.float32),
                    "ab"[p % 2],
                    group_of(subject_id, None, sha256),
                    sha256,
                    subject_id=subject_id,
                )
            )
    queries_QD = rng.normal(size=(200, DIM)).astype(np.float32)
    reports, answers = [], []
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(rows)).tolist()
        examples = Examples.of([rows[row] for row in order])
        version = fitted_version(examples, FitOptions(), {}, Author(), "e", 0.8)
        reports.append(version.report)
        found = from_bytes(version.artifact).predict(queries_QD, 0.9).rows
        answers.append([(row.label, row.prediction_set) for row in found])
    assert reports[0] == reports[1] == reports[2]
    assert answers[0] == answers[1] == answers[2]


def test_of_very_many_examples_the_same_measure_usual_distances_in_any_order() -> None:
    rng = np.random.default_rng(1)
    count = MAX_ANCHORS + 200
    rows_SD = rng.normal(size=(count, 8)).astype(np.float32)
    groups_S, labels_S = np.arange(count) // 2, np.arange(count) % 2
    order = rng.permutation(count)
    one = novelty(rows_SD, labels_S, groups_S)
    other = novelty(rows_SD[order], labels_S[order], groups_S[order])
    np.testing.assert_allclose(one.usual_M, other.usual_M, atol=1e-6)


def test_of_very_many_examples_the_same_are_kept_for_distances_in_any_order() -> None:
    rng = np.random.default_rng(2)
    count = MAX_ANCHORS + 200
    digests = [hashlib.sha256(b"%d" % row).hexdigest() for row in range(count)]
    rows_ND = rng.normal(size=(count, 8)).astype(np.float32)
    kept = []
    for order in (np.arange(count), rng.permutation(count)):
        # Ids of examples are drawn anew in each fit.
        examples = [
            VersionExample(f"exm_{place}", "a", 0, None, digests[row], None, None, True)
            for place, row in enumerate(order.tolist())
        ]
        support = support_of(examples, rows_ND[order])
        kept.append({example.sha256 for example in support.examples})
    assert len(kept[0]) == MAX_ANCHORS
    assert kept[0] == kept[1]

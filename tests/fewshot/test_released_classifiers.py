"""Exports of a release are read for ever; see tests/fixtures/make_classifier_v1.py."""

import json
from pathlib import Path

import numpy as np
import pytest

from service.fewshot.heldout import OutOfFold
from service.fewshot.portable import from_document

V1 = Path(__file__).parents[1] / "fixtures" / "classifier_v1"
ROWS = np.eye(3, 4, dtype=np.float32)


@pytest.mark.parametrize(
    ("name", "labels", "thresholds"),
    [("single", ("c0", "c1", "c2"), {}), ("multi", ("a", "b"), {"b": 0.25})],
)
def test_a_classifier_of_release_0_1_0_predicts(name, labels, thresholds) -> None:
    document = json.loads((V1 / f"{name}.json").read_text())
    portable = from_document(document, encoder_id="enc_1")
    classifier = portable.classifier
    assert (portable.card, classifier.labels) == ({"name": name}, labels)
    assert classifier.thresholds == thresholds
    rows = classifier.predict(ROWS, 0.8).rows
    expected = {"single": ["c0", "c1", "c2"], "multi": [[], ["a"], ["a", "b"]]}[name]
    if name == "single":
        assert [row.most_probable for row in rows] == expected
    else:
        above = [[o.label for o in row.outputs if o.probability >= o.threshold] for row in rows]
        assert above == expected
    assert all(row.distance is not None for row in rows)


@pytest.mark.parametrize(("name", "heads"), [("single", {None}), ("multi", {"a", "b"})])
def test_the_out_of_fold_scores_of_release_0_1_0_are_read(name, heads) -> None:
    scores = OutOfFold.from_bytes((V1 / f"{name}_out_of_fold.npz").read_bytes())
    assert (scores.heads.keys(), len(scores)) == (heads, 24)
    for head in scores.heads.values():
        assert head.nested.is_scored.all()
        assert len(np.unique(head.nested.groups_N)) == 8

"""Examples are columns: they are joined and chosen without a copy where that is safe."""

import base64

import numpy as np

from service.catalog.records import Author
from service.classifiers.examples import Example, Examples
from service.classifiers.fitting import FitOptions, fitted_version
from service.fewshot.portable import from_bytes

ROWS = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)


def examples_of(rows: np.ndarray, start: int = 0) -> Examples:
    return Examples.of(
        [Example(row, "ab"[n % 2], f"g{n}", f"sha{n}") for n, row in enumerate(rows, start)]
    )


def test_a_single_part_and_all_rows_are_not_copied() -> None:
    whole = examples_of(ROWS)
    assert Examples.joined([whole, Examples.of([])]) is whole
    assert whole.take(range(6)) is whole


def test_parts_and_chosen_rows_keep_their_order_and_all_their_columns() -> None:
    both = Examples.joined([examples_of(ROWS), examples_of(ROWS[:2], 6)])
    np.testing.assert_array_equal(both.embeddings_ND, np.concatenate([ROWS, ROWS[:2]]))
    some = both.take([1, 5, 7])
    np.testing.assert_array_equal(some.embeddings_ND, np.stack([ROWS[1], ROWS[5], ROWS[1]]))
    assert (some.labels, some.groups) == (["b", "b", "b"], ["g1", "g5", "g7"])
    assert some.identities() == ["sha1", "sha5", "sha7"]
    assert len(Examples.joined([])) == 0


def test_a_version_keeps_no_embedding_of_its_examples() -> None:
    examples = Examples.of(
        [
            Example(row, "ab"[n % 2], f"g{n}", f"sha{n}", ("c", f"s{n}"), f"p{n}")
            for n, row in enumerate(ROWS)
        ]
    )
    version = fitted_version(examples, FitOptions(), {}, Author(), "e", 0.9)
    assert len(from_bytes(version.artifact).novelty.anchors_SD) == 0
    for kept in (version.artifact, version.out_of_fold):
        assert all(row.tobytes() not in kept for row in ROWS)
        assert all(base64.b64encode(row.tobytes())[:16] not in kept for row in ROWS)
    assert [example.embedding_D for example in version.examples] == [None] * 6

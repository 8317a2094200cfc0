"""What an index is filled and checked with."""

import numpy as np
import pytest

from service.catalog.ids import content_hash
from service.errors import UnknownItem


def test_marks_tell_rows_apart_and_follow_from_the_files(
    catalog, ours, theirs, add, new_scan
) -> None:
    for n in range(5):
        add(n)
    add(7, workspace_id=theirs)
    row_ids, marks = catalog.content_hashes(ours, "lungs")
    assert row_ids.tolist() == sorted(row_ids.tolist())
    assert marks.dtype == np.uint64
    assert marks.tolist() == [content_hash(new_scan(n).image.sha256) for n in range(5)]
    catalog.delete_collection(ours, "lungs")
    with pytest.raises(UnknownItem):
        catalog.content_hashes(ours, "lungs")


def test_a_digest_of_any_text_has_a_mark() -> None:
    marks = {content_hash(text) for text in ("", "no digest", "ff" * 32, "-2", "ü")}
    assert len(marks) == 5
    assert all(0 <= mark < 2**64 for mark in marks)


def test_vectors_of_rows_skip_what_is_gone_or_of_others(
    catalog, ours, theirs, add, new_scan
) -> None:
    names = [add(n) for n in range(4)]
    add(9, workspace_id=theirs)
    (foreign,), _ = catalog.content_hashes(theirs, "lungs")
    row_ids, _ = catalog.content_hashes(ours, "lungs")
    catalog.erase_scan(ours, "lungs", names[1])
    wanted = [*row_ids.tolist()[::-1], int(foreign), 10**6]
    found, rows = catalog.row_vectors(ours, "lungs", wanted)
    assert found.tolist() == np.delete(row_ids, 1).tolist()
    np.testing.assert_array_equal(rows, [new_scan(n).embedding_D for n in (0, 2, 3)])
    nothing, none = catalog.row_vectors(ours, "lungs", [])
    assert (len(nothing), none.shape) == (0, (0, 8))

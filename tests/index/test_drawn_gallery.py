"""The rows of the search benchmarks, whose exact answers are kept for the next run."""

import numpy as np
from gallery_vectors import BLOCK, drawn_blocks

from tests.index.clustered_rows import clustered


def test_a_longer_gallery_begins_with_a_shorter_one() -> None:
    around = clustered(80)
    (short,) = drawn_blocks(around, 300)
    long = np.concatenate(list(drawn_blocks(around, BLOCK + 50)))
    assert (len(short), len(long)) == (300, BLOCK + 50)
    np.testing.assert_array_equal(long[:300], short)

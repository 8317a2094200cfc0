"""Index files of a release are read for ever; see tests/fixtures/make_index_v1.py."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from service.index.vector_index import EmbeddingIndex
from tests.fixtures.make_index_v1 import DIM, ENCODER_ID, FOLDER, LONG, SHORT, rows_of

IDS = np.arange(1, LONG + SHORT + 1)


@pytest.fixture
def released(tmp_path: Path) -> EmbeddingIndex:
    folder = tmp_path / "index"
    shutil.copytree(FOLDER, folder)  # what is refused is removed
    index = EmbeddingIndex(DIM, ENCODER_ID, folder=folder)
    assert index.open_files(IDS, IDS.astype(np.uint64)) == 0
    return index


def test_an_index_of_release_0_1_0_opens_whole(released: EmbeddingIndex) -> None:
    state = released.state()
    assert (state.rows, state.compressed_rows, state.segments) == (LONG + SHORT, LONG, 2)
    assert released.missing(IDS).tolist() == []


def test_the_only_build_of_an_index_of_release_0_1_0_measures_its_lists(
    released: EmbeddingIndex,
) -> None:
    assert released.wants_build
    assert released.build()
    assert [lists.is_measured for lists in released.state().lists if lists.lists] == [True]
    assert not released.wants_build


@pytest.mark.parametrize("exact", [True, False])
def test_an_index_of_release_0_1_0_finds_its_rows(released: EmbeddingIndex, exact: bool) -> None:
    queries_QD = rows_of(IDS[::50])
    answers = released.search(queries_QD, k=3, encoder_id=ENCODER_ID, exact=exact)
    assert [answer.row_ids_K[0] for answer in answers] == IDS[::50].tolist()
    rows_ND = rows_of(IDS)
    for query_D, answer in zip(queries_QD, answers, strict=True):
        # Stored rows are whole: only the order of summing differs.
        expected_K = rows_ND[answer.row_ids_K - 1] @ query_D
        np.testing.assert_allclose(answer.scores_K, expected_K, atol=1e-6)

"""An index with segments: nothing lost or doubled, searched while built, honest about recall."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from service.index import segment_files
from service.index.compressed import PROBES
from service.index.segment import EXACT_ALLOWED
from service.index.segment_builder import TRIED_PROBES, open_all
from service.index.vector_index import EmbeddingIndex
from tests.index.clustered_rows import (
    built,
    clustered,
    found_ids,
    hashes_of,
    put,
    small_index,
)


@pytest.fixture
def filled(tmp_path: Path) -> tuple[EmbeddingIndex, np.ndarray]:
    rows = clustered(6000)
    index = small_index(tmp_path)
    put(index, np.arange(6000), rows)
    return built(index), rows


def test_a_built_index_finds_what_plain_numpy_finds(filled) -> None:
    index, rows = filled
    queries = clustered(50, seed=1)
    state = index.state()
    assert (state.rows, state.compressed_rows, state.tail_rows) == (6000, 6000, 0)
    truth = np.argsort(-queries @ rows.T, axis=1)[:, :10]
    hits = [len({*t} & {*f}) for t, f in zip(truth, found_ids(index, queries), strict=True)]
    assert np.mean(hits) / 10 >= 0.95
    exact = index.search(queries, k=10, encoder_id="enc_a", exact=True)
    for scores, query, near in zip(np.sort(-queries @ rows.T), queries, exact, strict=True):
        # Rows are whole: only the order of summing differs.
        np.testing.assert_allclose(near.scores_K, -scores[:10], atol=1e-6)
        np.testing.assert_allclose(near.scores_K, rows[near.row_ids_K] @ query, atol=1e-6)


@pytest.mark.parametrize("share", [0.002, 0.01, 0.6])
def test_a_filter_that_lets_few_through_loses_none_of_them(filled, share: float) -> None:
    index, rows = filled
    queries = clustered(20, seed=2)
    allowed = np.random.default_rng(3).choice(6000, int(6000 * share), replace=False)
    expected = np.sort(-queries @ rows[allowed].T, axis=1)[:, :10]
    found = index.search(queries, k=10, encoder_id="enc_a", allowed_ids=allowed)
    for near, scores in zip(found, expected, strict=True):
        np.testing.assert_allclose(near.scores_K, -scores, atol=1e-6)
        assert set(near.row_ids_K.tolist()) <= set(allowed.tolist())


def test_a_filter_that_lets_many_through_is_kept_and_still_finds_enough(tmp_path: Path) -> None:
    """More allowed rows than an exact scan takes: some everywhere, or all of them far away."""
    rows, queries = clustered(30_000), clustered(20, seed=2)
    index = small_index(tmp_path)
    put(index, np.arange(30_000), rows)
    built(index)
    index.remove(np.arange(100))
    everywhere = np.arange(0, 30_000, 4)
    everywhere = np.setdiff1d(np.arange(30_000), everywhere)
    order = np.argsort(queries[0] @ rows.T)
    for allowed in (everywhere, order[:21_000]):
        living = allowed[allowed >= 100]
        truth = np.sort(-queries @ rows[living].T, axis=1)[:, :10]
        found = index.search(queries, k=10, encoder_id="enc_a", allowed_ids=allowed)
        hits = 0
        for near, scores in zip(found, -truth, strict=True):
            assert set(near.row_ids_K.tolist()) <= set(living.tolist())
            assert len(near.row_ids_K) == 10
            hits += int((near.scores_K >= scores[-1] - 1e-6).sum())
        assert hits >= 0.95 * 200


@pytest.mark.parametrize("strays", [0, 0.01])
def test_a_filter_finds_the_nearest_of_its_rows_although_all_lie_far_from_a_query(
    tmp_path: Path, strays: float
) -> None:
    """As the scans of one class do, with or without some wrong labels near the query."""
    rows, queries = clustered(60_000), clustered(40, seed=2)
    index = small_index(tmp_path)
    put(index, np.arange(60_000), rows)
    built(index)
    near_others = (rows @ rows[:100].T).max(1) > 0.6  # of a hundred frames and all like them
    is_stray = np.random.default_rng(3).random(60_000) < strays
    allowed = np.flatnonzero(near_others | is_stray)
    assert EXACT_ALLOWED < len(allowed) < 30_000
    best = np.sort(queries @ rows[allowed].T, axis=1)[:, -10:]
    found = index.search(queries, k=10, encoder_id="enc_a", allowed_ids=allowed)
    pairs = zip(found, best, strict=True)
    hits = [int((near.scores_K >= scores[0] - 1e-6).sum()) for near, scores in pairs]
    assert all(len(near.row_ids_K) == 10 for near in found)
    assert np.mean(hits) >= 9.5
    assert min(hits) >= 7


def test_new_rows_are_found_at_once_and_removed_ones_never_again(filled) -> None:
    index, rows = filled
    fresh = clustered(500, seed=4)
    put(index, np.arange(7000, 7500), fresh)
    assert [ids[0] for ids in found_ids(index, fresh[:20], k=1)] == list(range(7000, 7020))
    gone = np.concatenate([np.arange(0, 6000, 3), np.arange(7000, 7100)])
    assert index.remove(gone) == len(gone)
    assert index.remove(gone) == 0
    for _ in range(2):  # before and after the build that drops them
        found = found_ids(index, np.concatenate([rows[gone[:50]], fresh[:50]]), k=50)
        assert not {i for ids in found for i in ids} & set(gone.tolist())
        assert all(len(ids) == 50 for ids in found)
        assert len(index) == 6500 - len(gone)
        built(index)


def test_a_known_id_is_replaced_in_segments_and_tail(filled) -> None:
    index, rows = filled
    put(index, np.array([5, 6]), -rows[[5, 6]])
    put(index, np.array([6]), rows[[7]])
    assert len(index) == 6000
    assert found_ids(index, -rows[[5]], k=1) == [[5]]
    assert set(found_ids(index, rows[[7]], k=2)[0]) == {6, 7}
    put(index, np.arange(9000, 11000), clustered(2000, seed=5))
    built(index)
    assert index.state().tail_rows == 0
    assert found_ids(index, -rows[[5]], k=1) == [[5]]


def test_many_builds_keep_every_row_once_in_few_segments(tmp_path: Path) -> None:
    index = small_index(tmp_path)
    rows = clustered(20_000)
    for start in range(0, 20_000, 500):
        put(index, np.arange(start, start + 500), rows[start : start + 500])
        built(index)
    state = index.state()
    assert state.rows == 20_000
    assert state.segments <= 5
    everything = found_ids(index, rows[:1], k=20_000, exact=True)[0]
    assert sorted(everything) == list(range(20_000))
    assert len(list(tmp_path.glob("segment-*"))) == state.segments


def test_searches_and_writes_go_on_while_an_index_is_built(tmp_path: Path) -> None:
    index = small_index(tmp_path)
    rows = clustered(6000)
    put(index, np.arange(6000), rows)
    done, wrong = threading.Event(), []

    def build() -> None:
        built(index)
        done.set()

    builder = threading.Thread(target=build)
    builder.start()
    turn = 0
    while not done.is_set():
        row_id = 10_000 + turn
        fresh = clustered(1, seed=row_id)
        put(index, np.array([row_id]), fresh)
        wrong += [] if found_ids(index, fresh, k=1) == [[row_id]] else [row_id]
        index.remove(np.array([turn]))
        if turn in found_ids(index, rows[turn : turn + 1], k=3)[0]:
            wrong.append(turn)
        turn += 1
    builder.join()
    assert not wrong
    assert turn > 1
    living = set(range(turn, 6000)) | set(range(10_000, 10_000 + turn))
    assert set(found_ids(index, rows[:1], k=20_000, exact=True)[0]) == living


def test_recall_is_measured_against_exact_search(filled) -> None:
    index, _ = filled
    assert index.sample_recall() is None  # nobody asked yet
    found_ids(index, clustered(5, seed=8)[:1])
    recall = index.sample_recall()
    assert recall is not None
    assert 0.5 <= recall <= 1
    assert index.sample_recall() is None  # each query is judged once


def test_a_build_stores_how_many_lists_reach_the_wanted_recall(tmp_path: Path) -> None:
    index = small_index(tmp_path)
    put(index, np.arange(3000), clustered(3000))
    built(index)
    folder = next(tmp_path.rglob("segment-*"))
    encoder_id, dim = "enc_a", clustered(1).shape[1]
    manifest = segment_files.verified(folder, encoder_id=encoder_id, dim=dim)
    assert manifest.probes in TRIED_PROBES
    segment_files.put_probes(folder, manifest, 48)
    (reopened,), refused = open_all(folder.parent, encoder_id=encoder_id, dim=dim)
    assert refused == 0
    assert reopened.compressed is not None
    assert reopened.compressed.probes == 48


def test_the_next_build_measures_the_lists_of_a_segment_that_has_the_default(
    tmp_path: Path,
) -> None:
    index, ids, rows_ND = small_index(tmp_path), np.arange(3000), clustered(3000)
    put(index, ids, rows_ND)
    built(index)
    folder = next(tmp_path.rglob("segment-*"))
    manifest = segment_files.verified(folder, encoder_id="enc_a", dim=rows_ND.shape[1])
    segment_files.write_manifest(folder, replace(manifest, probes=None))  # as 0.1.0 wrote it
    reopened = small_index(tmp_path)
    reopened.open_files(ids, hashes_of(ids))
    (before,) = reopened.state().lists
    assert (before.lists > 0, before.probed, before.is_measured) == (True, PROBES, False)
    built(reopened)
    (after,) = reopened.state().lists
    assert after.is_measured
    assert after.probed in TRIED_PROBES
    assert not reopened.wants_build


def test_a_segment_of_release_0_1_0_searches_the_default_number_of_lists() -> None:
    fields = {"encoder_id": "e", "dim": 4, "rows": 1, "format_version": 1}
    fields["files"] = dict.fromkeys(("rows.f32", "ids.i64", "hashes.u64"), "")
    document = {"segment": fields, "sha256": segment_files._digest_of(fields)}
    assert segment_files._parsed(document).probes is None

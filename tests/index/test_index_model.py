"""After any sequence of adding, removing, building and reopening the index agrees with a dict."""

from pathlib import Path

import numpy as np
import pytest

from service.index.vector_index import EmbeddingIndex
from tests.index.clustered_rows import DIM, clustered, found_ids, hashes_of, put

POOL = clustered(4000, seed=77)


def fresh_index(folder: Path) -> EmbeddingIndex:
    return EmbeddingIndex(DIM, "enc_a", folder=folder, exact_rows=600, tail_rows=200)


def restarted(folder: Path, model: dict[int, int]) -> EmbeddingIndex:
    """As after a kill: files, and from the catalog what they lack."""
    ids = np.array(sorted(model), np.int64)
    index = fresh_index(folder)
    # A row is marked by what it holds, as a scan is by the digest of its file.
    hashes = hashes_of(np.array([model[i] for i in ids.tolist()], np.int64))
    index.open_files(ids, hashes)
    missing = index.missing(ids)
    rows = POOL[[model[i] for i in missing.tolist()]]
    index.fill(iter([(missing, hashes[np.searchsorted(ids, missing)], rows)]), len(missing))
    return index


@pytest.mark.parametrize("seed", range(4))
def test_an_index_holds_what_a_dict_would_hold(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    index, model = fresh_index(tmp_path), dict[int, int]()
    for _ in range(60):
        act = rng.choice(["add", "add", "remove", "build", "purge", "start"])
        ids = np.unique(rng.integers(0, 3000, int(rng.integers(1, 300))))
        if act == "add":
            content = rng.integers(0, len(POOL), len(ids))
            index.add(ids, POOL[content], encoder_id="enc_a", hashes_N=hashes_of(content))
            model |= dict(zip(ids.tolist(), content.tolist(), strict=True))
        elif act in ("remove", "purge"):
            gone = index.remove(ids, purge=act == "purge")
            assert gone == len([model.pop(i) for i in ids.tolist() if i in model])
        elif act == "build":
            index.build()
        else:
            index = restarted(tmp_path, model)
        assert len(index) == len(model)
    assert_holds(index, model)
    put_in_order = np.array(sorted(model), np.int64)
    put(index, put_in_order[:5], POOL[[model[i] for i in put_in_order[:5].tolist()]])
    assert_holds(index, model)


def assert_holds(index: EmbeddingIndex, model: dict[int, int]) -> None:
    query = clustered(1, seed=5)
    (near,) = index.search(query, k=len(model) + 10, encoder_id="enc_a", exact=True)
    assert sorted(near.row_ids_K.tolist()) == sorted(model)
    expected = POOL[[model[i] for i in near.row_ids_K.tolist()]] @ query[0]
    np.testing.assert_allclose(near.scores_K, expected, atol=2e-4)
    some = sorted(model)[::50]
    best = found_ids(index, POOL[[model[i] for i in some]], k=5)
    for row_id, ids in zip(some, best, strict=True):
        assert model[row_id] in {model[i] for i in ids}

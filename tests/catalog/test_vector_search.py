"""What every vector search promises, whatever its engine; beside each stands plain NumPy.

An engine is a catalog and a way to open searches over it. Add a new one to ``ENGINES``.
"""

import functools
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

from service.catalog.filter_records import ScanFilter
from service.catalog.ids import content_hash
from service.catalog.interface import Catalog
from service.catalog.records import NewScan, ScanImage, StoredScan
from service.catalog.sqlite.sqlite_catalog import open_catalog
from service.catalog.vector_search import IndexedRows, NearestRows, VectorSearch
from service.errors import EncoderMismatch, InputError, UnknownItem
from service.gallery.embedded_search import EmbeddedSearch

DIM, ENCODER = 32, "enc_1"
NEW_DIM, NEW_ENCODER = 16, "enc_2"
EXACT_ROWS, MANY_ROWS = 1000, 2500
EVERYTHING = ScanFilter()
SHARES = {"all": 1, "half": 2, "tenth": 10, "rare": 100}  # every n-th scan has the attribute


class OpensSearch(Protocol):
    def __call__(self, *, encoder_id: str = ENCODER, dim: int = DIM) -> VectorSearch: ...


@dataclass
class Engine:
    """``open_search`` opens another search over the catalog; all are closed at the end.

    More than EXACT_ROWS scans may be searched approximately, and recall is measured all the time.
    """

    catalog: Catalog
    open_search: OpensSearch


@contextmanager
def embedded(_: pytest.FixtureRequest, folder: Path) -> Iterator[Engine]:
    with ExitStack() as stack:
        catalog = open_catalog(folder)
        stack.callback(catalog.close)

        def open_search(*, encoder_id: str = ENCODER, dim: int = DIM) -> VectorSearch:
            search = EmbeddedSearch(
                catalog,
                encoder_id=encoder_id,
                dim=dim,
                folder=folder / encoder_id,
                exact_rows=EXACT_ROWS,
                recall_every_s=0.05,
            )
            stack.callback(search.close)
            search.open()
            return search

        yield Engine(catalog, open_search)


@contextmanager
def postgres(request: pytest.FixtureRequest, folder: Path) -> Iterator[Engine]:
    from postgres_process import SERVICE_ROLE

    from service.catalog.postgres.postgres_catalog import open_postgres
    from service.catalog.postgres.search.postgres_search import PostgresSearch

    with ExitStack() as stack:
        server = request.getfixturevalue("postgres_server")
        name = server.create_database()
        stack.callback(server.drop_database, name)
        catalog = open_postgres(server.url(name, role=SERVICE_ROLE))
        stack.callback(catalog.close)

        def open_search(*, encoder_id: str = ENCODER, dim: int = DIM) -> VectorSearch:
            search = PostgresSearch(
                catalog.database,
                encoder_id=encoder_id,
                dim=dim,
                exact_rows=EXACT_ROWS,
                build_memory_mb=32,
                recall_every_s=0.05,
                pause_s=0.01,
            )
            stack.callback(search.close)
            search.open()
            return search

        yield Engine(catalog, open_search)


ENGINES: list = [
    pytest.param(embedded, id="embedded"),
    pytest.param(postgres, id="postgres", marks=pytest.mark.postgres),
]
# The request gives an engine the fixtures of a server that it needs.
StartsEngine = Callable[[pytest.FixtureRequest, Path], AbstractContextManager[Engine]]


@functools.cache
def vector(n: int, dim: int = DIM) -> np.ndarray:
    """Clustered as embeddings are."""
    row_D = np.random.default_rng(n % 50).normal(size=dim)
    row_D = row_D + 0.5 * np.random.default_rng(1000 + n).normal(size=dim)
    return (row_D / np.linalg.norm(row_D)).astype(np.float32)


def scan(n: int) -> NewScan:
    digest = hashlib.sha256(b"%d" % n).hexdigest()
    image = ScanImage(digest, "image", "png", 8, 8, digest)
    shares = {name: n % every == 0 for name, every in SHARES.items()}
    fields = {"subject_id": f"p{n % 100}", "attributes": shares, "image_png": b"png %d" % n}
    return NewScan(f"s{n}", image, vector(n), b"jpeg", **fields)


def having(share: str) -> ScanFilter:
    return ScanFilter(attributes={share: (True,)})


class Stocked:
    """One collection that is written and searched, and what it must hold: {row id: n}."""

    def __init__(self, engine: Engine, search: VectorSearch, workspace: str, name: str) -> None:
        self.catalog, self.search, self.name = engine.catalog, search, name
        self.workspace_id = engine.catalog.ensure_workspace(workspace).workspace_id
        self.rows: dict[int, int] = {}
        self.create()

    def create(self) -> None:
        self.catalog.create_collection(
            self.workspace_id, self.name, encoder_id=ENCODER, dim=DIM, keep_images=True
        )

    def store(self, numbers: Sequence[int]) -> None:
        scans = [scan(n) for n in numbers]
        with self.search.writing():
            stored = self.catalog.add_scans(self.workspace_id, self.name, scans, encoder_id=ENCODER)
            ids = [answer.scan.row_id for answer in stored if isinstance(answer, StoredScan)]
            assert len(ids) == len(scans)
            hashes = [content_hash(one.image.sha256) for one in scans]
            rows = IndexedRows(
                np.array(ids, np.int64),
                np.array(hashes, np.uint64),
                np.stack([one.embedding_D for one in scans]),
            )
            self.search.add(self.workspace_id, self.name, rows)
        self.search.wake()
        self.rows |= dict(zip(ids, numbers, strict=True))

    def erase_scan(self, row_id: int) -> None:
        with self.search.writing():
            self.catalog.erase_scan(self.workspace_id, self.name, f"s{self.rows.pop(row_id)}")
            self._unindex([row_id])

    def erase_subject(self, subject_id: str) -> list[int]:
        with self.search.writing():
            receipt = self.catalog.erase_subject(self.workspace_id, subject_id)
            gone = [row_id for name, row_id in receipt.row_ids if name == self.name]
            self._unindex(gone)
        for row_id in gone:
            del self.rows[row_id]
        return gone

    def _unindex(self, row_ids: list[int]) -> None:
        self.search.remove(self.workspace_id, self.name, np.array(row_ids, np.int64))
        self.search.wake()

    def passing(self, share: str) -> list[int]:
        return [row_id for row_id, n in self.rows.items() if n % SHARES[share] == 0]

    def nearest(self, n: int, k: int = 10, where: ScanFilter = EVERYTHING) -> NearestRows:
        return self.search.search(self.workspace_id, self.name, vector(n), k=k, where=where)

    def assert_exact(self, found: NearestRows, n: int, k: int, share: str = "all") -> None:
        ids = np.array(self.passing(share), np.int64)
        scores = np.stack([vector(self.rows[i]) for i in ids.tolist()]) @ vector(n)
        order = np.lexsort((ids, -scores))[:k]
        np.testing.assert_array_equal(found.row_ids_K, ids[order])
        np.testing.assert_allclose(found.scores_K, scores[order], atol=1e-6)  # float32 sums

    @property
    def statistics(self):
        return self.search.statistics(self.workspace_id, self.name)


def until(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    start: StartsEngine = request.param
    with start(request, tmp_path / "data") as running:
        yield running


@pytest.fixture
def fresh(engine: Engine) -> Stocked:
    """A small collection that tests may change."""
    stocked = Stocked(engine, engine.open_search(), "ours", "c")
    stocked.store(range(60))
    return stocked


@pytest.fixture(scope="module", params=ENGINES)
def few(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """300 scans, below the limit of exact search. Tests only read it."""
    start: StartsEngine = request.param
    with start(request, tmp_path_factory.mktemp("few") / "data") as engine:
        stocked = Stocked(engine, engine.open_search(), "ours", "c")
        stocked.store(range(300))
        yield stocked


@pytest.fixture(scope="module", params=ENGINES)
def many(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """A collection above the limit, most of it searched approximately. Tests change it."""
    start: StartsEngine = request.param
    with start(request, tmp_path_factory.mktemp("many") / "data") as engine:
        stocked = Stocked(engine, engine.open_search(), "ours", "c")
        for first in range(0, MANY_ROWS, 500):
            stocked.store(range(first, first + 500))
        until(lambda: stocked.statistics.state.compressed_rows > EXACT_ROWS)
        yield stocked


# small collections ------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 10, 300, 1000])
def test_a_small_collection_is_searched_exactly(few: Stocked, k: int) -> None:
    for n in (0, 7, 999):
        few.assert_exact(few.nearest(n, k), n, k)


def test_a_small_collection_is_searched_exactly_under_filters(few: Stocked) -> None:
    for share in SHARES:
        few.assert_exact(few.nearest(7, 40, having(share)), 7, 40, share)
    nobody = few.nearest(7, 40, ScanFilter(subject_ids=("nobody",)))
    assert (len(nobody.row_ids_K), len(nobody.scores_K)) == (0, 0)


def test_types_are_the_same_whether_or_not_something_is_found(few: Stocked) -> None:
    for where in (EVERYTHING, ScanFilter(subject_ids=("nobody",))):
        found = few.nearest(7, where=where)
        assert (found.row_ids_K.dtype, found.scores_K.dtype) == (np.int64, np.float32)


def test_of_equal_scores_the_older_row_comes_first(fresh: Stocked) -> None:
    with fresh.search.writing():
        twins = [
            NewScan(f"twin{n}", scan(900 + n).image, vector(7), b"jpeg", subject_id=f"t{n}")
            for n in range(3)
        ]
        fresh.catalog.add_scans(fresh.workspace_id, "c", twins, encoder_id=ENCODER)
        row_ids_N, hashes_N = fresh.catalog.content_hashes(fresh.workspace_id, "c")
        rows_ND = np.stack([vector(7)] * 3)
        rows = IndexedRows(row_ids_N[-3:], hashes_N[-3:], rows_ND)
        fresh.search.add(fresh.workspace_id, "c", rows)
    assert fresh.nearest(7, 4).row_ids_K.tolist() == [
        next(row_id for row_id, n in fresh.rows.items() if n == 7),
        *row_ids_N[-3:].tolist(),
    ]


def test_the_length_of_a_query_does_not_matter(few: Stocked) -> None:
    for length in (0.01, 30.0):
        query_D = vector(7) * np.float32(length)
        found = few.search.search(few.workspace_id, "c", query_D, k=10, where=EVERYTHING)
        few.assert_exact(found, 7, 10)


def test_a_longer_answer_of_the_same_ranking_goes_on_where_the_shorter_ended(few: Stocked) -> None:
    for share in ("all", "tenth"):
        ranking = few.search.ranking(few.workspace_id, "c", vector(3), where=having(share))
        for k in (5, 20, 80):
            few.assert_exact(ranking(k), 3, k, share)


def test_what_is_stored_or_erased_is_known_to_the_next_search(fresh: Stocked) -> None:
    fresh.store(range(100, 130))
    fresh.assert_exact(fresh.nearest(111), 111, 10)
    fresh.erase_scan(int(fresh.nearest(111).row_ids_K[0]))
    fresh.assert_exact(fresh.nearest(111), 111, 10)
    gone = fresh.erase_subject("p5")
    assert len(gone) == 2  # 5 and 105
    fresh.assert_exact(fresh.nearest(105, 400), 105, 400)


def test_a_removal_of_rows_that_are_not_there_changes_nothing(few: Stocked) -> None:
    few.search.remove(few.workspace_id, "c", np.array([10**9], np.int64))
    few.search.remove(few.workspace_id, "missing", np.array([1], np.int64))
    few.assert_exact(few.nearest(7), 7, 10)


def test_workspaces_with_collections_of_one_name_do_not_see_each_other(
    engine: Engine, fresh: Stocked
) -> None:
    theirs = Stocked(engine, fresh.search, "theirs", "c")
    assert len(theirs.nearest(7).row_ids_K) == 0
    theirs.store(range(300, 310))
    theirs.assert_exact(theirs.nearest(7, 400), 7, 400)
    fresh.assert_exact(fresh.nearest(7, 400), 7, 400)
    assert theirs.statistics.index_id != fresh.statistics.index_id


@pytest.mark.parametrize(
    ("query_D", "k"),
    [
        (vector(1, dim=DIM - 1), 10),
        (np.zeros(DIM, np.float32), 10),
        (np.full(DIM, np.nan, np.float32), 10),
        (vector(1), 0),
    ],
    ids=["width", "zero", "not finite", "k"],
)
def test_a_query_that_is_not_valid_is_refused(few: Stocked, query_D: np.ndarray, k: int) -> None:
    with pytest.raises(InputError):
        few.search.search(few.workspace_id, "c", query_D, k=k, where=EVERYTHING)


def test_an_unknown_collection_is_refused(few: Stocked) -> None:
    for where in (EVERYTHING, having("half")):
        for workspace_id, name in ((few.workspace_id, "missing"), ("ws_missing", "c")):
            with pytest.raises(UnknownItem):
                few.search.search(workspace_id, name, vector(1), k=1, where=where)


def test_a_deleted_collection_is_gone_and_its_name_starts_empty(fresh: Stocked) -> None:
    with fresh.search.writing():
        fresh.catalog.delete_collection(fresh.workspace_id, "c")
        fresh.search.drop(fresh.workspace_id, "c")
    fresh.rows.clear()
    with pytest.raises(UnknownItem):
        fresh.nearest(7)
    assert fresh.statistics.state.rows == 0
    fresh.create()
    assert len(fresh.nearest(7).row_ids_K) == 0
    fresh.store(range(20))
    fresh.assert_exact(fresh.nearest(7), 7, 10)


def test_a_search_opened_later_finds_everything(engine: Engine, fresh: Stocked) -> None:
    fresh.search.close()
    fresh.search = engine.open_search()
    fresh.assert_exact(fresh.nearest(7, 400), 7, 400)
    assert fresh.search.open() == 60


# encoders ---------------------------------------------------------------------------------


@pytest.fixture
def moving(engine: Engine) -> Stocked:
    """A collection whose scans have staged vectors of the new encoder, which searches."""
    before = engine.open_search()
    stocked = Stocked(engine, before, "ours", "c")
    stocked.store(range(40))
    before.close()
    catalog, workspace_id = stocked.catalog, stocked.workspace_id
    catalog.begin_reembedding(workspace_id, "c", encoder_id=NEW_ENCODER, dim=NEW_DIM)
    images = catalog.images_to_embed(workspace_id, "c", limit=100)
    staged = np.stack([vector(int(png.split()[1]), NEW_DIM) for _, png in images])
    catalog.stage_vectors(workspace_id, "c", [row_id for row_id, _ in images], staged)
    stocked.search = engine.open_search(encoder_id=NEW_ENCODER, dim=NEW_DIM)
    return stocked


def nearest_new(stocked: Stocked, n: int) -> list[int]:
    query_D = vector(n, NEW_DIM)
    found = stocked.search.search(stocked.workspace_id, "c", query_D, k=5, where=EVERYTHING)
    return [stocked.rows[row_id] for row_id in found.row_ids_K.tolist()]


def expected_new(n: int) -> list[int]:
    scores = {m: float(vector(m, NEW_DIM) @ vector(n, NEW_DIM)) for m in range(40)}
    return sorted(scores, key=lambda m: -scores[m])[:5]


def switch(stocked: Stocked) -> None:
    with stocked.search.exchange(stocked.workspace_id, "c"):
        stocked.catalog.switch_reembedding(stocked.workspace_id, "c")


def test_the_collection_of_another_encoder_is_refused_until_its_vectors_are_exchanged(
    moving: Stocked,
) -> None:
    with pytest.raises(EncoderMismatch):
        nearest_new(moving, 7)
    switch(moving)
    assert nearest_new(moving, 7) == expected_new(7)
    assert moving.statistics.state.rows == 40
    switch(moving)
    with pytest.raises(EncoderMismatch):
        nearest_new(moving, 7)
    assert moving.statistics.state.rows == 0


def test_a_search_beside_an_exchange_sees_all_vectors_or_none(moving: Stocked) -> None:
    with ThreadPoolExecutor(1) as pool:
        with moving.search.exchange(moving.workspace_id, "c"):
            beside = pool.submit(nearest_new, moving, 7)
            moving.catalog.switch_reembedding(moving.workspace_id, "c")
        refusal = beside.exception(timeout=60)
    assert isinstance(refusal, EncoderMismatch) or beside.result() == expected_new(7)


def test_an_exchange_that_fails_leaves_the_old_vectors(moving: Stocked) -> None:
    switch(moving)

    class BlockFailed(Exception):
        pass

    with pytest.raises(BlockFailed), moving.search.exchange(moving.workspace_id, "c"):
        raise BlockFailed
    assert nearest_new(moving, 7) == expected_new(7)


# large collections ------------------------------------------------------------------------


def test_approximate_answers_are_whole_near_and_exactly_scored(many: Stocked) -> None:
    hits = 0
    for n in range(0, 1000, 50):
        found = many.nearest(n)
        assert len(found.row_ids_K) == 10
        scores = [vector(many.rows[row_id]) @ vector(n) for row_id in found.row_ids_K.tolist()]
        np.testing.assert_allclose(found.scores_K, scores, atol=1e-6)  # float32 sums
        assert np.all(np.diff(found.scores_K) <= 0)
        best = sorted((vector(m) @ vector(n) for m in many.rows.values()), reverse=True)
        hits += int(np.count_nonzero(found.scores_K >= best[9] - 1e-6))
    assert hits >= 0.95 * 200


def test_a_filter_of_one_percent_is_exact_above_the_limit(many: Stocked) -> None:
    for n in range(0, 500, 50):
        many.assert_exact(many.nearest(n, 10, having("rare")), n, 10, "rare")


@pytest.mark.parametrize("patients", [1, 3, 40])
def test_the_scans_of_left_out_patients_are_missing_and_no_others(
    many: Stocked, patients: int
) -> None:
    """40 patients have more scans than are found beside the hits."""
    hits = 0
    for n in range(0, 1000, 50):
        names = tuple(f"p{(n + other) % 100}" for other in range(patients))
        where = ScanFilter(not_subject_ids=names, not_study_ids=("none",))
        found = many.nearest(n, 10, where)
        others = {row for row, m in many.rows.items() if f"p{m % 100}" not in names}
        assert len(set(found.row_ids_K.tolist()) & others) == 10
        best = sorted((vector(many.rows[row]) @ vector(n) for row in others), reverse=True)
        hits += int(np.count_nonzero(found.scores_K >= best[9] - 1e-6))
        everybody = many.nearest(n, len(others) + 100, where).row_ids_K.tolist()
        assert sorted(everybody) == sorted(others)
    assert hits >= 0.95 * 200


@pytest.mark.parametrize("share", SHARES)
def test_no_filter_makes_an_answer_short(many: Stocked, share: str) -> None:
    passing = set(many.passing(share))
    for k in (1, 10, 400, MANY_ROWS + 500):
        found = many.nearest(11, k, having(share)).row_ids_K.tolist()
        assert len(found) == len(set(found)) == min(k, len(passing))
        assert set(found) <= passing


def test_a_large_collection_follows_its_writes_at_once(many: Stocked) -> None:
    many.store(range(5000, 5040))
    assert many.rows[int(many.nearest(5007).row_ids_K[0])] == 5007
    gone = many.erase_subject("p17")
    assert len(gone) >= 25
    first = int(many.nearest(1234).row_ids_K[0])
    many.erase_scan(first)
    everything = many.nearest(1234, MANY_ROWS + 500).row_ids_K.tolist()
    assert sorted(everything) == sorted(many.rows)
    assert not {first, *gone} & set(everything)


def test_recall_of_real_searches_is_measured_beside_them(many: Stocked) -> None:
    for n in range(5):
        many.nearest(n)
    until(lambda: many.statistics.recall_samples > 0)
    recall = many.statistics.recall
    assert recall is not None
    assert 0.9 <= recall <= 1


def test_statistics_count_every_row_once(many: Stocked) -> None:
    state = many.statistics.state
    assert state.rows == len(many.rows)
    assert 0 < state.compressed_rows <= state.rows
    assert 0 <= state.tail_rows < state.rows
    by_id = {figures.index_id: figures for figures in many.search.all_statistics()}
    assert by_id[many.statistics.index_id].state.rows == len(many.rows)
    assert many.search.statistics(many.workspace_id, "missing").state.rows == 0

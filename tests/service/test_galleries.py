"""Gallery over a real catalog: the index follows it, whatever became of its files."""

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pytest

from service.arrays import unit_rows
from service.catalog.records import NewScan, ScanImage
from service.catalog.sqlite.sqlite_catalog import SqliteCatalog, open_catalog
from service.gallery.embedded_search import EmbeddedSearch
from service.gallery.gallery import Gallery
from service.gallery.gallery_records import IndexStatistics, QueryExample, SearchRequest

DIM, ROWS, ENCODER = 32, 2500, "enc_a"


def vector(n: int) -> np.ndarray:
    row = np.random.default_rng(n % 50).normal(size=DIM)
    row = row + 0.5 * np.random.default_rng(1000 + n).normal(size=DIM)
    return (row / np.linalg.norm(row)).astype(np.float32)


def scan(n: int) -> NewScan:
    digest = hashlib.sha256(b"%d" % n).hexdigest()
    image = ScanImage(digest, "frame", "png", 8, 8, digest)
    return NewScan(f"s{n}", image, vector(n), b"jpeg", subject_id=f"p{n % 100}")


class House:
    """One data folder; ``open`` is a start of the service, after a kill if not closed before."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.catalog: SqliteCatalog = open_catalog(folder)
        stack.callback(self.catalog.close)
        self._stack = stack
        self.workspace_id = self.catalog.ensure_workspace("w").workspace_id

    def open(self, *, recall_every_s: float = 60.0) -> Gallery:
        search = EmbeddedSearch(
            self.catalog,
            encoder_id=ENCODER,
            dim=DIM,
            folder=self.folder / "index",
            exact_rows=1000,
            recall_every_s=recall_every_s,
        )
        found = Gallery(self.catalog, search)
        self._stack.callback(found.close)
        found.open()
        return found

    def hits(self, gallery: Gallery, n: int, k: int = 5) -> list[str]:
        request = SearchRequest(("c",), (QueryExample(embedding_D=vector(n)),), k=k)
        hits = gallery.search(self.workspace_id, request)
        return [hit.scan.scan_id for hit in hits]

    def compressed(self, gallery: Gallery) -> int:
        return self.statistics(gallery).state.compressed_rows

    def statistics(self, gallery: Gallery) -> IndexStatistics:
        collection = gallery.get(self.workspace_id, "c")
        statistics = gallery.statistics(self.workspace_id, collection)
        assert statistics is not None
        return statistics


def until(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with ROWS scans and a built index; tests take copies."""
    folder = tmp_path_factory.mktemp("stocked")
    with ExitStack() as stack:
        house = House(folder, stack)
        gallery = house.open()
        gallery.create(house.workspace_id, "c", "")
        gallery.store(house.workspace_id, "c", [scan(n) for n in range(ROWS)])
        until(lambda: house.compressed(gallery) == ROWS)
    return folder


@pytest.fixture
def house(stocked: Path, tmp_path: Path) -> Iterator[House]:
    folder = tmp_path / "data"
    shutil.copytree(stocked, folder)
    with ExitStack() as stack:
        yield House(folder, stack)


def test_a_restart_searches_from_the_files_at_once(house: House) -> None:
    gallery = house.open()
    assert house.compressed(gallery) == ROWS
    assert [house.hits(gallery, n, 1) for n in range(20)] == [[f"s{n}"] for n in range(20)]


@pytest.mark.parametrize("loss", ["deleted", "damaged"])
def test_lost_files_cost_nothing_but_time(house: House, loss: str) -> None:
    if loss == "deleted":
        shutil.rmtree(house.folder / "index")
    else:
        (rows,) = (house.folder / "index").rglob("rows.f32")
        data = bytearray(rows.read_bytes())
        data[7] ^= 4
        rows.write_bytes(data)
    gallery = house.open()
    assert [house.hits(gallery, n, 1) for n in range(20)] == [[f"s{n}"] for n in range(20)]
    until(lambda: house.compressed(gallery) == ROWS)


def test_what_was_written_after_the_files_is_there_after_a_kill(house: House) -> None:
    before = house.open()
    before.store(house.workspace_id, "c", [scan(n) for n in range(ROWS, ROWS + 30)])
    before.remove(house.workspace_id, "c", "s3", if_version=None)
    before.erase_subject(house.workspace_id, "p4")
    after = house.open()  # nothing was closed
    assert house.hits(after, ROWS + 7, 1) == [f"s{ROWS + 7}"]
    gone = {"s3"} | {f"s{n}" for n in range(4, ROWS + 30, 100)}
    everything = set(house.hits(after, 3, ROWS + 100))
    assert everything == {f"s{n}" for n in range(ROWS + 30)} - gone


@pytest.mark.parametrize("by_service", [True, False], ids=["service", "command"])
def test_what_was_erased_before_a_start_leaves_the_files_after_it(
    house: House, by_service: bool
) -> None:
    row = unit_rows(vector(3)[None]).tobytes()

    def segments() -> list[Path]:
        # Not rglob: it fails where a folder is replaced while it is looked through.
        found = os.walk(house.folder / "index")
        return sorted(Path(folder, "rows.f32") for folder, _, files in found if "rows.f32" in files)

    def is_held() -> bool:
        for file in segments():
            with suppress(FileNotFoundError):  # just replaced
                if row in file.read_bytes():
                    return True
        return False

    if by_service:
        before = house.open()
        before.close()  # no build runs any more, as after a kill
        before.erase_subject(house.workspace_id, "p3")
    else:
        house.catalog.erase_subject(house.workspace_id, "p3")
    assert is_held()
    after = house.open()
    until(lambda: not is_held())
    after.close()
    rewritten = segments()
    again = house.open(recall_every_s=0.01)
    house.hits(again, 4, 1)
    until(lambda: house.statistics(again).recall_samples > 0)  # only where nothing is to build
    assert segments() == rewritten


def test_a_collection_made_again_under_its_old_name_starts_empty(house: House) -> None:
    gallery = house.open()
    gallery.delete(house.workspace_id, "c", if_version=None)
    assert not list((house.folder / "index").rglob("rows.f32"))
    gallery.create(house.workspace_id, "c", "")
    assert house.hits(gallery, 1) == []
    gallery.store(house.workspace_id, "c", [scan(1)])
    assert house.hits(gallery, 1) == ["s1"]


def test_a_search_does_not_wait_for_a_write(house: House) -> None:
    gallery = house.open()
    writing = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        with house.catalog._database.write():  # the disk is slow: a write of ours waits for it
            add = pool.submit(
                lambda: (writing.set(), gallery.store(house.workspace_id, "c", [scan(9999)]))
            )
            assert writing.wait(10)
            search = pool.submit(house.hits, gallery, 5, 1)
            assert search.result(30) == ["s5"]
            assert not add.done()
        add.result(30)
    assert house.hits(gallery, 9999, 1) == ["s9999"]


def test_writers_and_readers_at_once_never_miss_what_was_acknowledged(house: House) -> None:
    gallery = house.open()

    def work(worker: int) -> list[str]:
        wrong = []
        for turn in range(15):
            n = 10_000 + 100 * worker + turn
            gallery.store(house.workspace_id, "c", [scan(n)])
            wrong += [] if house.hits(gallery, n, 1) == [f"s{n}"] else [f"s{n}"]
            gallery.remove(house.workspace_id, "c", f"s{n}", if_version=None)
            wrong += [f"s{n}"] if f"s{n}" in house.hits(gallery, n, 3) else []
        return wrong

    with ThreadPoolExecutor(8) as pool:
        assert [wrong for found in pool.map(work, range(8)) for wrong in found] == []
    assert set(house.hits(gallery, 0, 2 * ROWS)) == {f"s{n}" for n in range(ROWS)}


def test_recall_of_real_searches_is_measured_in_the_background(house: House) -> None:
    gallery = house.open(recall_every_s=0.02)
    for n in range(10):
        house.hits(gallery, 20_000 + n, 10)
    until(lambda: house.statistics(gallery).recall_samples >= 5)
    recall = house.statistics(gallery).recall
    assert recall is not None
    assert 0.9 <= recall <= 1

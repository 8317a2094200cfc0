"""A power cut, as the disk would show it: the file of the last checkpoint and a log cut anywhere.

With ``synchronous=FULL`` the log is on disk up to its last commit when a write is acknowledged
(a test of durability holds that setting); behind that a disk may hold anything.
"""

import random
import shutil

import pytest

from service.catalog.filter_records import ScanFilter
from service.catalog.records import ScanPatch
from service.catalog.sqlite.inspection import inspect
from service.catalog.sqlite.sqlite_catalog import open_catalog

pytestmark = pytest.mark.sqlite

EVERYTHING = ScanFilter()
FILES = ("catalog.sqlite", "catalog.sqlite-wal")


def state_of(catalog, ours):
    page = catalog.list_scans(ours, "lungs", where=EVERYTHING, limit=1000)
    return {scan.scan_id: (scan.version, dict(scan.labels)) for scan in page.items}


@pytest.fixture
def history(catalog, ours, folder, add):
    """(bytes of the log, state) after each acknowledged write, the log never folded in."""
    rng = random.Random(3)
    sizes = []
    for n in range(60):
        state = state_of(catalog, ours)
        what = rng.random()
        if not state or what < 0.5:
            add(n, subject_id=f"p{n}")
        elif what < 0.8:
            chosen = rng.choice(sorted(state))
            catalog.patch_scan(ours, "lungs", chosen, ScanPatch(labels={f"n{n}": "x"}))
        else:
            with catalog._database.write() as connection:  # an erasure would fold the log in
                sql = "DELETE FROM scans WHERE scan_id = ?"
                connection.execute(sql, (rng.choice(sorted(state)),))
        size = (folder / FILES[1]).stat().st_size
        sizes.append((size, state_of(catalog, ours)))
    assert [size for size, _ in sizes] == sorted({size for size, _ in sizes})
    return sizes


def after_the_cut(folder, to, size, tail):
    to.mkdir()
    shutil.copyfile(folder / FILES[0], to / FILES[0])
    (to / FILES[1]).write_bytes((folder / FILES[1]).read_bytes()[:size] + tail)
    return open_catalog(to)


def test_a_log_that_was_cut_anywhere_gives_exactly_the_writes_before_the_cut(
    folder, history, tmp_path, ours
):
    rng = random.Random(4)
    first = history[0][0]
    for number in range(40):
        cut = rng.randint(first, history[-1][0])
        tail = rng.randbytes(rng.choice([0, 1, 24, 4096, 9000]))
        survivor = after_the_cut(folder, tmp_path / str(number), cut, tail)
        expected = [state for size, state in history if size <= cut][-1]
        assert state_of(survivor, ours) == expected
        survivor.close()


def test_a_flipped_bit_in_the_log_ends_it_there_and_damages_nothing(
    folder, history, tmp_path, ours
):
    rng = random.Random(5)
    whole = (folder / FILES[1]).read_bytes()
    for number in range(20):
        place = rng.randrange(history[0][0], len(whole))
        damaged = bytearray(whole)
        damaged[place] ^= 1 << rng.randrange(8)
        to = tmp_path / str(number)
        to.mkdir()
        shutil.copyfile(folder / FILES[0], to / FILES[0])
        (to / FILES[1]).write_bytes(damaged)
        survivor = open_catalog(to)
        found = state_of(survivor, ours)
        survivor.close()
        assert found == [state for size, state in history if size <= place][-1]
        assert not set(inspect(to / FILES[0]).findings) & {"damaged_page", "missing_vector"}


def test_a_catalog_goes_on_after_a_cut(folder, history, tmp_path, ours, new_scan):
    survivor = after_the_cut(folder, tmp_path / "cut", history[30][0] + 100, b"\xa5" * 50)
    survivor.add_scans(ours, "lungs", [new_scan(999, scan_id="late")], encoder_id="enc_1")
    survivor.close()
    again = open_catalog(tmp_path / "cut")
    assert state_of(again, ours) == history[30][1] | {"late": (1, {})}
    again.close()

"""Files that the SQLite catalog refuses: newer, foreign, damaged."""

import pytest

from service.catalog.filter_records import ScanFilter
from service.catalog.sqlite.inspection import inspect
from service.catalog.sqlite.sqlite_catalog import open_catalog
from service.errors import CatalogFailure
from tests.catalog.vectors import all_vectors

pytestmark = pytest.mark.sqlite

EVERYTHING = ScanFilter()


def scan_ids(catalog, workspace_id):
    page = catalog.list_scans(workspace_id, "lungs", where=EVERYTHING, limit=1_000_000)
    return [scan.scan_id for scan in page.items]


def bytes_on_disk(folder):
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


@pytest.mark.parametrize("version", [4, 17])
def test_another_schema_is_refused_by_name_and_left_alone(catalog, folder, edit, version):
    catalog.close()
    edit(f"PRAGMA user_version = {version}")
    before = bytes_on_disk(folder)
    refusal = f"has schema {version}, this program reads schema 3"
    with pytest.raises(CatalogFailure, match=refusal):
        open_catalog(folder)
    assert bytes_on_disk(folder) == before
    with pytest.raises(CatalogFailure, match=refusal):
        inspect(folder / "catalog.sqlite")


def test_a_database_of_something_else_is_refused_and_left_alone(folder, edit):
    folder.mkdir()
    edit("CREATE TABLE albums (title TEXT)")
    before = bytes_on_disk(folder)
    with pytest.raises(CatalogFailure, match="not a catalog"):
        open_catalog(folder)
    assert bytes_on_disk(folder) == before


def test_a_file_that_is_no_database_is_a_catalog_failure(folder):
    folder.mkdir()
    (folder / "catalog.sqlite").write_bytes(b"not a database " * 1000)
    with pytest.raises(CatalogFailure, match="SQLITE_NOTADB"):
        open_catalog(folder)


def test_a_file_that_is_damaged_inside_is_a_catalog_failure(catalog, folder, opened, ours, add):
    for n in range(20):
        add(n)
    catalog.close()
    path = folder / "catalog.sqlite"
    whole = path.read_bytes()
    # The first page holds the schema; everything after it is overwritten.
    path.write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 4096))
    with pytest.raises(CatalogFailure):
        scan_ids(opened(folder), ours)


def test_a_cut_off_file_is_a_catalog_failure(catalog, folder, opened, ours, add):
    for n in range(20):
        add(n)
    catalog.close()
    path = folder / "catalog.sqlite"
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(CatalogFailure):
        scan_ids(opened(folder), ours)


def test_a_folder_that_cannot_be_made_is_a_catalog_failure(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CatalogFailure):
        open_catalog(tmp_path / "file" / "data")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("UPDATE scan_vectors SET vector = x'00000000'", "has 4 bytes, expected 32 bytes"),
        ("DELETE FROM scan_vectors", "has nothing, expected 32 bytes"),
        ("UPDATE scan_vectors SET vector = 'text'", "has nothing, expected 32 bytes"),
    ],
)
def test_a_vector_of_wrong_length_is_a_catalog_failure(
    catalog, folder, ours, add, edit, damage, message
):
    scan_id = add(1)
    catalog.close()
    edit(damage)
    again = open_catalog(folder)
    with pytest.raises(CatalogFailure, match=message):
        all_vectors(again, ours, "lungs")
    with pytest.raises(CatalogFailure, match=message):
        again.embeddings(ours, "lungs", [scan_id])
    again.close()

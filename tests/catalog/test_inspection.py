"""``inspect`` finds each kind of damage, by row and never by what the row says."""

import numpy as np
import pytest

from service.catalog.sqlite.inspection import inspect
from service.errors import CatalogFailure

pytestmark = pytest.mark.sqlite

JPEG = b"\xff\xd8 picture \xff\xd9"
PNG = b"\x89PNG\r\n\x1a\n picture"
UNIT = np.eye(8, dtype=np.float32)[0]
SECRET = "SUBJECT-7f3a"


@pytest.fixture
def file(folder):
    return folder / "catalog.sqlite"


@pytest.fixture
def stored(catalog, ours, new_scan):
    catalog.create_collection(ours, "kept", encoder_id="enc_1", dim=8, keep_images=True)
    fields = {"embedding_D": UNIT, "thumbnail_jpeg": JPEG, "image_png": PNG, "subject_id": SECRET}
    scans = [new_scan(n, **fields) for n in range(3)]
    catalog.add_scans(ours, "kept", scans, encoder_id="enc_1")
    catalog.close()


def test_a_sound_catalog_is_sound_also_while_it_is_in_use(catalog, ours, new_scan, file):
    scans = [new_scan(1, embedding_D=UNIT, thumbnail_jpeg=JPEG)]
    catalog.add_scans(ours, "lungs", scans, encoder_id="enc_1")
    seen = []
    found = inspect(file, on_scan=lambda done, total: seen.append((done, total)))
    assert found.is_sound, found.findings
    assert (found.scans, found.collections, seen) == (1, 1, [(1, 1)])


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        ("DELETE FROM scan_vectors WHERE row_id = 2", "missing_vector"),
        ("UPDATE scan_vectors SET vector = x'00' WHERE row_id = 2", "vector_of_other_width"),
        (
            "UPDATE scan_vectors SET vector = zeroblob(32) WHERE row_id = 2",
            "vector_not_of_unit_length",
        ),
        ("DELETE FROM scan_thumbnails WHERE row_id = 2", "missing_thumbnail"),
        ("UPDATE scan_thumbnails SET jpeg = x'00' WHERE row_id = 2", "damaged_thumbnail"),
        ("UPDATE scan_images SET png = x'00' WHERE row_id = 2", "damaged_image"),
        ("UPDATE scan_vectors SET workspace_id = 'x' WHERE row_id = 2", "mixed_workspaces"),
        ("UPDATE scans SET labels = '{' WHERE row_id = 2", "damaged_labels"),
    ],
)
def test_each_damage_is_found_at_its_row(stored, file, edit, damage, kind):
    edit(damage)
    assert inspect(file).findings == {kind: ["row 2"]}


def test_a_row_without_its_collection_is_a_dangling_reference(stored, file, edit):
    edit("DELETE FROM collections WHERE name = 'kept'")
    found = inspect(file).findings
    assert len(found["dangling_reference"]) == 3
    assert SECRET not in str(found)


def test_overwritten_pages_are_found_or_refused(stored, file):
    whole = file.read_bytes()
    file.write_bytes(whole[:8192] + b"\xa5" * 4096 + whole[12288:])
    found = inspect(file).findings
    assert {"damaged_page", "unreadable"} & found.keys()
    assert SECRET not in str(found)


def test_no_catalog_is_a_catalog_failure(tmp_path):
    with pytest.raises(CatalogFailure):
        inspect(tmp_path / "none")
    (tmp_path / "text").write_text("text " * 1000)
    with pytest.raises(CatalogFailure, match="SQLITE_NOTADB"):
        inspect(tmp_path / "text")

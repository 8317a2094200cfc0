"""A collection as Parquet: out and in again, whole, refused when it is not what was written."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
from typer.testing import CliRunner

from service.catalog.filter_records import ScanFilter
from service.catalog.records import ClipFrame, NewScan, ScanImage
from service.catalog.sqlite.sqlite_catalog import open_catalog
from service.cli.main import app
from service.errors import EncoderMismatch, InvalidArtifact, NameTaken, UnknownItem
from service.gallery.parquet import export_collection, import_collection
from service.server import local_service
from service.settings import Settings
from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client
from tests.catalog.vectors import all_vectors
from tests.service.expected import BUNDLE

DIM = 8
EVERYTHING = ScanFilter()
V1 = Path(__file__).parents[1] / "fixtures" / "collection_v1"


@pytest.fixture
def catalog(tmp_path):
    catalog = open_catalog(tmp_path / "data")
    yield catalog
    catalog.close()


@pytest.fixture
def owner(catalog):
    return catalog.ensure_workspace("ours").workspace_id


@pytest.fixture
def lungs(catalog, owner):
    """450 scans with every kind of value, images of every third; the name of the collection."""
    catalog.create_collection(
        owner, "lungs", encoder_id="e", dim=DIM, description="d", keep_images=True
    )
    rng = np.random.default_rng(2)
    unit_D = np.eye(DIM, dtype=np.float32)
    clip = (ClipFrame(0, 0.0, 2, unit_D[0]), ClipFrame(7, None, 1, unit_D[1]))
    analysis = {"regions": [], "masked_px": 3}
    scans = []
    for n in range(450):
        vector = rng.standard_normal(DIM).astype(np.float32)
        digest = hashlib.sha256(b"%d" % n).hexdigest()
        scans.append(
            NewScan(
                f"s é{n}",
                ScanImage(digest, "frame", "png", 640 + n, 480, digest[::-1])
                if n % 4
                else ScanImage(
                    digest, "cine", "mp4", 640, 480, digest[::-1], 9, 3, 25.0, 2, analysis
                ),
                vector / np.linalg.norm(vector),
                b"\xff\xd8 %d" % n,
                f"p{n}" if n % 2 else None,
                None if n % 2 else "st",
                {"view": "A\u2028"} if n % 5 else {},
                {"age": n, "left": True, "none": None, "x": 0.1, "t": 'a"b'} if n % 3 else {},
                b"png %d" % n if n % 3 == 0 else None,
                "2026-01-01T00:00:00.000000Z",
                () if n % 4 else clip,
            )
        )
    catalog.add_scans(owner, "lungs", scans, encoder_id="e")
    return "lungs"


def told(catalog, owner, name):
    """Everything of a collection that an export carries."""
    return [
        (
            whole.scan.scan_id,
            whole.scan.image,
            whole.scan.subject_id,
            whole.scan.study_id,
            whole.scan.labels,
            json.dumps(dict(whole.scan.attributes)),
            whole.scan.created_at,
            whole.embedding_D.tolist(),
            whole.jpeg,
            whole.png,
            [(f.place, f.time_s, f.copies, f.embedding_D.tolist()) for f in whole.frames],
        )
        for whole in catalog.export_rows(owner, name, limit=1000)
    ]


def test_a_collection_comes_back_as_it_was(catalog, owner, lungs, tmp_path):
    seen = []
    scans = export_collection(
        catalog, owner, lungs, tmp_path / "out", on_scan=lambda done, all: seen.append((done, all))
    )
    assert scans == 450
    assert seen == [(200, 450), (400, 450), (450, 450)]
    done = import_collection(catalog, owner, tmp_path / "out", "again")
    assert (done.stored, done.known) == (450, 0)
    assert told(catalog, owner, "again") == told(catalog, owner, lungs)
    found = catalog.get_collection(owner, "again")
    assert (found.encoder_id, found.dim, found.description) == ("e", DIM, "d")
    assert found.keep_images is True


def test_an_export_by_release_0_1_0_is_imported_whole(catalog, owner):
    done = import_collection(catalog, owner, V1, "lungs")
    assert (done.stored, done.known) == (2, 0)
    lungs = catalog.get_collection(owner, "lungs")
    assert (lungs.encoder_id, lungs.dim, lungs.description) == ("enc_1", 4, "stills and a cine")
    assert (lungs.keep_images, lungs.retention_days) == (True, 36_500.0)
    assert lungs.intake == {"refuse_burned_in": "high", "refuse_quality": ["blurred"]}
    still, cine = catalog.export_rows(owner, "lungs")
    assert (still.scan.scan_id, still.scan.subject_id) == ("s1", "p1")
    assert still.scan.labels == {"view": "b", "Größe": "ü"}
    assert still.scan.attributes == {"age": 1, "left": True, "note": None, "x": 0.5, "t": 'a"b'}
    assert still.scan.created_at == "2026-01-02T00:00:00.000000Z"
    assert still.embedding_D.tolist() == [0, 1, 0, 0]
    assert still.jpeg == b"\xff\xd8 thumbnail 1 \xff\xd9"
    assert still.png == b"\x89PNG\r\n\x1a\n 1"
    image = cine.scan.image
    assert (image.kind, image.frames, image.frames_used, image.frame_rate_hz) == ("cine", 9, 4, 25)
    assert (image.regions_used, image.analysis["masked_px"]) == (2, 7)
    assert [(f.place, f.time_s, f.copies) for f in cine.frames] == [(0, 0.0, 1), (5, None, 3)]


def test_other_tools_read_the_table(catalog, owner, lungs, tmp_path):
    export_collection(catalog, owner, lungs, tmp_path / "out")
    table = parquet.read_table(tmp_path / "out" / "scans.parquet")
    assert table.num_rows == 450
    vectors = np.stack(table["embedding"].to_numpy())
    np.testing.assert_array_equal(vectors, all_vectors(catalog, owner, lungs)[1])


def test_an_import_that_was_broken_off_goes_on_and_stores_nothing_twice(
    catalog, owner, lungs, tmp_path
):
    export_collection(catalog, owner, lungs, tmp_path / "out")

    def break_off(done, total):
        if done >= 400:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        import_collection(catalog, owner, tmp_path / "out", "again", on_scan=break_off)
    done = import_collection(catalog, owner, tmp_path / "out", "again")
    assert (done.stored, done.known) == (50, 400)
    assert told(catalog, owner, "again") == told(catalog, owner, lungs)


def test_an_export_that_was_broken_off_leaves_nothing(catalog, owner, lungs, tmp_path):
    def break_off(done, total):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        export_collection(catalog, owner, lungs, tmp_path / "x" / "out", on_scan=break_off)
    assert list((tmp_path / "x").iterdir()) == []


def test_an_empty_collection_goes_out_and_in(catalog, owner, tmp_path):
    catalog.create_collection(owner, "empty", encoder_id="e", dim=DIM)
    assert export_collection(catalog, owner, "empty", tmp_path / "out") == 0
    assert import_collection(catalog, owner, tmp_path / "out", "again").stored == 0
    assert catalog.get_collection(owner, "again").keep_images is False


def test_a_folder_that_is_there_is_not_written_over(catalog, owner, lungs, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(NameTaken):
        export_collection(catalog, owner, lungs, tmp_path / "out")


def test_a_collection_of_another_encoder_takes_nothing_in(catalog, owner, lungs, tmp_path):
    export_collection(catalog, owner, lungs, tmp_path / "out")
    catalog.create_collection(owner, "other", encoder_id="f", dim=DIM)
    with pytest.raises(EncoderMismatch):
        import_collection(catalog, owner, tmp_path / "out", "other")


@pytest.mark.parametrize("file", ["scans.parquet", "thumbnails.parquet", "images.parquet"])
def test_a_flipped_byte_is_refused_and_stores_nothing(catalog, owner, lungs, tmp_path, file):
    export_collection(catalog, owner, lungs, tmp_path / "out")
    damaged = bytearray((tmp_path / "out" / file).read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "out" / file).write_bytes(damaged)
    with pytest.raises(InvalidArtifact, match=r"\.parquet is not what was written"):
        import_collection(catalog, owner, tmp_path / "out", "again")
    with pytest.raises(UnknownItem):
        catalog.get_collection(owner, "again")


@pytest.mark.parametrize(
    "change",
    [
        {"format": "x"},
        {"format_version": 2},
        {"dim": "8"},
        {"scans": None},
        {"files": {}},
        {"files": []},
        {"files": {"../scans.parquet": {"sha256": ""}}},
        {"description": None},
    ],
)
def test_a_description_that_is_not_whole_is_refused(catalog, owner, lungs, tmp_path, change):
    export_collection(catalog, owner, lungs, tmp_path / "out")
    said = tmp_path / "out" / "collection.json"
    said.write_text(json.dumps(json.loads(said.read_text()) | change))
    with pytest.raises(InvalidArtifact):
        import_collection(catalog, owner, tmp_path / "out", "again")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("scan_id", "a/b"),
        ("scan_id", ".."),
        ("embedding", [2.0] + [0.0] * 7),
        ("embedding", [float("nan")] * 8),
        ("labels", "{"),
        ("labels", "[]"),
        ("attributes", '{"a": [1]}'),
        ("sha256", None),
    ],
)
def test_a_row_that_could_not_have_been_exported_is_refused(
    catalog, owner, lungs, tmp_path, column, value
):
    export_collection(catalog, owner, lungs, tmp_path / "out")
    for name in (
        ("scans.parquet", "thumbnails.parquet") if column == "scan_id" else ("scans.parquet",)
    ):
        file = tmp_path / "out" / name
        table = parquet.read_table(file)
        rows = table.to_pylist()
        rows[3][column] = value
        parquet.write_table(table.from_pylist(rows, schema=table.schema), file)
        said = tmp_path / "out" / "collection.json"
        document = json.loads(said.read_text())
        document["files"][name]["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
        said.write_text(json.dumps(document))
    with pytest.raises(InvalidArtifact):
        import_collection(catalog, owner, tmp_path / "out", "again")
    assert not [s for s in told(catalog, owner, "again") if s[0] == value]


def test_a_folder_without_an_export_is_unknown(catalog, owner, tmp_path):
    with pytest.raises(UnknownItem):
        import_collection(catalog, owner, tmp_path, "again")


def test_export_and_import_over_http_are_operations_and_what_came_is_searchable(
    tmp_path: Path, frames
) -> None:
    settings = Settings(
        data_dir=tmp_path / "d", bundle_dir=BUNDLE, drain_s=0, exchange_dir=tmp_path / "x"
    )
    with local_service(settings) as local, Client(local.url, key=local.key) as client:
        client.create_collection("c")
        client.add_scans("c", frames["cyst"][:3], [{"scan_id": f"s{n}"} for n in range(3)])
        done = client.wait(client.export_collection("c", "out")["operation_id"])
        assert done["result"] == {"export": "out", "scans": 3}
        with pytest.raises(ApiError) as caught:
            client.export_collection("c", "out")
        assert caught.value.code == "name_taken"
        client.delete_collection("c")
        done = client.wait(client.import_collection("back", "out")["operation_id"])
        assert done["result"] == {
            "collection": "back",
            "stored": 3,
            "known": 0,
            "ignored": 0,
            "erased": 0,
            "refused": 0,
        }
        hits = client.search_image("back", frames["cyst"][1])["items"]
        assert hits[0]["scan"]["scan_id"] == "s1"
        assert len(hits) == 3
        for wrong in ("../d", "none"):
            with pytest.raises(ApiError) as caught:
                client.import_collection("b", wrong)
            assert caught.value.code in ("validation_error", "unknown_item")


def test_the_commands_export_beside_a_service_and_import_without_one(
    tmp_path: Path, frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SONOPROBE_DATA_DIR", str(tmp_path / "d"))
    monkeypatch.setenv("SONOPROBE_BUNDLE_DIR", str(BUNDLE))

    def run(*words: object, code: int = 0) -> str:
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == code, result.output
        return " ".join(result.output.split())

    settings = Settings(data_dir=tmp_path / "d", bundle_dir=BUNDLE, drain_s=0)
    with local_service(settings) as local, Client(local.url, key=local.key) as client:
        client.create_collection("c")
        client.add_scans("c", frames["cyst"][:3])
        assert "3 scans exported" in run("export", "c", tmp_path / "out")
        said = run("import", tmp_path / "out", "--collection", "d", code=1)
        assert "another service uses this data folder" in said
    assert "3 stored, 0 known already" in run("import", tmp_path / "out", "--collection", "d")
    assert "0 stored, 3 known already" in run("import", tmp_path / "out", "--collection", "d")
    assert "expected a collection of" in run("import", tmp_path, "--collection", "a b", code=1)
    assert "no exported collection" in run("import", tmp_path, "--collection", "e", code=1)
    assert "no such collection" in run("export", "none", tmp_path / "y", code=1)


def test_an_import_brings_no_patient_back_who_was_erased_since_the_export(
    tmp_path: Path, frames
) -> None:
    settings = Settings(
        data_dir=tmp_path / "d", bundle_dir=BUNDLE, drain_s=0, exchange_dir=tmp_path / "x"
    )
    with local_service(settings) as local, Client(local.url, key=local.key) as client:
        client.create_collection("c")
        said = [{"scan_id": f"s{n}", "subject_id": f"p{n}", "study_id": f"t{n}"} for n in range(4)]
        client.add_scans("c", frames["cyst"][:4], said)
        client.wait(client.export_collection("c", "out")["operation_id"])
        client.erase_subject("p0")
        client.erase_study("t1")
        client.add_scans("c", frames["cyst"][:1], [{"scan_id": "back", "subject_id": "p0"}])
        client.patch_scan("c", "s2", {"labels": {"later": "x"}, "study_id": "moved"})
        done = client.wait(client.import_collection("c", "out")["operation_id"])
        result = {
            "collection": "c",
            "stored": 0,
            "known": 2,
            "ignored": 1,
            "erased": 2,
            "refused": 0,
        }
        assert done["result"] == result
        assert [scan["scan_id"] for scan in client.scans("c")] == ["s2", "s3", "back"]
        done = client.wait(client.import_collection("fresh", "out")["operation_id"])
        assert (done["result"]["stored"], done["result"]["erased"]) == (2, 2)

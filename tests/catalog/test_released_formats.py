"""Catalogs of every schema open for ever; see tests/fixtures/make_catalog_v1.py and ..._v2.py."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from service.catalog.access_records import SavedAnswer
from service.catalog.filter_records import ScanFilter
from service.catalog.records import Author
from service.catalog.sqlite.inspection import inspect

pytestmark = pytest.mark.sqlite

FIXTURES = Path(__file__).parents[1] / "fixtures"
UNIT_DD = np.eye(4, dtype=np.float32)


@pytest.fixture(params=[1, 2])
def schema(request):
    return request.param


@pytest.fixture
def released(schema, folder, opened):
    folder.mkdir()
    shutil.copy(FIXTURES / f"catalog_v{schema}" / "catalog.sqlite", folder)
    return opened(folder)


@pytest.fixture
def clinic(released):
    clinic, other = released.list_workspaces()
    assert (clinic.name, other.name) == ("clinic", "other")
    return clinic.workspace_id


def test_a_catalog_of_each_schema_is_sound_before_it_is_opened(schema, tmp_path):
    shutil.copy(FIXTURES / f"catalog_v{schema}" / "catalog.sqlite", tmp_path)
    report = inspect(tmp_path / "catalog.sqlite")
    assert report.findings == {}
    assert report.schema == schema
    assert (report.collections, report.classifiers) == (2, 1)


def test_its_keys_and_answers_are_read(released, clinic):
    keys = released.list_keys(clinic)
    assert [(key.name, key.revoked_at is None) for key in keys] == [
        ("probe", True),
        ("lost", False),
    ]
    assert released.find_key("hash-1") == keys[0]
    assert released.find_key("hash-2") is None
    assert released.find_answer(clinic, "once") == SavedAnswer("d", 201, b"{}", {"a": "b"})


def test_its_collections_and_scans_are_read(released, clinic):
    lungs = released.get_collection(clinic, "lungs")
    assert (lungs.encoder_id, lungs.dim, lungs.description) == ("enc_1", 4, "stills and a cine")
    assert (lungs.keep_images, lungs.retention_days, lungs.scans) == (True, 36_500.0, 2)
    assert lungs.intake == {"refuse_burned_in": "high", "refuse_quality": ["blurred"]}
    still, cine = released.list_scans(clinic, "lungs", where=ScanFilter(), limit=9).items
    assert (still.scan_id, still.subject_id, still.study_id) == ("s1", "p1", None)
    assert still.labels == {"view": "b", "Größe": "ü"}
    assert still.attributes == {"age": 1, "left": True, "note": None, "x": 0.5, "t": 'a"b'}
    assert (still.created_at, still.version) == ("2026-01-02T00:00:00.000000Z", 1)
    image = cine.image
    assert (image.kind, image.format, image.width_px, image.height_px) == ("cine", "mp4", 640, 480)
    assert (image.sha256, image.content_sha256) == ("03" * 32, "c" * 64)
    assert (image.frames, image.frames_used, image.frame_rate_hz) == (9, 4, 25.0)
    assert (image.regions_used, image.analysis["masked_px"]) == (2, 7)
    assert released.thumbnail(clinic, "lungs", "s1") == b"\xff\xd8 thumbnail 1 \xff\xd9"
    _, row = released.export_rows(clinic, "lungs")
    assert row.png == b"\x89PNG\r\n\x1a\n 3"
    assert [(f.place, f.time_s, f.copies) for f in row.frames] == [(0, 0.0, 1), (5, None, 3)]
    np.testing.assert_array_equal([f.embedding_D for f in row.frames], UNIT_DD[:2])
    np.testing.assert_array_equal(
        released.embeddings(clinic, "lungs", ["s3", "s1"]), UNIT_DD[[3, 1]]
    )


def test_its_classifier_is_read_with_what_it_learnt_from(released, clinic):
    triage = released.get_classifier(clinic, "triage")
    assert (triage.published.number, triage.latest, triage.revision) == (1, 2, 2)
    first = triage.published
    assert (first.encoder_id, first.classes, first.kind) == ("enc_1", ("a", "b"), "single_label")
    assert (first.report, first.settings) == ({"auc": 0.75}, {"c": 10.0})
    assert (first.author, first.examples) == (Author("key_1", "probe"), 4)
    examples = released.version_examples(clinic, "triage", 1)
    assert [(e.label, e.group, e.scan, e.is_kept) for e in examples] == [
        ("a", 0, ("lungs", "s0"), False),
        ("b", 1, ("lungs", "s1"), True),
        ("a", 0, ("lungs", "s2"), False),
        ("b", 1, None, True),
    ]
    assert (examples[3].sha256, examples[3].subject_id) == ("e" * 64, "p9")
    embeddings_ND = released.version_embeddings(clinic, "triage", 1, dim=4)
    np.testing.assert_array_equal(embeddings_ND, UNIT_DD[[1, 1]])
    second = released.get_version(clinic, "triage", 2)
    assert (second.classes, second.examples) == (("b", "a"), 2)
    ids = [e.example_id for e in released.version_examples(clinic, "triage", 2)]
    assert ids == [e.example_id for e in examples[:2]]


def test_its_operations_and_its_re_embedding_go_on(released, clinic):
    waiting, failed, done = released.list_operations(clinic, limit=9).items
    assert (done.kind, done.state, done.done, done.total, done.attempts) == ("fit", "done", 3, 4, 1)
    assert (done.result, done.problem, done.request) == ({"version": 1}, None, {})
    assert (failed.state, failed.problem) == ("failed", {"code": "overloaded"})
    kinds = {"fit", "backup", "reembed"}
    claimed = released.claim_operation("worker", lease_s=60, kinds=kinds)
    assert (claimed.operation_id, claimed.attempts) == (waiting.operation_id, 1)
    assert waiting.request == claimed.request == {"collection": "lungs"}
    assert released.claim_operation("worker", lease_s=60, kinds=kinds) is None
    begun = released.get_reembedding(clinic, "lungs")
    assert (begun.to_encoder_id, begun.to_dim, begun.embedded) == ("enc_2", 2, 1)
    rows = [row_id for row_id, _ in released.images_to_embed(clinic, "lungs", limit=9)]
    released.stage_vectors(clinic, "lungs", rows, UNIT_DD[:1, :2])
    assert released.switch_reembedding(clinic, "lungs").state == "switched"


def test_what_was_erased_from_it_is_remembered(schema, released):
    with released._database.read() as connection:
        kinds = [row["kind"] for row in connection.execute("SELECT kind FROM erasures")]
    expected = {
        1: {"row": 3, "subject": 1},
        2: {"scan": 3, "subject": 1, "study": 1},
    }
    assert Counter(kinds) == expected[schema]


@pytest.mark.parametrize("schema", [2], indirect=True)
def test_schema_2_holds_one_image_of_several_subjects(released, clinic):
    shared = released.list_scans(clinic, "stills", where=ScanFilter(), limit=9).items
    assert [(s.scan_id, s.subject_id) for s in shared] == [("t1", "é1"), ("t2", "p2"), ("t3", None)]
    assert len({scan.image.content_sha256 for scan in shared}) == 1
    assert len(released.find_known(clinic, "stills", [shared[0].image.sha256])) == 3
    assert released.get_collection(clinic, "stills").retention_held == 2

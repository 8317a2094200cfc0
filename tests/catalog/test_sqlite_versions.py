"""Versions of classifiers in the SQLite catalog, what they learnt from, and older files."""

import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from service.catalog.records import Author, NewExample, NewVersion, ScanFilter
from service.catalog.sqlite import schema
from service.errors import PreconditionFailed, UnknownItem

FIXTURES = Path(__file__).parents[1] / "fixtures"
V1 = FIXTURES / "catalog_v1" / "catalog.sqlite"  # by schema 1 itself
V2 = FIXTURES / "catalog_v2" / "catalog.sqlite"  # by schema 2 itself


def version(*examples, **fields):
    return NewVersion("enc_1", ("a", "b"), b"npz", {}, examples=tuple(examples), **fields)


def uploaded(n, label="a", **fields):
    embedding_D = np.random.default_rng(n).standard_normal(8).astype(np.float32)
    values = {"sha256": f"sha-{n}", "embedding_D": embedding_D}
    return NewExample(label, n, **(values | fields))


def test_a_new_version_waits_until_it_is_published(catalog, ours):
    catalog.create_classifier(ours, "k", version())
    second, made = catalog.add_version(ours, "k", version(author=Author("key_1", "clinic")))
    assert (second.published.number, second.latest, made.number) == (1, 2, 2)
    assert made.author == Author("key_1", "clinic")
    moved = catalog.publish_version(ours, "k", 2, if_revision=second.revision)
    assert moved.published == made
    assert catalog.publish_version(ours, "k", 1).published.number == 1
    third, made = catalog.add_version(ours, "k", version(), publish=True)
    assert third.published == made
    assert [v.number for v in catalog.list_versions(ours, "k", limit=2).items] == [3, 2]
    assert [v.number for v in catalog.list_versions(ours, "k", limit=2, before=2).items] == [1]


def test_an_outdated_view_neither_publishes_nor_adds(catalog, ours):
    first = catalog.create_classifier(ours, "k", version())
    second, _ = catalog.add_version(ours, "k", version(), if_revision=first.revision)
    for act in (
        lambda: catalog.add_version(ours, "k", version(), if_revision=first.revision),
        lambda: catalog.publish_version(ours, "k", 2, if_revision=first.revision),
    ):
        with pytest.raises(PreconditionFailed):
            act()
    assert catalog.get_classifier(ours, "k") == second


def test_unknown_versions_and_those_of_others_are_unknown_items(catalog, ours, theirs):
    catalog.create_classifier(ours, "k", version(uploaded(1)))
    for workspace_id, number in ((ours, 2), (ours, 0), (theirs, 1)):
        with pytest.raises(UnknownItem):
            catalog.get_version(workspace_id, "k", number)
        with pytest.raises(UnknownItem):
            catalog.publish_version(workspace_id, "k", number)
    assert catalog.version_examples(theirs, "k", 1) == ()
    assert len(catalog.version_embeddings(theirs, "k", 1, dim=8)) == 0


def test_examples_come_back_in_order_with_the_vectors_of_scans_and_uploads(
    catalog, ours, add, new_scan
):
    add(1, scan_id="s", subject_id="p1")
    upload = uploaded(2, "b", subject_id="p2")
    catalog.create_classifier(ours, "k", version(upload, NewExample("a", 7, scan=("lungs", "s"))))
    found = catalog.version_examples(ours, "k", 1)
    assert [(e.label, e.group, e.scan, e.subject_id) for e in found] == [
        ("b", 2, None, "p2"),
        ("a", 7, ("lungs", "s"), "p1"),
    ]
    embeddings_ND = catalog.version_embeddings(ours, "k", 1, dim=8)
    np.testing.assert_array_equal(embeddings_ND, [upload.embedding_D, new_scan(1).embedding_D])
    page = catalog.version_examples(ours, "k", 1, after=0, limit=5)
    assert [e.example_id for e in page] == [found[1].example_id]


def test_versions_share_examples_under_their_own_labels(catalog, ours, folder):
    catalog.create_classifier(ours, "k", version(uploaded(1), uploaded(2)))
    known = catalog.version_examples(ours, "k", 1)[0]
    catalog.add_version(
        ours, "k", version(NewExample("b", 0, example_id=known.example_id), uploaded(3))
    )
    assert [e.label for e in catalog.version_examples(ours, "k", 1)] == ["a", "a"]
    assert [e.label for e in catalog.version_examples(ours, "k", 2)] == ["b", "a"]
    with pytest.raises(UnknownItem):
        catalog.add_version(ours, "k", version(NewExample("b", 0, example_id="exm_none")))
    assert catalog.get_classifier(ours, "k").latest == 2
    catalog.close()
    with sqlite3.connect(folder / "catalog.sqlite") as connection:
        (count,) = connection.execute("SELECT count(vector) FROM classifier_examples").fetchone()
    connection.close()
    assert count == 3


def test_a_deleted_scan_leaves_its_example_without_a_vector(catalog, ours, add):
    add(1, scan_id="s")
    catalog.create_classifier(ours, "k", version(NewExample("a", 0, scan=("lungs", "s"))))
    catalog.delete_scan(ours, "lungs", "s")
    add(2, scan_id="s")
    (left,) = catalog.version_examples(ours, "k", 1)
    assert (left.is_kept, left.scan) == (False, ("lungs", "s"))
    assert len(catalog.version_embeddings(ours, "k", 1, dim=8)) == 0


def test_erasing_a_subject_erases_its_uploaded_examples_too(catalog, folder, ours):
    secret = uploaded(1, subject_id="subject-of-upload", sha256="sha-of-upload")
    catalog.create_classifier(ours, "k", version(secret, uploaded(2, subject_id="p2")))
    receipt = catalog.erase_subject(ours, "subject-of-upload")
    assert (receipt.scans, receipt.classifiers, receipt.uploads) == ((), ("k",), 1)
    assert [e.is_kept for e in catalog.version_examples(ours, "k", 1)] == [False, True]
    catalog.close()
    data = b"".join(path.read_bytes() for path in folder.iterdir())
    assert secret.embedding_D is not None
    for gone in (
        b"subject-of-upload",
        b"sha-of-upload",
        secret.embedding_D.astype("<f4").tobytes(),
    ):
        assert gone not in data


def test_a_catalog_of_schema_1_keeps_its_classifiers_as_version_1(folder, opened):
    folder.mkdir()
    shutil.copy(V1, folder / "catalog.sqlite")
    catalog = opened(folder)
    workspace_id = catalog.ensure_workspace("default").workspace_id
    found = {c.name: c for c in catalog.list_classifiers(workspace_id, limit=9).items}
    assert sorted(found) == ["triage", "uploads"]
    triage = found["triage"]
    assert (triage.published.number, triage.latest, triage.revision) == (1, 1, 1)
    assert triage.published.report["classes"] == ["a_lines", "b_lines"]
    examples = catalog.version_examples(workspace_id, "triage", 1)
    assert [(e.scan, e.label, e.is_kept) for e in examples] == [
        (("lungs", f"s{i}"), None, i != 5) for i in range(6)
    ]
    assert len(catalog.version_embeddings(workspace_id, "triage", 1, dim=8)) == 5
    assert catalog.erase_subject(workspace_id, "p0").classifiers == ("triage",)
    other = catalog.ensure_workspace("other").workspace_id
    assert catalog.get_classifier(other, "triage").published.examples == 6


def test_a_catalog_of_schema_2_keeps_scans_and_versions(folder, opened):
    folder.mkdir()
    shutil.copy(V2, folder / "catalog.sqlite")
    catalog = opened(folder)
    workspace_id = catalog.ensure_workspace("default").workspace_id
    assert [
        s.scan_id
        for s in catalog.list_scans(workspace_id, "lungs", where=ScanFilter(), limit=9).items
    ] == [f"s{i}" for i in range(5)]
    found = catalog.get_classifier(workspace_id, "triage")
    assert (found.published.number, found.latest) == (2, 2)
    assert catalog.get_version(workspace_id, "triage", 1).author == Author("key_1", "clinic")
    examples = catalog.version_examples(workspace_id, "triage", 1)
    assert [e.is_kept for e in examples] == [True] * 5 + [False]
    assert catalog.erase_subject(workspace_id, "p1").classifiers == ("triage",)


@pytest.mark.parametrize("fixture", [V1, V2], ids=["1", "2"])
def test_a_catalog_of_an_older_schema_becomes_the_tables_of_today(
    folder, opened, tmp_path, fixture
):
    def tables(path):
        connection = sqlite3.connect(path / "catalog.sqlite")
        rows = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
        connection.close()
        return {(kind, name, sql) for kind, name, sql in rows}

    folder.mkdir()
    shutil.copy(fixture, folder / "catalog.sqlite")
    opened(folder).close()
    opened(tmp_path / "new").close()
    assert tables(folder) == tables(tmp_path / "new")
    connection = sqlite3.connect(folder / "catalog.sqlite")
    (number,) = connection.execute("PRAGMA user_version").fetchone()
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()
    assert number == schema.SCHEMA_VERSION

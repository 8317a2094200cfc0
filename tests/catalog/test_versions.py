"""Versions of classifiers in the catalog, and what they learnt from."""

import numpy as np
import pytest

from service.catalog.records import UNLABELLED, Author, NewExample, NewVersion
from service.errors import PreconditionFailed, UnknownItem


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


def test_versions_share_examples_under_their_own_labels(catalog, ours, place):
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
    assert place.sql("SELECT count(vector) FROM classifier_examples") == [(3,)]


def test_a_deleted_scan_leaves_its_example_without_a_vector(catalog, ours, add):
    add(1, scan_id="s")
    catalog.create_classifier(ours, "k", version(NewExample("a", 0, scan=("lungs", "s"))))
    catalog.erase_scan(ours, "lungs", "s")
    add(2, scan_id="s")
    (left,) = catalog.version_examples(ours, "k", 1)
    assert (left.is_kept, left.scan) == (False, ("lungs", "s"))
    assert len(catalog.version_embeddings(ours, "k", 1, dim=8)) == 0


def test_erasing_a_subject_erases_its_uploaded_examples_too(catalog, place, ours):
    secret = uploaded(1, subject_id="subject-of-upload", sha256="sha-of-upload")
    assert secret.embedding_D is not None
    catalog.create_classifier(ours, "k", version(secret, uploaded(2, subject_id="p2")))
    assert place.holds(secret.embedding_D)
    receipt = catalog.erase_subject(ours, "subject-of-upload")
    assert (receipt.scans, receipt.classifiers, receipt.uploads) == ((), ("k",), 1)
    assert [e.is_kept for e in catalog.version_examples(ours, "k", 1)] == [False, True]
    for gone in ("subject-of-upload", "sha-of-upload", secret.embedding_D):
        assert not place.holds(gone)


def unlabelled(scan_id):
    return NewExample("", UNLABELLED, scan=("lungs", scan_id))


def test_unlabelled_scans_of_a_version_stand_apart_from_its_examples(catalog, ours, add):
    for n, name in enumerate(("s", "u", "v"), 1):
        add(n, scan_id=name)
    stored = catalog.create_classifier(
        ours, "k", version(uploaded(7), unlabelled("u"), unlabelled("v"))
    )
    assert stored.published.examples == 1
    (example,) = catalog.version_examples(ours, "k", 1)
    assert (example.label, example.scan) == ("a", None)
    assert len(catalog.version_embeddings(ours, "k", 1, dim=8)) == 1
    scans, embeddings_UD = catalog.version_unlabelled(ours, "k", 1, dim=8)
    assert [scan.scan for scan in scans] == [("lungs", "u"), ("lungs", "v")]
    assert all(scan.is_kept for scan in scans)
    assert embeddings_UD.shape == (2, 8)
    assert catalog.version_unlabelled(ours, "k", 2, dim=8)[0] == ()


def test_erasing_an_unlabelled_scan_names_the_classifier_and_takes_its_vector(catalog, ours, add):
    add(1, scan_id="u", subject_id="p1")
    add(2, scan_id="v")
    first = catalog.create_classifier(
        ours, "k", version(uploaded(7), unlabelled("u"), unlabelled("v"), out_of_fold=b"scores")
    )
    (held,) = catalog.subject(ours, "p1", limit=1)[0].classifiers
    assert (held.classifier, held.versions) == ("k", (1,))
    receipt = catalog.erase_subject(ours, "p1")
    assert receipt.classifiers == ("k",)
    scans, embeddings_UD = catalog.version_unlabelled(ours, "k", 1, dim=8)
    assert [(scan.scan[1], scan.is_kept) for scan in scans] == [("u", False), ("v", True)]
    assert len(embeddings_UD) == 1
    assert catalog.get_classifier(ours, "k").forgettings > first.forgettings

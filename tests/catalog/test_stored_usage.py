"""How much a workspace stores is counted with each write, and a write can be refused for it."""

from dataclasses import replace

import numpy as np
import pytest

from service.catalog.policies.intake_rules import IntakeRules
from service.catalog.policies.policy_records import StoredUsage, UnfitRules
from service.catalog.policies.storage_rules import NoRules
from service.catalog.records import (
    Author,
    NewExample,
    NewVersion,
    PolicyPatch,
    ScanPatch,
    StoredScan,
)
from service.errors import Erased, PolicyRefused, PreconditionFailed, QuotaExceeded, UnknownItem
from tests.catalog.conftest import DIM, ENCODER


def measured(place, workspace_id):
    """The bytes of all scans as they lie in the tables."""
    total = 0
    vector = "length(vector)" if hasattr(place, "folder") else "4 * vector_dims(vector)"
    for table, size in (
        ("scan_vectors", vector),
        ("scan_frames", vector),
        ("scan_thumbnails", "length(jpeg)"),
        ("scan_images", "length(png)"),
    ):
        query = f"SELECT coalesce(sum({size}), 0) FROM {table} WHERE workspace_id = ?"
        total += int(place.sql(query, workspace_id)[0][0])
    return total


def test_usage_is_what_the_tables_hold_after_every_kind_of_write(
    catalog, place, ours, add, new_scan
):
    catalog.create_collection(ours, "kept", encoder_id=ENCODER, dim=DIM, keep_images=True)
    add(1, subject_id="p1")
    add(1, subject_id="p1")  # stored already
    add(2, subject_id="p1", image_png=b"x" * 500)  # lungs keeps none
    add(3, collection="kept", subject_id="p1", image_png=b"x" * 700)
    add(4, collection="kept", subject_id="p2", image_png=b"x" * 900)
    add(5, collection="kept", image_png=b"x" * 100)
    sizes = [catalog.stored_usage(ours)]
    assert sizes[0] == StoredUsage(measured(place, ours), 5, 2, 0)
    assert sizes[0].stored_bytes > 1700
    for act in (
        lambda: catalog.erase_subject(ours, "p1"),
        lambda: catalog.patch_collection(
            ours, "kept", PolicyPatch("", False, None, frozenset({"keep_images"}))
        ),
        lambda: catalog.delete_collection(ours, "kept"),
    ):
        act()
        sizes.append(catalog.stored_usage(ours))
        assert sizes[-1].stored_bytes == measured(place, ours)
    assert [usage.scans for usage in sizes] == [5, 2, 2, 0]
    assert sizes[-1] == StoredUsage(0, 0, 1, 0)


def test_usage_follows_vectors_of_another_width(catalog, place, ours, new_scan):
    catalog.create_collection(ours, "kept", encoder_id=ENCODER, dim=DIM, keep_images=True)
    scan = new_scan(1, image_png=b"png")
    catalog.obey(Storing("key_1"))
    catalog.add_scans(ours, "kept", [scan], encoder_id=ENCODER)
    before = catalog.stored_usage(ours).stored_bytes
    catalog.begin_reembedding(ours, "kept", encoder_id="enc_2", dim=2 * DIM)
    ((row_id, _),) = catalog.images_to_embed(ours, "kept", limit=9)
    catalog.stage_vectors(ours, "kept", [row_id], np.ones((1, 2 * DIM), np.float32))
    catalog.switch_reembedding(ours, "kept")
    assert catalog.stored_usage(ours).stored_bytes == before + 4 * DIM == measured(place, ours)
    assert catalog.key_usage(ours, "key_1").stored_bytes == before + 4 * DIM


class AtMost(NoRules):
    """Refuses what would make more than so many of a kind."""

    def __init__(self, **most: int) -> None:
        self.most = most

    def admission(self, workspace_id, key_id=None):
        def admit(usage: StoredUsage, usage_of) -> None:
            for name, most in self.most.items():
                if getattr(usage, name) > most:
                    raise QuotaExceeded(f"expected at most {most} {name}", name)

        return admit


def test_a_write_that_is_not_admitted_stores_nothing(catalog, ours, new_scan):
    catalog.obey(AtMost(scans=2, collections=1, classifiers=0))
    catalog.add_scans(ours, "lungs", [new_scan(1)], encoder_id=ENCODER)
    before = catalog.stored_usage(ours)
    version = NewVersion(ENCODER, ("a", "b"), b"", {})
    for act in (
        lambda: catalog.add_scans(ours, "lungs", [new_scan(2), new_scan(3)], encoder_id=ENCODER),
        lambda: catalog.create_collection(ours, "more", encoder_id=ENCODER, dim=DIM),
        lambda: catalog.create_classifier(ours, "k", version),
    ):
        with pytest.raises(QuotaExceeded):
            act()
        assert catalog.stored_usage(ours) == before
    catalog.obey(AtMost(scans=0))
    # What is stored already needs no room.
    catalog.add_scans(ours, "lungs", [new_scan(1)], encoder_id=ENCODER)


class Storing(NoRules):
    """Notes a key for what is stored, and refuses more than so many of its scans."""

    def __init__(self, key: str, scans: int | None = None) -> None:
        self.key = key
        self.scans = scans

    def payer(self):
        return self.key

    def admission(self, workspace_id, key_id=None):
        def admit(usage: StoredUsage, usage_of) -> None:
            if usage_of(self.key).scans > self.scans:
                raise QuotaExceeded("too many", "scans", "key")

        return None if self.scans is None else admit


def test_what_a_key_has_stored_is_counted_and_given_back(catalog, place, ours, theirs, new_scan):
    def stored(workspace_id, key, collection, *scans):
        catalog.obey(Storing(key))
        catalog.add_scans(workspace_id, collection, scans, encoder_id=ENCODER)

    catalog.obey(Storing("key_1"))
    catalog.create_collection(ours, "kept", encoder_id=ENCODER, dim=DIM, keep_images=True)
    stored(ours, "key_1", "lungs", new_scan(1, subject_id="p1"), new_scan(2, subject_id="p2"))
    stored(ours, "key_1", "kept", new_scan(3, subject_id="p1", image_png=b"x" * 700))
    stored(ours, "key_2", "kept", new_scan(3, subject_id="p1"))  # stored already
    stored(ours, "key_2", "kept", new_scan(4, subject_id="p2", image_png=b"x" * 900))
    stored(theirs, "key_1", "lungs", new_scan(1))
    version = NewVersion(ENCODER, ("a", "b"), b"", {}, author=Author("key_2", "x"))
    catalog.create_classifier(ours, "k", version)

    def used(key):
        usage = catalog.key_usage(ours, key)
        return usage.scans, usage.collections, usage.classifiers

    def whole():
        both = [catalog.key_usage(ours, key).stored_bytes for key in ("key_1", "key_2")]
        assert sum(both) == catalog.stored_usage(ours).stored_bytes == measured(place, ours)
        return both

    assert (used("key_1"), used("key_2"), used("none")) == ((3, 1, 0), (1, 0, 1), (0, 0, 0))
    first = whole()
    assert min(first) > 700
    catalog.erase_subject(ours, "p1")
    assert (used("key_1"), used("key_2")) == ((1, 1, 0), (1, 0, 1))
    whole()
    catalog.patch_collection(ours, "kept", PolicyPatch("", False, None, frozenset({"keep_images"})))
    assert whole()[1] == first[1] - 900
    catalog.delete_collection(ours, "kept")
    catalog.delete_classifier(ours, "k")
    assert (used("key_1"), used("key_2")) == ((1, 0, 0), (0, 0, 0))
    assert whole()[1] == 0


def test_a_key_stores_what_it_may_and_not_one_more(catalog, ours, new_scan):
    catalog.obey(Storing("key_1", scans=1))
    catalog.add_scans(ours, "lungs", [new_scan(1)], encoder_id=ENCODER)
    with pytest.raises(QuotaExceeded):
        catalog.add_scans(ours, "lungs", [new_scan(2)], encoder_id=ENCODER)
    assert catalog.key_usage(ours, "key_1").scans == catalog.stored_usage(ours).scans == 1
    catalog.obey(Storing("key_2", scans=1))
    catalog.add_scans(ours, "lungs", [new_scan(2)], encoder_id=ENCODER)


def test_a_policy_has_versions_and_parts_that_change_apart(catalog, ours, theirs):
    assert catalog.policy(ours).version == 0
    first = catalog.set_policy(ours, document={"a": 1}, if_version=0)
    second = catalog.set_policy(ours, granted={"b": 2.5}, if_version=1)
    assert (first.version, second.version) == (1, 2)
    assert catalog.policy(ours) == second
    assert (second.document, second.granted) == ({"a": 1}, {"b": 2.5})
    with pytest.raises(PreconditionFailed):
        catalog.set_policy(ours, document={}, if_version=1)
    with pytest.raises(UnknownItem):
        catalog.set_policy("ws_none", document={})
    assert catalog.policy(theirs).version == 0


def test_unfit_scans_are_counted_by_rule(catalog, ours, add, new_scan):
    add(1, subject_id="Meier", study_id="s-abcdef-1")
    add(2, subject_id="p-abcdef-1")
    add(3, study_id="1.2.3")
    rules = UnfitRules(pseudonyms=("p-abcdef-", "s-abcdef-"), risks=("high",), images=True)
    assert catalog.unfit_scans(ours, rules) == {"pseudonyms": 2, "risks": 0, "images": 0}


class Upper:
    """Pseudonyms that show what they are of."""

    def subject(self, subject_id):
        return subject_id if subject_id.startswith("P-") else f"P-{subject_id}"

    def study(self, study_id):
        return study_id if study_id.startswith("S-") else f"S-{study_id}"

    def beginnings(self):
        return "P-", "S-"


class Letting(NoRules):
    def __init__(self, **rules):
        self.rules = IntakeRules(**rules)

    def intake(self, workspace_id):
        return self.rules


def test_no_way_into_the_catalog_stores_an_id_as_it_was_given(catalog, place, ours, new_scan):
    catalog.obey(Letting(pseudonyms=Upper()))
    scan = new_scan(1, scan_id="a", subject_id="Meier ", study_id="1.2")
    (stored,) = catalog.add_scans(ours, "lungs", [scan], encoder_id=ENCODER)
    assert (stored.scan.subject_id, stored.scan.study_id) == ("P-Meier", "S-1.2")
    patch = ScanPatch(subject_id="Schulz", set_fields=frozenset({"subject_id"}))
    assert catalog.patch_scan(ours, "lungs", "a", patch).subject_id == "P-Schulz"
    example = NewExample("a", 0, sha256="0", subject_id="Lehmann", embedding_D=scan.embedding_D)
    version = NewVersion(ENCODER, ("a", "b"), b"", {}, examples=(example,))
    catalog.create_classifier(ours, "k", version)
    catalog.add_version(ours, "k", version)
    assert catalog.erase_subject(ours, "P-Lehmann").uploads == 2
    for name in ("Meier", "Schulz", "Lehmann"):
        assert not any(
            given == name
            for table in ("scans", "classifier_examples")
            for (given,) in place.sql(f"SELECT subject_id FROM {table}")
        )


def test_a_patient_who_was_erased_under_a_pseudonym_does_not_return_under_the_id(
    catalog, ours, new_scan
):
    catalog.obey(Letting(pseudonyms=Upper()))
    old = new_scan(1, subject_id="Meier", created_at="2026-01-01T00:00:00.000000Z")
    catalog.add_scans(ours, "lungs", [old], encoder_id=ENCODER)
    catalog.erase_subject(ours, "P-Meier")
    other = new_scan(2, subject_id="Schulz", created_at="2026-01-01T00:00:00.000000Z")
    answers = catalog.add_scans(ours, "lungs", [old, other], encoder_id=ENCODER, unless_erased=True)
    assert isinstance(answers[0], Erased)
    assert isinstance(answers[1], StoredScan)


def test_of_several_scans_only_the_fitting_ones_are_stored(catalog, ours, new_scan):
    catalog.obey(Letting(refuse_burned_in="high", refuse_whole_frames=True))
    found = [{"box": [0, 0, 320, 240], "found": "pixels"}]

    def analysed(n, **analysis):
        image = replace(new_scan(n).image, analysis=analysis)
        return new_scan(n, image=image)

    scans = [
        analysed(1, burned_in_risk="low", regions=found),
        analysed(2, burned_in_risk="high", regions=found),
        analysed(3, burned_in_risk="none", regions=[{"box": [0, 0, 9, 9], "found": "whole"}]),
        analysed(4, burned_in_risk="none", regions=[{"box": [0, 0, 640, 479], "found": "caller"}]),
        analysed(5),
    ]
    answers = catalog.add_scans(ours, "lungs", scans, encoder_id=ENCODER)
    assert isinstance(answers[0], StoredScan)
    assert [answer.members["rule"] for answer in answers[1:]] == [
        "refuse_burned_in",
        "refuse_whole_frames",
        "refuse_whole_frames",
        "refuse_burned_in",
    ]


def test_a_workspace_that_keeps_no_images_keeps_none(catalog, ours, new_scan):
    catalog.create_collection(ours, "kept", encoder_id=ENCODER, dim=DIM, keep_images=True)
    catalog.obey(Letting(refuse_kept_images=True))
    (stored,) = catalog.add_scans(
        ours, "kept", [new_scan(1, image_png=b"pixels")], encoder_id=ENCODER
    )
    assert catalog.kept_image(ours, "kept", stored.scan.scan_id) is None
    with pytest.raises(PolicyRefused):
        catalog.create_collection(ours, "new", encoder_id=ENCODER, dim=DIM, keep_images=True)
    patch = PolicyPatch("", True, None, frozenset({"keep_images"}))
    with pytest.raises(PolicyRefused):
        catalog.patch_collection(ours, "lungs", patch)


def test_only_what_passes_as_ultrasound_comes_in(catalog, ours, new_scan):
    class Positive:
        encoder_id = ENCODER

        def passed(self, embeddings_ND):
            return embeddings_ND[:, 0] > 0

    catalog.obey(Letting(refuse_not_ultrasound=True, ultrasound=Positive()))
    wanted = np.ones(DIM, np.float32)
    scans = [new_scan(1, embedding_D=wanted), new_scan(2, embedding_D=-wanted)]
    good, bad = catalog.add_scans(ours, "lungs", scans, encoder_id=ENCODER)
    assert isinstance(good, StoredScan)
    assert isinstance(bad, PolicyRefused)
    # The test of the loaded encoder says nothing of an import that another encoder embedded.
    catalog.create_collection(ours, "imported", encoder_id="enc_before", dim=DIM)
    (untold,) = catalog.add_scans(ours, "imported", scans[:1], encoder_id="enc_before")
    assert isinstance(untold, PolicyRefused)

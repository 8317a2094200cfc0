"""Erasures in PostgreSQL while other replicas write, and what they leave of classifiers."""

import hashlib
import threading

import numpy as np
import pytest

from service.catalog.erasure_ledger import ErasureLedger
from service.catalog.erasure_records import SweepLimits
from service.catalog.records import NewExample, NewVersion
from service.errors import (
    Conflict,
    Erased,
    NameTaken,
    PreconditionFailed,
    ServiceError,
    UnknownItem,
)
from tests.catalog.set_clock import SetClock

pytestmark = pytest.mark.postgres
SECRET = "SUBJECT-7f3a"


@pytest.fixture
def opened(postgres_url, tmp_path):
    """Open replicas over one database, closed at the end."""
    from tests.catalog.postgres_parts import Parts

    replicas = []

    def run(**options):
        replicas.append(Parts(postgres_url, tmp_path, **options))
        return replicas[-1]

    yield run
    for replica in replicas:
        replica.close()


@pytest.fixture
def catalog(opened):
    return opened()


@pytest.fixture
def ours(catalog):
    return catalog.create("ours")


def sha256_of(scan_id):
    """Of the file of a scan that ``Parts.add`` has stored."""
    return hashlib.sha256(scan_id.removeprefix("s").encode()).hexdigest()


def teach(catalog, ours, name, *scan_ids, **upload):
    examples = [
        NewExample("x", n, scan=("lungs", s), sha256=sha256_of(s)) for n, s in enumerate(scan_ids)
    ]
    if upload:
        examples.append(NewExample("x", 99, **upload))
    scores = bytes(range(1, 1 + len(examples)))
    version = NewVersion("enc_1", ("x",), b"npz", {}, out_of_fold=scores, examples=tuple(examples))
    return catalog.create_classifier(ours, name, version)


def run_all(*works):
    """Run functions in threads at once; return the errors that the service knows, in order."""
    errors = [None] * len(works)
    barrier = threading.Barrier(len(works))

    def run(n, work):
        barrier.wait()
        try:
            work()
        except ServiceError as error:
            errors[n] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_a_subject_goes_from_all_collections_and_classifiers_keep_only_ids(catalog, ours, tmp_path):
    theirs = catalog.create("theirs")
    catalog.create("ours", "liver")
    catalog.add(ours, 1, subject_id=SECRET)
    catalog.add(ours, 2)
    catalog.add(ours, 3, "liver", subject_id=SECRET)
    catalog.add(theirs, 1, subject_id=SECRET)
    upload = np.ones(8, np.float32)
    before = teach(catalog, ours, "k", "s1", "s2", subject_id=SECRET, embedding_D=upload)
    receipt = catalog.erase_subject(ours, SECRET)
    assert receipt.scans == (("lungs", "s1"), ("liver", "s3"))
    assert (receipt.classifiers, receipt.uploads, receipt.backups_know) == (("k",), 1, True)
    assert catalog.held(ours) == ["s2"]
    assert catalog.held(ours, "liver") == []
    assert catalog.held(theirs) == ["s1"]
    after = catalog.get_classifier(ours, "k")
    assert after.published.out_of_fold == bytes([0, 2, 0])
    assert after.forgettings == before.forgettings + 1
    examples = catalog.version_examples(ours, "k", 1)
    assert [e.is_kept for e in examples] == [False, True, False]
    assert [e.sha256 for e in examples] == [None, sha256_of("s2"), None]
    assert catalog.version_embeddings(ours, "k", 1, dim=8).shape == (1, 8)
    kinds = sorted(erasure.kind for erasure in ErasureLedger(tmp_path).read())
    assert kinds == ["scan", "scan", "subject"]
    with pytest.raises(UnknownItem, match="of this subject"):
        catalog.erase_subject(ours, SECRET)


def test_the_receipt_names_copies_that_stay_under_another_subject(catalog, ours):
    catalog.create("ours", "liver")
    catalog.add(ours, 1, subject_id="p1")
    catalog.add(ours, 1, "liver", subject_id="p2")
    assert catalog.erase_subject(ours, "p1").copies == (("liver", "s1"),)


def test_an_outdated_view_erases_nothing(catalog, ours):
    catalog.add(ours, 1)
    with pytest.raises(PreconditionFailed):
        catalog.erase_scan(ours, "lungs", "s1", if_version=2)
    scan, receipt = catalog.erase_scan(ours, "lungs", "s1", if_version=1)
    assert receipt.row_ids == (("lungs", scan.row_id),)
    assert catalog.held(ours) == []


def test_a_fit_beside_an_erasure_keeps_nothing_of_the_subject(opened, catalog, ours):
    other = opened()
    vector = np.ones(8, np.float32)
    for n in range(20):
        catalog.add(ours, n, subject_id=f"p{n}")
        errors = run_all(
            lambda n=n: teach(
                catalog, ours, f"k{n}", f"s{n}", subject_id=f"p{n}", embedding_D=vector
            ),
            lambda n=n: other.erase_subject(ours, f"p{n}"),
        )
        # Either the erasure came first, and nothing was stored; or the fit did, and lost both.
        assert (type(errors[0]), errors[1]) in ((Erased, None), (type(None), None))
        if errors[0] is None:
            scan, upload = catalog.version_examples(ours, f"k{n}", 1)
            scores = catalog.get_classifier(ours, f"k{n}").published.out_of_fold
            assert (scan.is_kept, upload.is_kept) == (False, False)
            assert (scores, scan.sha256, upload.subject_id) == (bytes(2), None, None)


def test_two_erasures_and_a_writer_end_without_a_deadlock(opened, catalog, ours):
    others = [opened() for _ in range(3)]
    catalog.create("ours", "liver")
    for n in range(10):
        for collection in ("lungs", "liver"):
            catalog.add(ours, 2 * n, collection, subject_id=f"p{n}")
            catalog.add(ours, 2 * n + 1, collection, subject_id=f"q{n}")
        errors = run_all(
            lambda n=n: catalog.erase_subject(ours, f"p{n}"),
            lambda n=n: others[0].erase_subject(ours, f"q{n}"),
            lambda n=n: others[1].erase_scan(ours, "liver", f"s{2 * n}"),
            lambda n=n: others[2].add(ours, 100 + n, "lungs"),
        )
        assert [e for e in errors if e is not None and not isinstance(e, UnknownItem)] == []
        assert errors[:2] == [None, None]
    assert catalog.held(ours) == [f"s{100 + n}" for n in range(10)]
    assert catalog.held(ours, "liver") == []


def test_one_of_two_classifiers_of_a_name_and_one_of_two_revisions_wins(opened, catalog, ours):
    other = opened()
    errors = run_all(*(lambda c=c: teach(c, ours, "k") for c in (catalog, other)))
    assert sorted(type(e) for e in errors if e) == [NameTaken]
    version = NewVersion("enc_1", ("x",), b"npz", {})
    add = [lambda c=c: c.add_version(ours, "k", version, if_revision=1) for c in (catalog, other)]
    assert [type(e) for e in run_all(*add) if e] == [PreconditionFailed]
    add = [lambda c=c: c.add_version(ours, "k", version, publish=True) for c in (catalog, other)]
    assert run_all(*add) == [None, None]
    versions = catalog.list_versions(ours, "k", limit=9).items
    assert [v.number for v in versions] == [4, 3, 2, 1]
    assert catalog.publish_version(ours, "k", 2, if_revision=4).published.number == 2


def test_examples_of_an_earlier_version_are_named_and_unknown_ones_refused(catalog, ours):
    catalog.add(ours, 1)
    teach(catalog, ours, "k", "s1", subject_id="p", embedding_D=np.arange(8, dtype=np.float32))
    _, second = catalog.version_examples(ours, "k", 1)
    again = NewExample("y", 0, example_id=second.example_id)
    more = NewExample("x", 1, scan=("lungs", "gone"))
    version = NewVersion("enc_1", ("x", "y"), b"npz", {}, examples=(again, more))
    catalog.add_version(ours, "k", version, gone=1)
    found = catalog.version_examples(ours, "k", 2)
    assert [(e.label, e.example_id == second.example_id, e.is_kept) for e in found] == [
        ("y", True, True),
        ("x", False, False),
    ]
    assert catalog.version_examples(ours, "k", 2, after=0, limit=1) == found[1:]
    np.testing.assert_array_equal(
        catalog.version_embeddings(ours, "k", 2, dim=8), [np.arange(8, dtype=np.float32)]
    )
    unknown = NewExample("x", 0, example_id="exm_00")
    with pytest.raises(UnknownItem, match="1 of the named"):
        catalog.add_version(ours, "k", NewVersion("enc_1", ("x",), b"", {}, examples=(unknown,)))
    assert catalog.get_classifier(ours, "k").latest == 2
    catalog.delete_classifier(ours, "k")
    assert catalog.version_examples(ours, "k", 1) == ()


def test_scans_that_come_of_age_go_once_when_two_replicas_sweep(opened, catalog):
    ward = catalog.create("ward", retention_days=30)
    other = opened()
    for n in range(12):
        catalog.add(ward, n)
    clock = SetClock()
    assert catalog.expire(clock=clock) == ()
    clock.run(days=31)
    receipts = []
    errors = run_all(
        lambda: receipts.extend(catalog.expire(clock=clock)),
        lambda: receipts.extend(other.expire(clock=clock)),
    )
    assert errors == [None, None]
    assert sorted(s for _, r in receipts for _, s in r.scans) == sorted(f"s{n}" for n in range(12))
    assert catalog.held(ward) == []


def test_the_proof_of_one_machine_is_none_for_another(opened, catalog):
    ward = catalog.create("ward", retention_days=30)
    for n in range(12):
        catalog.add(ward, n)
    ours, theirs = SetClock(), SetClock()
    theirs.boot, theirs.boot_s = "boot-of-another", 5_000_000.0
    catalog.expire(clock=ours)
    for clock in (ours, theirs):
        clock.run(days=31)
    theirs.jump(hours=1)
    assert catalog.expire(clock=theirs) == (), "it never swept before"
    ((_, receipt),) = catalog.expire(clock=ours)
    assert len(receipt.scans) == 12


def test_each_machine_goes_on_from_its_own_sweep(opened, catalog):
    ward = catalog.create("ward", retention_days=30)
    machines = [SetClock(), SetClock()]
    machines[1].boot, machines[1].boot_s = "boot-of-another", 5_000_000.0
    for n in range(12):
        catalog.add(ward, n)
    for day in range(32):  # they take turns
        receipts = catalog.expire(clock=machines[day % 2])
        assert receipts == () or day > 30
        for clock in machines:
            clock.run(days=1)
    assert catalog.held(ward) == []


def test_a_workspace_that_is_being_moved_loses_nothing_and_others_are_swept(catalog):
    moving = catalog.create("moving", retention_days=30)
    staying = catalog.create("staying", retention_days=30)
    for owner in (moving, staying):
        catalog.add(owner, 1)
    clock = SetClock()
    catalog.expire(clock=clock)
    with catalog.database.directory("write") as connection:
        stop = "UPDATE workspaces SET state = 'read_only' WHERE workspace_id = %s"
        connection.execute(stop, (moving,))
    clock.run(days=31)
    ((owner, _),) = catalog.expire(limits=SweepLimits(max_share=1.0), clock=clock)
    assert owner == staying
    assert catalog.held(moving) == ["s1"]


def test_vectors_of_both_encoders_change_places_and_back(catalog, ours):
    rows = [catalog.add(ours, n) for n in range(5)]
    begun = catalog.begin_reembedding(ours, "lungs", encoder_id="enc_2", dim=3)
    assert (begun.to_encoder_id, begun.to_dim, begun.embedded) == ("enc_2", 3, 0)
    assert [row for row, _ in catalog.images_to_embed(ours, "lungs", limit=2)] == rows[:2]
    new = np.arange(15, dtype=np.float32).reshape(5, 3)
    catalog.stage_vectors(ours, "lungs", [*rows[:4], 999], new)
    with pytest.raises(Conflict, match="1 scans have no vector"):
        catalog.switch_reembedding(ours, "lungs")
    catalog.stage_vectors(ours, "lungs", rows[4:], new[4:])
    before = vectors(catalog, ours)
    switched = catalog.switch_reembedding(ours, "lungs")
    assert (switched.state, switched.embedded) == ("switched", 5)
    assert [vector for vector, _ in vectors(catalog, ours)] == new.tolist()
    assert catalog.switch_reembedding(ours, "lungs").state == "embedding"
    assert vectors(catalog, ours) == before
    catalog.switch_reembedding(ours, "lungs")
    catalog.end_reembedding(ours, "lungs")
    with pytest.raises(UnknownItem):
        catalog.get_reembedding(ours, "lungs")
    with pytest.raises(Conflict, match="already"):
        catalog.begin_reembedding(ours, "lungs", encoder_id="enc_2", dim=3)


def vectors(catalog, ours):
    with catalog.database.read(ours) as connection:
        rows = connection.execute("SELECT vector, half FROM scan_vectors ORDER BY row_id")
        return [(row["vector"].to_numpy().tolist(), str(row["half"])) for row in rows]


def test_a_switch_beside_erasures_pairs_no_scan_with_anothers_vector(opened, catalog, ours):
    other = opened()
    rows = [catalog.add(ours, n) for n in range(40)]
    catalog.begin_reembedding(ours, "lungs", encoder_id="enc_2", dim=8)
    new = np.stack([np.full(8, row, np.float32) for row in rows])
    catalog.stage_vectors(ours, "lungs", rows, new)

    def erase():
        for n in range(0, 40, 2):
            other.erase_scan(ours, "lungs", f"s{n}")

    assert run_all(lambda: catalog.switch_reembedding(ours, "lungs"), erase) == [None, None]
    with catalog.database.read(ours) as connection:
        found = connection.execute("SELECT row_id, vector FROM scan_vectors").fetchall()
    assert {r["row_id"]: r["vector"].to_numpy()[0] for r in found} == {r: r for r in rows[1::2]}

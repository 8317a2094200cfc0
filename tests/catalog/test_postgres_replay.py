"""After a restore of the database to an earlier time, no erased patient comes back."""

import json
import multiprocessing

import numpy as np
import pytest
from postgres_process import SERVICE_ROLE
from typer.testing import CliRunner

from service.catalog.erasure_ledger import ErasureLedger, digest_of_kind, new_erasure
from service.catalog.ids import subject_digest
from service.catalog.monitoring.monitoring_records import Outcome
from service.catalog.records import NewExample, NewVersion
from service.cli.main import app
from service.errors import CatalogFailure, UnknownItem
from tests.catalog.ledger_writer import append_erasures

SECRET = "SUBJECT-7f3a"
needs_postgres = pytest.mark.postgres


@pytest.fixture
def shelf(tmp_path):
    folder = tmp_path / "backups"
    folder.mkdir()
    return folder


@pytest.fixture
def opened(shelf):
    """Open catalogs, closed at the end."""
    from tests.catalog.postgres_parts import Parts

    catalogs = []

    def run(url):
        catalogs.append(Parts(url, shelf))
        return catalogs[-1]

    yield run
    for catalog in catalogs:
        catalog.close()


@pytest.fixture
def copied(postgres_server):
    """Copy a database nobody uses, as a backup of the moment; return the address of the copy."""
    names = []

    def run(catalog):
        name = catalog.database_name()
        catalog.close()
        names.append(postgres_server.create_database(name))
        return postgres_server.url(names[-1], role=SERVICE_ROLE)

    yield run
    for name in names:
        postgres_server.drop_database(name)


def upload(subject_id):
    return NewExample("x", 0, subject_id=subject_id, embedding_D=np.ones(8, np.float32))


def teach(catalog, owner, name, *examples):
    scores = bytes(range(1, 1 + len(examples)))
    version = NewVersion("enc_1", ("x",), b"npz", {}, out_of_fold=scores, examples=examples)
    catalog.create_classifier(owner, name, version)


def put_outcome(catalog, owner, prediction_id, patient):
    """As the service does it, which is another part of the catalog."""
    from service.catalog.monitoring.postgres_monitoring import PostgresMonitoring

    digest = subject_digest(owner, patient)
    outcome = Outcome(prediction_id, digest, {"x": 1.0}, False, ("x",))
    where = (owner, catalog.get_classifier(owner, "k").classifier_id, 1)
    PostgresMonitoring.put_outcomes(catalog, *where, [outcome], keep=9)


def outcomes(catalog, owner):
    from service.catalog.monitoring.postgres_monitoring import PostgresMonitoring

    where = (owner, catalog.get_classifier(owner, "k").classifier_id, 1)
    return PostgresMonitoring.outcomes(catalog, *where)


def delete_collection(catalog, owner, name):
    """As the service does it, which is another part of the catalog."""
    from service.catalog.postgres.postgres_collections import PostgresCollections

    PostgresCollections.delete_collection(catalog, owner, name)


@pytest.fixture
def erased(opened, copied, postgres_url, shelf):
    """(address of a backup, ours): patients were erased after it."""
    catalog = opened(postgres_url)
    ours = catalog.create("ours")
    catalog.create("ours", "gone")
    catalog.add(ours, 1, subject_id=SECRET)
    catalog.add(ours, 2, study_id=f"{SECRET}-study")
    catalog.add(ours, 3)
    catalog.add(ours, 4, subject_id="stays")
    catalog.add(ours, 5, "gone")
    stored = NewExample("x", 1, scan=("lungs", "s1"))
    teach(catalog, ours, "k", upload(SECRET), stored, upload("stays"))
    teach(catalog, ours, "deleted", upload(f"{SECRET}-classifier"))
    for n, patient in enumerate((SECRET, "stays")):
        put_outcome(catalog, ours, f"prd_{n}", patient)
    backup = copied(catalog)
    catalog = opened(postgres_url)
    catalog.erase_subject(ours, SECRET)
    catalog.erase_study(ours, f"{SECRET}-study")
    catalog.erase_scan(ours, "lungs", "s3")
    catalog.delete_classifier(ours, "deleted")
    delete_collection(catalog, ours, "gone")
    return backup, ours


def is_as_after_the_erasures(catalog, ours):
    assert catalog.held(ours) == ["s4"]
    with pytest.raises(UnknownItem):
        catalog.held(ours, "gone")
    assert [k.name for k in catalog.list_classifiers(ours, limit=9).items] == ["k"]
    kept = [example.is_kept for example in catalog.version_examples(ours, "k", 1)]
    assert kept == [False, False, True]
    assert [outcome.prediction_id for outcome in outcomes(catalog, ours)] == ["prd_1"]


@needs_postgres
def test_what_was_erased_after_the_backup_goes_again_and_once(opened, erased, shelf):
    backup, ours = erased
    restored = opened(backup)
    ledger = ErasureLedger(shelf).read()
    assert len(restored.held(ours)) == 4
    before = restored.forgettings(ours)
    planned = restored.replay_erasures(ledger, dry_run=True)
    assert len(restored.held(ours)) == 4
    done = restored.replay_erasures(ledger)
    assert done == planned
    assert (done.scans, done.examples, done.collections, done.classifiers) == (4, 1, 1, 1)
    is_as_after_the_erasures(restored, ours)
    assert restored.get_classifier(ours, "k").published.out_of_fold == bytes([0, 0, 3])
    assert restored.forgettings(ours) > before, "replicas must forget what they hold in memory"
    assert restored.replay_erasures(ledger).unknown == 0
    assert restored.finish_erasures() == 0


@needs_postgres
def test_a_patient_who_came_back_stays_before_the_backup_and_after_the_restore(
    opened, copied, postgres_url, shelf
):
    catalog = opened(postgres_url)
    ours = catalog.create("ours")
    catalog.add(ours, 1, subject_id="early")
    catalog.erase_subject(ours, "early")
    catalog.add(ours, 1, subject_id="early")
    catalog.add(ours, 2, subject_id="late")
    backup = copied(catalog)
    opened(postgres_url).erase_subject(ours, "late")
    restored = opened(backup)
    # An hour after the restore the patient is examined again; nobody has replayed anything yet.
    restored.add(ours, 3, subject_id="late", created_at="2199-01-01T00:00:00.000000Z")
    restored.replay_erasures(ErasureLedger(shelf).read())
    assert restored.held(ours) == ["s1", "s3"]


@needs_postgres
def test_a_new_collection_with_the_number_of_a_lost_one_stays(opened, copied, postgres_url, shelf):
    catalog = opened(postgres_url)
    ours = catalog.create("ours")
    backup = copied(catalog)
    catalog = opened(postgres_url)
    catalog.create("ours", "lost")
    delete_collection(catalog, ours, "lost")
    restored = opened(backup)
    restored.create("ours", "new")
    restored.add(ours, 1, "new")
    assert restored.replay_erasures(ErasureLedger(shelf).read()).collections == 0
    assert restored.held(ours, "new") == ["s1"]


@needs_postgres
def test_a_collection_of_a_later_backup_keeps_what_another_of_its_number_lost(
    opened, copied, postgres_url, shelf
):
    catalog = opened(postgres_url)
    ours = catalog.create("ours")
    earlier = copied(catalog)
    catalog = opened(postgres_url)
    catalog.create("ours", "liver")
    catalog.add(ours, 1, "liver")
    later = copied(catalog)
    tried = opened(earlier)
    tried.create("ours", "scratch")
    delete_collection(tried, ours, "scratch")
    restored = opened(later)
    assert restored.replay_erasures(ErasureLedger(shelf).read()).collections == 0
    assert restored.held(ours, "liver") == ["s1"]


@needs_postgres
def test_erasures_that_name_the_number_of_a_collection_alone_leave_a_younger_one(
    opened, postgres_url
):
    catalog = opened(postgres_url)
    ours = catalog.create("ours", "older")
    with catalog.database.read(ours) as connection:
        number = connection.execute("SELECT collection_id FROM collections").fetchone()
    noted = new_erasure(
        "collection", ours, digest_of_kind("collection", ours, number["collection_id"])
    )
    with catalog.database.write(ours) as connection:  # the tolerance of clocks is over
        later = "UPDATE collections SET created_at = '2199-01-01T00:00:00.000000Z'"
        connection.execute(later)
    assert catalog.replay_erasures([noted], dry_run=True).collections == 0
    with catalog.database.write(ours) as connection:
        earlier = "UPDATE collections SET created_at = '2001-01-01T00:00:00.000000Z'"
        connection.execute(earlier)
    assert catalog.replay_erasures([noted]).collections == 1


@needs_postgres
def test_a_replay_that_is_killed_goes_on_where_it_stopped(opened, copied, postgres_url, shelf):
    catalog = opened(postgres_url)
    owners = [catalog.create(name) for name in ("first", "second")]
    for owner in owners:
        for n in range(3):
            catalog.add(owner, n, subject_id=SECRET)
        teach(catalog, owner, "k", upload(SECRET))
    backup = copied(catalog)
    catalog = opened(postgres_url)
    for owner in owners:
        catalog.erase_subject(owner, SECRET)
    ledger = ErasureLedger(shelf).read()
    calls = 0

    def fail_second(scores, positions):
        nonlocal calls
        calls += 1
        if calls == 2:
            raise CatalogFailure("killed")
        return b"\0"

    restored = opened(backup)
    restored._redact = fail_second
    with pytest.raises(CatalogFailure, match="killed"):
        restored.replay_erasures(ledger)
    assert sorted(len(restored.held(owner)) for owner in owners) == [0, 3]
    assert restored.replay_erasures(ledger).scans == 3
    assert [restored.held(owner) for owner in owners] == [[], []]


@needs_postgres
def test_the_command_replays_several_ledgers_and_vacuums(opened, erased, shelf, tmp_path):
    backup, ours = erased
    half = tmp_path / "of-another-replica"
    half.mkdir()
    erasures = ErasureLedger(shelf).read()
    (shelf / "erasures.jsonl").unlink()
    ErasureLedger(shelf).note(erasures[::2])
    foreign = new_erasure("subject", "ws_of_another_catalog", "0" * 64)
    ErasureLedger(half).note([*erasures[1::2], foreign])
    environment = {
        "SONOPROBE_CATALOG": backup,
        "SONOPROBE_DATA_DIR": str(tmp_path / "data"),
        "SONOPROBE_BACKUP_DIR": str(shelf),
    }
    command = ["erasures", "replay", "--ledger", str(shelf), "--ledger", str(half), "--json"]
    planned = CliRunner().invoke(app, [*command, "--dry-run"], env=environment)
    done = CliRunner().invoke(app, command, env=environment)
    assert (planned.exit_code, done.exit_code) == (0, 0), done.output
    told = json.loads(done.stdout)
    assert told == json.loads(planned.stdout) | {"dry_run": False}
    assert (told["unknown"], told["foreign"], told["unvacuumed"]) == (len(erasures), 1, 0)
    restored = opened(backup)
    is_as_after_the_erasures(restored, ours)
    assert {e.erasure_id for e in ErasureLedger(shelf).read()} == {e.erasure_id for e in erasures}
    vacuum = CliRunner().invoke(app, ["erasures", "vacuum", "--rewrite"], env=environment)
    assert (vacuum.exit_code, vacuum.stdout) == (0, "vacuumed\n")


def test_the_command_needs_a_ledger_and_a_catalog_on_postgresql(tmp_path, shelf):
    environment = {"SONOPROBE_DATA_DIR": str(tmp_path / "data")}
    for options, message in (
        (["replay"], "--ledger"),
        (["replay", "--ledger", str(shelf)], "erasures.jsonl"),
        (["vacuum"], "SONOPROBE_CATALOG"),
    ):
        result = CliRunner().invoke(app, ["erasures", *options], env=environment)
        assert result.exit_code != 0
        assert message in result.output


def test_several_processes_append_to_one_ledger_and_no_line_is_lost(shelf):
    context = multiprocessing.get_context("spawn")
    writers = [
        context.Process(target=append_erasures, args=(shelf, f"ws_{n}", 40)) for n in range(3)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = ErasureLedger(shelf).read()
    assert {(e.workspace_id, e.digest) for e in found} == {
        (f"ws_{writer}", f"{n:064d}") for writer in range(3) for n in range(40)
    }
    assert len(found) == 3 * sum(1 + n % 3 for n in range(40))

"""Copying a whole catalog from SQLite into PostgreSQL."""

import shutil
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from service.catalog.filter_records import ScanFilter
from service.catalog.monitoring.monitoring_records import Outcome, UsageWindows
from service.catalog.postgres.postgres_catalog import open_postgres
from service.catalog.postgres.postgres_database import PostgresDatabase
from service.catalog.postgres.shards.catalog_copy import copy_catalog
from service.catalog.records import NewExample, NewVersion
from service.catalog.sqlite.sqlite_catalog import FILE_NAME, open_catalog
from service.errors import CatalogFailure, Conflict
from tests.catalog.conftest import DIM, ENCODER
from tests.catalog.signing_pairs import new_key, new_pair

pytestmark = pytest.mark.postgres
RELEASED = Path(__file__).parents[1] / "fixtures" / "catalog_v2"
EVERYTHING = ScanFilter()


class Killed(BaseException):
    """The process of the copy has ended here."""


@pytest.fixture
def source(tmp_path):
    """A catalog with something in every table, as a release wrote it."""
    folder = tmp_path / "source"
    shutil.copytree(RELEASED, folder)
    catalog = open_catalog(folder)  # of this schema from now on
    for owner, where in versions(catalog):
        windows = UsageWindows(slot_s=600, kept_slots=9, block_answers=5, kept_blocks=9)
        catalog.add_usage(owner, *where, {"called": [1, 2]}, answers=3, windows=windows)
        outcome = Outcome("prd_1", None, {"x": 1.0}, True, ("x",))
        catalog.put_outcomes(owner, *where, [outcome], keep=9)
    for workspace in catalog.list_workspaces():
        catalog.keep_signing_pair(workspace.workspace_id, new_pair())
        catalog.trust_signing_key(workspace.workspace_id, new_key())
    catalog.close()
    return folder


def versions(catalog):
    """(workspace, (classifier_id, 1)) of every classifier."""
    return [
        (workspace.workspace_id, (classifier.classifier_id, 1))
        for workspace in catalog.list_workspaces()
        for classifier in catalog.list_classifiers(workspace.workspace_id, limit=100).items
    ]


@pytest.fixture
def copy(source, postgres_url):
    def run(url=postgres_url, on_step=lambda what, rows: None, folder=source):
        database = PostgresDatabase(url, may_arrive=True)
        try:
            return copy_catalog(folder / FILE_NAME, database, on_step=on_step)
        finally:
            database.close()

    return run


@pytest.fixture
def both(source, postgres_url):
    """The source and its copy, opened."""
    with ExitStack() as stack:

        def run():
            pair = [open_catalog(source), open_postgres(postgres_url)]
            for catalog in pair:
                stack.callback(catalog.close)
            return pair

        yield run


def everything(catalog):
    """Whatever the interface can read of all workspaces, without what differs by engine."""
    return {
        workspace.workspace_id: [workspace, *held(catalog, workspace.workspace_id)]
        for workspace in catalog.list_workspaces()
    }


def held(catalog, owner):
    yield catalog.list_keys(owner)
    yield catalog.signing_pair(owner)
    yield catalog.list_signing_keys(owner)
    yield catalog.forgettings(owner)
    yield catalog.list_operations(owner, limit=100).items
    for classifier in catalog.list_classifiers(owner, limit=100).items:
        yield classifier
        where = (owner, classifier.classifier_id, 1)
        yield [catalog.usage(*where, period) for period in ("slot", "block", "total")]
        yield catalog.outcomes(*where)
        for version in catalog.list_versions(owner, classifier.name, limit=100).items:
            yield version
            yield catalog.version_examples(owner, classifier.name, version.number)
    for collection in catalog.list_collections(owner, limit=100).items:
        name = collection.name
        yield collection
        rows = catalog.export_rows(owner, name)
        yield [(row.scan, row.embedding_D.tolist(), row.jpeg) for row in rows]
        yield [catalog.kept_image(owner, name, row.scan.scan_id) for row in rows]
        yield catalog.facets(owner, name, where=EVERYTHING)
        frames = catalog.kept_frames(owner, name)
        yield {
            field: getattr(frames, field).tolist()
            for field in ("row_ids_N", "places_N", "embeddings_ND")
        }


def test_a_copy_answers_as_its_source(copy, both):
    rows = copy()
    of_versions = ("classifier_versions", "classifier_usage", "classifier_outcomes")
    assert all(rows[table] for table in ("keys", "scans", "erasures", *of_versions))
    source, target = both()
    assert everything(target) == everything(source)


def test_new_rows_of_the_copy_get_new_numbers(copy, both):
    copy()
    _, target = both()
    workspace = target.list_workspaces()[0]
    before = target.list_operations(workspace.workspace_id, limit=1).items
    made = target.create_operation(workspace.workspace_id, "fit", {})
    assert target.list_operations(workspace.workspace_id, limit=2).items == (made, *before)
    assert target.ensure_workspace("later") == target.list_workspaces()[-1]
    target.create_key(workspace.workspace_id, "later", "another hash")


def test_a_copy_that_is_killed_anywhere_goes_on(copy, both, postgres_url):
    steps = []
    with pytest.raises(Killed):
        copy(on_step=_killed_after(0, steps))
    with pytest.raises(CatalogFailure, match="copied"):
        open_postgres(postgres_url)  # nobody sees a part
    for count in (3, 8, 14, 20, 26):
        with pytest.raises(Killed):
            copy(on_step=_killed_after(count, steps))
    copy()
    source, target = both()
    assert everything(target) == everything(source)
    assert {"scans", "compared"} <= set(steps)


def test_a_source_that_changed_meanwhile_is_told_from_its_copy(copy, source):
    with pytest.raises(Killed):
        copy(on_step=_killed_at("compared"))
    catalog = open_catalog(source)
    (owner, collection), *_ = catalog.all_collections()
    scan = catalog.list_scans(owner, collection.name, where=EVERYTHING, limit=1).items[0]
    catalog.erase_scan(owner, collection.name, scan.scan_id)
    catalog.close()
    with pytest.raises(CatalogFailure, match="differs"):
        copy()


def test_a_database_with_other_data_is_refused(copy, source, postgres_url, tmp_path):
    catalog = open_postgres(postgres_url)
    catalog.ensure_workspace("default")
    with pytest.raises(Conflict, match="other data"):
        copy()
    assert [workspace.name for workspace in catalog.list_workspaces()] == ["default"]
    catalog.close()


def test_a_whole_copy_is_not_continued(copy, tmp_path):
    copy()
    with pytest.raises(Conflict, match="already"):
        copy()
    other = open_catalog(tmp_path / "other")
    other.ensure_workspace("other")
    other.close()
    with pytest.raises(Conflict, match="other data"):
        copy(folder=tmp_path / "other")


def test_the_numbers_of_the_copy_are_above_those_of_the_source(copy, postgres_url):
    copy()
    with psycopg.connect(postgres_url) as connection:
        connection.execute("SELECT set_config('app.workspace', '*', true)")
        newest, following = connection.execute(
            "SELECT max(row_id), nextval('scans_row_id_seq') FROM scans"
        ).fetchone()
    assert following > newest


def test_the_copy_gives_no_number_of_a_scan_that_the_source_had_deleted(
    copy, both, source, new_scan
):
    catalog = open_catalog(source)
    ours = catalog.list_workspaces()[0].workspace_id
    for name in ("taught", "knees"):
        catalog.create_collection(ours, name, encoder_id=ENCODER, dim=DIM)
    scans = [new_scan(n, scan_id=f"t{n}") for n in range(4)]
    stored = catalog.add_scans(ours, "taught", scans, encoder_id=ENCODER)
    examples = [NewExample("ab"[n % 2], n, scan=("taught", f"t{n}")) for n in range(4)]
    version = NewVersion(ENCODER, ("a", "b"), b"{}", {}, examples=tuple(examples))
    catalog.create_classifier(ours, "of-deleted", version)
    catalog.delete_collection(ours, "taught")  # the newest scans of the whole catalog
    catalog.close()
    copy()
    _, target = both()
    strangers = [new_scan(50 + n, subject_id=f"stranger{n}") for n in range(4)]
    answers = target.add_scans(ours, "knees", strangers, encoder_id=ENCODER)
    assert min(a.scan.row_id for a in answers) > max(s.scan.row_id for s in stored)
    assert [e.is_kept for e in target.version_examples(ours, "of-deleted", 1)] == [False] * 4
    assert target.subject(ours, "stranger0", limit=1)[0].classifiers == ()


def _killed_after(count, steps):
    left = [count]

    def run(what, _rows):
        steps.append(what)
        if left[0] == 0:
            raise Killed
        left[0] -= 1

    return run


def _killed_at(step):
    def run(what, _rows):
        if what == step:
            raise Killed

    return run

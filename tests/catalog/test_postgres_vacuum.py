"""What an erasure leaves in the files of the database, and when it is gone."""

import psycopg
import pytest

from service.catalog.postgres.erasure.postgres_vacuum import ErasureVacuum
from service.catalog.postgres.postgres_database import DIRECTORY

pytestmark = pytest.mark.postgres
CANARY = "CANARY-7f3a"


@pytest.fixture
def catalog(postgres_url):
    from tests.catalog.postgres_parts import Parts

    catalog = Parts(postgres_url)
    yield catalog
    catalog.close()


@pytest.fixture
def as_owner(postgres_server, catalog):
    """Run a query as the owner of the database, who sees files and statistics."""

    def run(query):
        url = postgres_server.url(catalog.database_name())
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(query)
            return cursor.fetchall() if cursor.description else []

    return run


@pytest.fixture
def files_with(postgres_server, as_owner):
    """The tables and indexes in whose files a text is."""

    def run(text):
        as_owner("CHECKPOINT")
        places = as_owner(
            "SELECT pg_relation_filepath(oid), relname FROM pg_class "
            "WHERE relkind IN ('r', 'i', 't')"
        )
        data = postgres_server.folder / "data"
        return {
            name
            for path, name in places
            if path
            for file in data.glob(f"{path}*")
            if text.encode() in file.read_bytes()
        }

    return run


def rows_in(catalog, table):
    with catalog.database.everything(DIRECTORY, "read") as connection:
        return connection.execute(f"SELECT count(*) AS n FROM {table}").fetchone()["n"]


def add_patients(catalog):
    """Scans of one patient between those of others, so that no end of a file is cut off."""
    ours = catalog.create("ours")
    for n in range(60):
        subject_id = f"{CANARY}-{'x' * 200}" if n % 3 == 0 else f"p{n}"
        catalog.add(ours, n, subject_id=subject_id, labels=f'{{"note": "{subject_id}"}}')
    return ours


def test_an_erasure_is_owed_until_a_vacuum_passed_over_it(catalog):
    ours = add_patients(catalog)
    catalog.erase_subject(ours, f"{CANARY}-{'x' * 200}")
    assert rows_in(catalog, "vacuums_owed") == 1
    assert catalog.finish_erasures() == 0
    assert (rows_in(catalog, "vacuums_owed"), catalog.erasures_unvacuumed) == (0, 0)
    assert len(catalog.held(ours)) == 40


def test_it_stays_owed_while_a_dump_may_see_the_rows(catalog, postgres_url):
    from tests.catalog.postgres_parts import Parts

    ours = add_patients(catalog)
    with catalog.database.everything(DIRECTORY, "read") as dump:
        assert dump.execute("SELECT count(*) AS n FROM scans").fetchone()["n"] == 60
        catalog.erase_scan(ours, "lungs", "s0")
        assert catalog.finish_erasures() == 1
        assert catalog.erasures_unvacuumed == 1
    other = Parts(postgres_url)  # another replica, after the first one was killed
    assert other.finish_erasures() == 0
    other.close()
    assert catalog.finish_erasures() == 0


def test_one_replica_vacuums_at_a_time(catalog):
    ours = add_patients(catalog)
    catalog.erase_scan(ours, "lungs", "s0")
    lock = "SELECT pg_advisory_lock(hashtextextended('once vacuum', 0))"
    with catalog.database.apart(DIRECTORY) as other:
        other.execute(lock)
        assert catalog.finish_erasures() == 1
    assert catalog.finish_erasures() == 0


def test_a_closed_vacuum_begins_no_table(catalog):
    ours = add_patients(catalog)
    catalog.erase_scan(ours, "lungs", "s0")
    vacuum = ErasureVacuum(catalog.database)
    vacuum.close()
    vacuum.run()
    assert rows_in(catalog, "vacuums_owed") == 1


def test_a_vacuum_leaves_remains_in_pages_and_a_rewrite_leaves_none(catalog, files_with):
    ours = add_patients(catalog)
    assert "scans" in files_with(CANARY)
    catalog.erase_subject(ours, f"{CANARY}-{'x' * 200}")
    catalog.finish_erasures()
    assert files_with(CANARY), "remains lie in free places of pages"
    assert catalog.finish_erasures(rewrite=True) == 0
    assert files_with(CANARY) == set()
    assert len(catalog.held(ours)) == 40


def test_statistics_of_frequent_patients_are_renewed(catalog, as_owner):
    ours = add_patients(catalog)
    frequent = "SELECT most_common_vals::text FROM pg_stats WHERE attname = 'subject_id'"
    as_owner("ANALYZE scans")
    assert CANARY in str(as_owner(frequent))
    catalog.erase_subject(ours, f"{CANARY}-{'x' * 200}")
    catalog.finish_erasures()
    assert CANARY not in str(as_owner(frequent))

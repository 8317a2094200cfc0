"""Moving workspaces between two databases, under two replicas that go on serving them."""

import itertools
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

import psycopg
import pytest
from postgres_process import SERVICE_ROLE

from service.catalog.access_records import SavedAnswer
from service.catalog.filter_records import ScanFilter
from service.catalog.postgres.postgres_catalog import open_postgres
from service.catalog.postgres.postgres_guards import GUARDED
from service.catalog.postgres.shards.row_numbers import NUMBERED, STRIDE
from service.catalog.postgres.shards.shard_migration import migrate_all
from service.catalog.postgres.shards.table_rows import KEYS
from service.catalog.postgres.shards.workspace_move import move_workspace
from service.catalog.records import StoredScan
from service.errors import CatalogFailure, Conflict, NameTaken, UnknownItem, WorkspaceMoving
from tests.catalog.conftest import DIM, ENCODER
from tests.catalog.signing_pairs import new_pair

pytestmark = pytest.mark.postgres
SHARD = "north"
EVERYTHING = ScanFilter()


class Killed(BaseException):
    """The process of a move has ended here."""


@pytest.fixture
def urls(postgres_server):
    """The addresses of a directory and a shard, for the role of the service."""
    names = [postgres_server.create_database() for _ in range(2)]
    owner, shard = (postgres_server.url(name) for name in names)
    done = migrate_all(owner, {SHARD: shard}, service_role=SERVICE_ROLE)
    assert done == {"": True, SHARD: True}
    yield [postgres_server.url(name, role=SERVICE_ROLE) for name in names]
    for name in names:
        postgres_server.drop_database(name)


@pytest.fixture
def replica(urls):
    """Open another replica."""
    with ExitStack() as stack:

        def run():
            catalog = open_postgres(urls[0], shards={SHARD: urls[1]})
            stack.callback(catalog.close)
            return catalog

        yield run


@pytest.fixture
def catalog(replica):
    return replica()


@pytest.fixture
def fill(catalog, new_scan):
    """A workspace with something in (nearly) every table."""

    def run(name="ward", shard="", scans=3):
        owner = catalog.create_workspace(name, shard).workspace_id
        catalog.create_collection(owner, "lungs", encoder_id=ENCODER, dim=DIM, keep_images=True)
        made = [new_scan(n, subject_id=f"P-{n}", labels={"t": "a"}) for n in range(scans)]
        catalog.add_scans(owner, "lungs", made, encoder_id=ENCODER)
        catalog.create_operation(owner, "fit", {"name": "x"})
        catalog.keep_signing_pair(owner, new_pair())
        catalog.save_answer(owner, "key", SavedAnswer("d", 200, b"body"), keep_s=600)
        catalog.erase_subject(owner, "P-0")
        catalog.save_answer(owner, "key", SavedAnswer("d", 200, b"later"), keep_s=600)
        return owner

    return run


def move(catalog, name="ward", to=SHARD, on_step=lambda what, rows: None, **fields):
    return move_workspace(catalog, name, to, on_step=on_step, **fields)


def killed_at(step):
    def run(what, _rows):
        if what == step:
            raise Killed

    return run


def held(catalog, owner):
    """What a client can read of a workspace."""
    scans = catalog.list_scans(owner, "lungs", where=EVERYTHING, limit=500).items
    rows, vectors = catalog.row_vectors(owner, "lungs", [scan.row_id for scan in scans])
    return (
        scans,
        rows.tolist(),
        vectors.tolist(),
        [catalog.thumbnail(owner, "lungs", scan.scan_id) for scan in scans],
        catalog.get_collection(owner, "lungs"),
        catalog.list_operations(owner, limit=50).items,
        catalog.find_answer(owner, "key"),
        catalog.signing_pair(owner),
        catalog.forgettings(owner),
    )


def rows_in(url, owner):
    """The number of rows of a workspace in each table of one database."""
    with psycopg.connect(url) as connection:
        connection.execute("SELECT set_config('app.workspace', '*', true)")
        counts = {}
        for table in KEYS:
            query = f"SELECT count(*) FROM {table} WHERE workspace_id = %s"
            counts[table] = connection.execute(query, (owner,)).fetchone()[0]
        return {table: count for table, count in counts.items() if count}


def test_every_table_of_workspaces_is_moved():
    # Policies and places of streams lie in the directory, which no move leaves.
    staying = {"search_parts", "workspace_policies", "live_streams"}
    assert set(KEYS) == set(GUARDED) - staying
    assert set(NUMBERED) <= set(KEYS)


def test_a_moved_workspace_is_the_same_on_every_replica(urls, catalog, replica, fill):
    other = replica()
    owner, staying = fill(), fill("staying")
    before, beside = held(other, owner), held(other, staying)
    rows = rows_in(urls[0], owner)
    assert move(catalog) == sum(rows.values())
    assert held(catalog, owner) == held(other, owner) == held(replica(), owner) == before
    assert rows_in(urls[0], owner) == {}
    assert rows_in(urls[1], owner) == rows
    assert held(other, staying) == beside
    assert [(w.name, shard) for w, shard in catalog.placed_workspaces()] == [
        ("ward", SHARD),
        ("staying", ""),
    ]


def test_it_moves_back_and_forth(catalog, replica, fill):
    owner, other = fill(), replica()
    before = held(catalog, owner)
    for to in (SHARD, "", SHARD):
        move(catalog, to=to)
        assert held(other, owner) == before


def test_newer_rows_have_greater_numbers_and_no_number_is_given_twice(catalog, fill, new_scan):
    here, there = fill("here"), fill("there", SHARD, scans=9)
    numbers = Counter()
    for n, (name, _, to) in enumerate(
        [("there", there, ""), ("here", here, SHARD), ("there", there, SHARD), ("here", here, "")]
    ):
        move(catalog, name, to)
        for workspace in (here, there):
            catalog.add_scans(workspace, "lungs", [new_scan(50 + n)], encoder_id=ENCODER)
            scans = catalog.list_scans(workspace, "lungs", where=EVERYTHING, limit=500).items
            times = [scan.created_at for scan in scans]
            assert times == sorted(times), "the order of storing is that of the numbers"
        numbers.update({scan.row_id % STRIDE for scan in scans[-1:]})
    everywhere = [
        scan.row_id
        for workspace in (here, there)
        for scan in catalog.list_scans(workspace, "lungs", where=EVERYTHING, limit=500).items
    ]
    assert len(set(everywhere)) == len(everywhere)
    assert len(numbers) == 2, "each database counts with numbers of its own"


def test_a_database_that_gave_no_number_yet_gives_none_that_another_gave(postgres_server, new_scan):
    names = [postgres_server.create_database() for _ in range(3)]
    owner, *shards = (postgres_server.url(name) for name in names)
    migrate_all(owner, {})
    with open_for(owner) as alone:
        ward = alone.create_workspace("ward").workspace_id
        alone.create_collection(ward, "lungs", encoder_id=ENCODER, dim=DIM)
        alone.add_scans(ward, "lungs", [new_scan(n) for n in range(3)], encoder_id=ENCODER)
    with psycopg.connect(owner) as connection:  # as if many more had been stored and deleted
        connection.execute("SELECT setval('scans_row_id_seq', 5000)")
    for known in ({"a": shards[0]}, {"a": shards[0], "b": shards[1]}):
        migrate_all(owner, known)
    with open_for(owner, known) as catalog:
        move(catalog, to="a")  # whose numbers stay above those of the rows that come
        ward_b = catalog.create_workspace("other", "b").workspace_id
        catalog.create_collection(ward_b, "lungs", encoder_id=ENCODER, dim=DIM)
        for workspace in (ward, ward_b):
            (answer,) = catalog.add_scans(workspace, "lungs", [new_scan(9)], encoder_id=ENCODER)
            assert answer.scan.row_id > 5000
    for name in names:
        postgres_server.drop_database(name)


@contextmanager
def open_for(url, shards=None):
    """A catalog over databases of one role, closed at the end."""
    catalog = open_postgres(url, shards=shards or {})
    try:
        yield catalog
    finally:
        catalog.close()


def test_no_acknowledged_write_is_lost_and_every_refused_one_says_why(
    catalog, replica, fill, new_scan
):
    owner = fill()
    replicas = [replica(), replica()]
    stored: list[str] = []
    refused: list[Exception] = []
    moved = threading.Event()

    def write(n):
        count = 0
        while not moved.is_set() or count < 5:
            count += 1
            number = 1000 * (n + 1) + count
            scan = new_scan(number, scan_id=f"s-{number}")
            try:
                (answer,) = replicas[n % 2].add_scans(owner, "lungs", [scan], encoder_id=ENCODER)
            except Exception as error:
                refused.append(error)
                continue
            assert isinstance(answer, StoredScan)
            stored.append(answer.scan.scan_id)
            # Whoever reads on the other replica sees it at once.
            assert replicas[(n + 1) % 2].get_scan(owner, "lungs", answer.scan.scan_id)

    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(write, n) for n in range(3)]
        for to in (SHARD, "", SHARD):
            move(catalog, to=to)
        moved.set()
        for writer in writers:
            writer.result()
    assert stored
    assert {type(error) for error in refused} <= {WorkspaceMoving}
    scans = catalog.list_scans(owner, "lungs", where=EVERYTHING, limit=100_000).items
    assert set(stored) <= {scan.scan_id for scan in scans}
    assert len(scans) == len(stored) + 2, "nothing twice, and nothing that was refused"
    assert catalog.get_collection(owner, "lungs").scans == len(scans)


def test_a_move_that_is_killed_anywhere_goes_on(urls, catalog, replica, fill):
    owner, other = fill(), replica()
    before, rows = held(catalog, owner), rows_in(urls[0], owner)
    steps: list[str] = []
    move(catalog, on_step=lambda what, _rows: steps.append(what))
    places = dict.fromkeys(steps)
    assert {"read_only", "arriving", "scans", "compared", "opened", "closed", "switched"} < {
        *places
    }
    home = 1  # where it is now
    for place in places:
        with pytest.raises(Killed):
            move(catalog, to=[SHARD, ""][home], on_step=killed_at(place))
        if place not in ("closed", "opened"):  # then it cannot be reached until the move goes on
            assert held(other, owner) == before, place
        move(catalog, to=[SHARD, ""][home])
        home = 1 - home
        assert held(other, owner) == before, place
        assert rows_in(urls[1 - home], owner) == {}
        assert rows_in(urls[home], owner) == rows


def test_a_move_that_is_given_up_leaves_the_workspace_where_it_was(urls, catalog, fill, new_scan):
    owner = fill()
    before, rows = held(catalog, owner), rows_in(urls[0], owner)

    with pytest.raises(Killed):
        move(catalog, on_step=killed_at("compared"))
    with pytest.raises(WorkspaceMoving):
        catalog.create_operation(owner, "fit", {})
    assert held(catalog, owner) == before
    assert move(catalog, to="") == 0
    assert (rows_in(urls[0], owner), rows_in(urls[1], owner)) == (rows, {})
    catalog.add_scans(owner, "lungs", [new_scan(70)], encoder_id=ENCODER)
    move(catalog)
    assert catalog.get_collection(owner, "lungs").scans == len(before[0]) + 1


def test_rows_of_an_older_move_are_not_taken_for_new_ones(urls, catalog, fill, new_scan):
    owner = fill()
    with pytest.raises(Killed):
        move(catalog, on_step=killed_at("compared"))
    with psycopg.connect(urls[0]) as connection:  # as somebody does who knows better
        connection.execute("UPDATE workspaces SET state = 'active'")
    catalog.erase_subject(owner, "P-1")
    catalog.add_scans(owner, "lungs", [new_scan(70)], encoder_id=ENCODER)
    before = held(catalog, owner)
    move(catalog)
    assert held(catalog, owner) == before


def test_running_operations_are_waited_for_and_their_workspace_is_not_closed(catalog, fill):
    owner = fill()
    work = catalog.claim_operation("w", lease_s=60, kinds={"fit"})
    with pytest.raises(Conflict, match="1 operations run"):
        move(catalog, wait_s=0)
    catalog.report_operation(owner, work.operation_id, "w", done=1, total=2)
    catalog.end_operation(owner, work.operation_id, "w", "done", result={})
    waiting = catalog.create_operation(owner, "fit", {})
    move(catalog)
    again = catalog.claim_operation("w", lease_s=60, kinds={"fit"})
    assert again.operation_id == waiting.operation_id
    assert catalog.claim_operation("v", lease_s=60, kinds={"fit"}) is None


def test_a_request_that_has_begun_keeps_its_answer(catalog, replica, fill):
    owner, other = fill(), replica()
    claim = other.claim_answer(owner, "begun", "d", owner="first", lease_s=60)
    with pytest.raises(Conflict, match="1 requests have not ended"):
        move(catalog, wait_s=0)
    catalog.create_collection(owner, "still open", encoder_id=ENCODER, dim=DIM)
    with ThreadPoolExecutor(1) as pool:
        moving = pool.submit(move, catalog)
        with suppress(WorkspaceMoving):
            for n in itertools.count():  # until the workspace is closed
                catalog.create_collection(owner, f"c-{n}", encoder_id=ENCODER, dim=DIM)
        with pytest.raises(WorkspaceMoving):
            other.claim_answer(owner, "new", "d", owner="second", lease_s=60)
        answer = SavedAnswer("d", 201, b"made")
        assert other.claim_answer(owner, "begun", "d", owner="first", lease_s=60).is_mine
        other.save_answer(
            owner, "begun", answer, keep_s=60, owner="first", forgettings=claim.forgettings
        )
        moving.result()
    assert other.claim_answer(owner, "begun", "d", owner="second", lease_s=60).saved == answer


def test_one_command_moves_a_workspace_at_a_time(catalog, replica, fill):
    owner, other = fill(), replica()
    errors = []

    def step(what, _rows):
        if what == "arriving":
            with pytest.raises(Conflict) as caught:
                move(other)
            errors.append(caught.value)

    move(catalog, on_step=step)
    assert len(errors) == 1
    assert catalog.get_collection(owner, "lungs").scans == 2


def test_collections_are_counted_once_while_two_copies_exist(catalog, fill):
    owner = fill()
    counted = []
    move(catalog, on_step=lambda _what, _rows: counted.append(len(catalog.all_collections())))
    assert set(counted) <= {0, 1}  # none at the moment of the switch
    assert catalog.all_collections()[0][0] == owner


def test_workspaces_and_shards_that_are_not_there_are_refused(catalog, fill):
    fill()
    with pytest.raises(UnknownItem):
        move(catalog, "nobody")
    with pytest.raises(UnknownItem):
        move(catalog, to="south")
    with pytest.raises(UnknownItem):
        catalog.create_workspace("new", "south")
    with pytest.raises(NameTaken):
        catalog.create_workspace("ward", SHARD)


def test_databases_that_were_mixed_up_are_refused(postgres_server, urls):
    with pytest.raises(CatalogFailure, match="another shard"):
        open_postgres(urls[1], shards={SHARD: urls[0]})
    with pytest.raises(CatalogFailure, match="another shard"):
        open_postgres(urls[0], shards={"south": urls[1]})
    fresh = postgres_server.create_database()
    with pytest.raises(CatalogFailure, match="another shard"):
        open_postgres(urls[0], shards={SHARD: postgres_server.url(fresh)})
    postgres_server.drop_database(fresh)

"""Scans in PostgreSQL: what replicas do at the same time, and how filters find their rows."""

import hashlib
import threading

import numpy as np
import psycopg
import pytest
from postgres_process import SERVICE_ROLE

from service.catalog.filter_records import Range, ScanFilter
from service.catalog.postgres.postgres_catalog import open_postgres
from service.catalog.postgres.postgres_filter import condition
from service.catalog.postgres.postgres_rows import first, select
from service.catalog.records import ClipFrame, NewScan, ScanImage, ScanPatch, StoredScan
from service.errors import CatalogFailure, ServiceError, UnknownItem

pytestmark = pytest.mark.postgres
DIM, ENCODER = 4, "enc_1"


_MANY = """
    INSERT INTO scans (workspace_id, collection_id, scan_id, sha256, kind, format, width_px,
        height_px, content_sha256, frames, frames_used, analysis, labels, attributes, created_at,
        updated_at, version)
    SELECT workspace_id, collection_id, n::text, n::text, '', '', 1, 1, n::text, 1, 1, '{}',
        CASE WHEN n < 9 THEN '{"v": "a"}' ELSE '{"v": "b"}' END, '{}', '', '', 1
    FROM collections, generate_series(1, 5000) AS n
"""


@pytest.fixture
def replicas(postgres_url):
    catalogs = [open_postgres(postgres_url) for _ in range(2)]
    yield catalogs
    for catalog in catalogs:
        catalog.close()


@pytest.fixture
def ours(replicas):
    workspace_id = replicas[0].ensure_workspace("ours").workspace_id
    replicas[0].create_collection(workspace_id, "lungs", encoder_id=ENCODER, dim=DIM)
    return workspace_id


def scan(n, **fields):
    digest = hashlib.sha256(b"%d" % n).hexdigest()
    image = ScanImage(digest, "image", "png", 640, 480, digest[::-1])
    embedding_D = np.random.default_rng(n).standard_normal(DIM).astype(np.float32)
    return NewScan(
        **(
            {"scan_id": f"s{n}", "image": image, "thumbnail_jpeg": b"x"}
            | fields
            | {"embedding_D": fields.get("embedding_D", embedding_D)}
        )
    )


def add(replica, owner, *scans):
    return replica.add_scans(owner, "lungs", scans, encoder_id=ENCODER)


def together(*tasks):
    """Run in threads at once; the results, or the ServiceErrors, in order."""
    barrier, results = threading.Barrier(len(tasks)), [None] * len(tasks)

    def run(place, task):
        barrier.wait()
        try:
            results[place] = task()
        except ServiceError as error:
            results[place] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(tasks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_replicas_that_store_the_same_scans_store_each_once(replicas, ours):
    def store(replica, numbers):
        return lambda: [add(replica, ours, *map(scan, block)) for block in numbers]

    blocks = [[n, n + 1, n + 2] for n in range(0, 30, 2)]
    answers = together(store(replicas[0], blocks), store(replicas[1], blocks[::-1]))
    stored = [answer for run in answers for block in run for answer in block]
    assert all(isinstance(answer, StoredScan) for answer in stored)
    assert sum(answer.created for answer in stored) == 31
    assert replicas[0].get_collection(ours, "lungs").scans == 31
    page = replicas[1].list_scans(ours, "lungs", where=ScanFilter(), limit=50)
    assert len(page.items) == 31


def test_a_reader_that_follows_the_cursor_misses_no_scan_of_any_writer(replicas, ours):
    done, seen = threading.Event(), []

    def write(replica, first_n):
        return lambda: [add(replica, ours, scan(n)) for n in range(first_n, first_n + 20)]

    def follow():
        after = None
        while True:
            is_last = done.is_set()
            where = ScanFilter()
            page = replicas[0].list_scans(ours, "lungs", where=where, limit=50, after=after)
            seen.extend(found.scan_id for found in page.items)
            if page.items:
                after = str(page.items[-1].row_id)
            elif is_last:
                return

    reader = threading.Thread(target=follow)
    reader.start()
    together(write(replicas[0], 0), write(replicas[1], 100), write(replicas[1], 200))
    done.set()
    reader.join()
    assert sorted(seen) == sorted(f"s{n + k}" for n in (0, 100, 200) for k in range(20))


def test_patches_at_once_lose_nothing(replicas, ours):
    add(replicas[0], ours, scan(1))

    def patch(replica, name):
        changes = [ScanPatch(labels={f"{name}{n}": "x"}) for n in range(10)]
        return lambda: [replica.patch_scan(ours, "lungs", "s1", change) for change in changes]

    together(patch(replicas[0], "a"), patch(replicas[1], "b"))
    found = replicas[0].get_scan(ours, "lungs", "s1")
    assert (len(found.labels), found.version) == (20, 21)


def test_patches_and_erasures_at_once_neither_block_each_other_nor_bring_scans_back(replicas, ours):
    add(replicas[0], ours, *(scan(n, subject_id=f"p{n}", labels={"v": "a"}) for n in range(12)))
    replaced = ScanPatch(labels={"v": "b"})

    def patch():
        return [
            together(lambda n=n: replicas[0].patch_scan(ours, "lungs", f"s{n}", replaced))[0]
            for n in range(12)
        ]

    def erase():
        return [replicas[1].erase_subject(ours, f"p{n}") for n in reversed(range(12))]

    patched, _ = together(patch, erase)
    assert not any(isinstance(answer, CatalogFailure) for answer in patched)
    collection = replicas[0].get_collection(ours, "lungs")
    assert collection.scans == 0
    with pytest.raises(UnknownItem):
        replicas[0].get_scan(ours, "lungs", "s3")


def test_a_collection_that_is_deleted_takes_what_is_just_stored_with_it(replicas, ours):
    stores = [lambda n=n: add(replicas[0], ours, scan(n)) for n in range(4)]
    *answers, deleted = together(*stores, lambda: replicas[1].delete_collection(ours, "lungs"))
    refused = sum(isinstance(answer, UnknownItem) for answer in answers)
    assert deleted == 4 - refused
    with replicas[0].database.read(ours) as connection:
        assert first(connection, "SELECT count(*) AS n FROM scans")["n"] == 0


def test_the_stamp_of_frames_changes_with_frames_and_with_nothing_else(replicas, ours):
    frames = (ClipFrame(0, 0.0, 1, np.ones(DIM, np.float32)),)
    stamps = [replicas[1].frames_stamp(ours, "lungs")]
    add(replicas[0], ours, scan(1, frames=frames))
    stamps.append(replicas[1].frames_stamp(ours, "lungs"))
    add(replicas[0], ours, scan(2))
    replicas[0].erase_scan(ours, "lungs", "s2")
    assert replicas[1].frames_stamp(ours, "lungs") == stamps[1]
    replicas[0].erase_scan(ours, "lungs", "s1")
    stamps.append(replicas[1].frames_stamp(ours, "lungs"))
    replicas[0].delete_collection(ours, "lungs")
    replicas[0].create_collection(ours, "lungs", encoder_id=ENCODER, dim=DIM)
    stamps.append(replicas[1].frames_stamp(ours, "lungs"))
    assert len(set(stamps)) == 4


def test_a_vector_without_direction_is_stored_and_has_nothing_to_search(replicas, ours):
    huge = np.full(DIM, 3e38, np.float32)
    add(
        replicas[0],
        ours,
        scan(1, embedding_D=np.zeros(DIM, np.float32)),
        scan(2, embedding_D=huge),
        scan(3),
    )
    assert (replicas[0].embeddings(ours, "lungs", ["s1", "s2"]) == [[0] * DIM, huge]).all()
    with replicas[0].database.read(ours) as connection:
        query = "SELECT half IS NULL AS lacks FROM scan_vectors ORDER BY row_id"
        assert [row["lacks"] for row in select(connection, query)] == [True, True, False]


def test_integers_and_floats_compare_by_value_up_to_64_bits(replicas, ours):
    values = [
        2**62,
        float(2**62),
        2**62 + 1,
        2**63 - 1,
        float(2**63),
        -(2**63),
        float(-(2**63)),
        1e22,
        -0.0,
        0,
        2**53 + 1,
        float(2**53),
        1e16,
        10**16,
        0.1,
        5e-324,
        1.7e308,
    ]
    new = [scan(n, attributes={"x": value, "e": "1e+17"}) for n, value in enumerate(values)]
    add(replicas[0], ours, *new)

    def passing(**conditions):
        page = replicas[0].list_scans(ours, "lungs", where=ScanFilter(**conditions), limit=50)
        return [int(found.scan_id[1:]) for found in page.items]

    for value in values:
        equal = [n for n, other in enumerate(values) if other == value]
        assert passing(attributes={"x": (value,)}) == equal
        assert passing(attributes={"x": (value, *(f"text {n}" for n in range(40)))}) == equal
        above = [n for n, other in enumerate(values) if other > value]
        assert passing(attribute_ranges={"x": Range(above=value)}) == above
        least = [n for n, other in enumerate(values) if other >= value]
        assert passing(attribute_ranges={"x": Range(least=value)}) == least
    assert passing(attribute_ranges={"x": Range(below=float("inf"))}) == list(range(len(values)))
    assert passing(attribute_ranges={"x": Range(below=float("nan"))}) == []
    facets = replicas[0].facets(ours, "lungs", where=ScanFilter(), attributes=["x"], limit=50)
    told = [value for value, _ in facets.attributes["x"].values]
    assert told == sorted(values)
    assert {type(value) for value in told} == {int, float}


def test_a_filter_by_label_uses_the_index_although_rows_are_guarded(replicas, ours, postgres_url):
    passes, variables = condition(ScanFilter(labels={"v": ("a", "c")}))
    with replicas[0].database.write(ours) as connection:
        connection.execute(_MANY)
    owner = postgres_url.replace(SERVICE_ROLE, "postgres")
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE scans")
    with replicas[0].database.read(ours) as connection:
        query = f"""
            EXPLAIN SELECT row_id FROM filtered_scans
            WHERE collection_id = %s::bigint AND {passes}
        """
        rows = connection.execute(query, (1, *variables), prepare=False).fetchall()
    plan = "\n".join(row["QUERY PLAN"] for row in rows)
    conditions = [line for line in plan.splitlines() if "Index Cond" in line]
    assert any("@>" in line and "collection_id" in line for line in conditions), plan

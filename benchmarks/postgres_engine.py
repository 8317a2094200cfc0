"""PostgreSQL with pgvector as an engine of ``search_engines``: a server of its own, and our search.

Shape suffixes: N gallery rows, B rows of a block, Q queries, K neighbours, D embedding width.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import postgres_gallery
from postgres_process import SERVICE_ROLE, PostgresProcess, postgres_process
from psycopg import sql
from search_engines import (
    DIM,
    FILTER_EVERY,
    Floats,
    Ids,
    K,
    gallery_blocks,
    recall,
    recall_and_latency,
    timed,
)

from service.catalog.filter_records import ScanFilter
from service.catalog.postgres.postgres_database import DIRECTORY, PostgresDatabase
from service.catalog.postgres.postgres_schema import migrate
from service.catalog.postgres.search import postgres_nearest
from service.catalog.postgres.search.postgres_search import (
    EXACT_ROWS,
    TAIL_ROWS,
    PostgresSearch,
)
from service.catalog.postgres.search.postgres_search_build import BuildLimits, PartitionBuilder

WORKSPACE, COLLECTION, ENCODER = "ws_bench", "c", "enc"
SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "4GB"}
EVERYTHING = ScanFilter()
ONE_PERCENT = ScanFilter(attributes={"rare": (True,)})
HALF = ScanFilter(attributes={"even": (True,)})
TRIED_EF = (100, 150, 200, 300, 400, 600)
TAIL_ADDED = 2000  # rows, for the speed of moving a tail into a partition


def measured(rows: int, gallery: Path, truth: Any, build_memory_mb: int) -> dict[str, Any]:
    """Figures of a server that is started for them."""
    with postgres_process(SETTINGS) as server:
        name = server.create_database()
        migrate(server.url(name), service_role=SERVICE_ROLE)
        owner = PostgresDatabase(server.url(name))
        database = PostgresDatabase(server.url(name, role=SERVICE_ROLE))
        try:
            return _figures(server, owner, database, rows, gallery, truth, build_memory_mb)
        finally:
            database.close()
            owner.close()


def _figures(
    server: PostgresProcess,
    owner: PostgresDatabase,
    database: PostgresDatabase,
    rows: int,
    gallery: Path,
    truth: Any,
    build_memory_mb: int,
) -> dict[str, Any]:
    began = time.perf_counter()
    first_id = _fill(owner, gallery, rows)
    figures: dict[str, Any] = {"fill_s": time.perf_counter() - began}
    print(f"filled in {figures['fill_s']:.0f} s", file=sys.stderr, flush=True)
    limits = BuildLimits(EXACT_ROWS, TAIL_ROWS, build_memory_mb)
    builder = PartitionBuilder(database, ENCODER, limits)
    with _peak_memory(server) as peak, _wal(owner) as wal:
        began = time.perf_counter()
        builder.work(DIRECTORY)
        figures["build_s"] = time.perf_counter() - began
    figures |= {"build_peak_rss_mb": peak[0], "build_wal_mb": wal[0]}
    figures["build_memory_mb"] = build_memory_mb
    print(f"built in {figures['build_s']:.0f} s", file=sys.stderr, flush=True)
    search = PostgresSearch(database, encoder_id=ENCODER, dim=DIM, exact_rows=EXACT_ROWS)

    def ask(query_D: Floats, where: ScanFilter = EVERYTHING) -> Ids:
        return search.search(WORKSPACE, COLLECTION, query_D, k=K, where=where).row_ids_K - first_id

    figures |= recall_and_latency(ask, truth, gallery)
    figures["server_rss_mb"] = _server_memory_mb(server)
    rare = recall_and_latency(lambda q: ask(q, ONE_PERCENT), truth, gallery, "filtered_QK")
    figures |= {
        "filter_1_percent_recall_at_10": rare["recall_at_10"],
        "filter_1_percent_p50_ms": rare["p50_ms"],
        "filter_1_percent_p99_ms": rare["p99_ms"],
    }
    figures |= _half(search, truth, rows, gallery, first_id)
    figures["recall_and_p50_ms_by_ef_search"] = _by_ef(ask, truth, gallery, rows)
    figures |= _sizes(owner)
    if rows > EXACT_ROWS:
        figures |= _moving(owner, builder, gallery)
    return figures


def _fill(owner: PostgresDatabase, gallery: Path, rows: int) -> int:
    """Store the gallery; return the first row id, to which the others are added."""
    postgres_gallery.add_workspace(owner, WORKSPACE)
    postgres_gallery.add_collection(owner, WORKSPACE, COLLECTION, dim=DIM, encoder_id=ENCODER)
    first_id = None
    for start, rows_BD in gallery_blocks(gallery, rows):
        attributes = [
            {"rare": n % FILTER_EVERY == 0, "even": n % 2 == 0, "device": f"probe {n % 7}"}
            for n in range(start, start + len(rows_BD))
        ]
        row_ids = postgres_gallery.copy_rows(owner, WORKSPACE, COLLECTION, rows_BD, attributes)
        first_id = row_ids[0] if first_id is None else first_id
    with owner.outside(DIRECTORY) as connection:
        connection.execute("VACUUM ANALYZE")
    assert first_id is not None
    return first_id


def _half(
    search: PostgresSearch, truth: Any, rows: int, gallery: Path, first_id: int
) -> dict[str, float]:
    """A filter that every second row passes, against the exact answer."""
    queries_QD = truth["queries_QD"][:100]
    found_QK = []
    rankings = [search.ranking(WORKSPACE, COLLECTION, q, where=HALF) for q in queries_QD]
    times_ms = []
    for ranking in rankings:
        began = time.perf_counter()
        found_QK.append(ranking(K).row_ids_K - first_id)
        times_ms.append((time.perf_counter() - began) * 1e3)
    even_ND = np.memmap(gallery, np.float32, "r").reshape(-1, DIM)[:rows:2]
    best_QK = np.full((len(queries_QD), K), -1, np.float32)
    for start in range(0, len(even_ND), 8192):
        scores_QB = queries_QD @ np.asarray(even_ND[start : start + 8192]).T
        both = np.hstack([best_QK, scores_QB])
        best_QK = -np.sort(-np.partition(both, -K, axis=1)[:, -K:], axis=1)
    return {
        "filter_50_percent_recall_at_10": recall(found_QK, queries_QD, best_QK, gallery),
        "filter_50_percent_p50_ms": float(np.median(times_ms)),
    }


def _by_ef(ask: Any, truth: Any, gallery: Path, rows: int) -> dict[int, list[float]]:
    """{ef_search: [recall@10, median ms]}."""
    shipped = postgres_nearest.EF_SEARCH, postgres_nearest.LARGE_EF_SEARCH
    figures = {}
    for ef in TRIED_EF if rows > EXACT_ROWS else ():
        postgres_nearest.EF_SEARCH = postgres_nearest.LARGE_EF_SEARCH = ef
        ids_QK = [ask(query_D) for query_D in truth["queries_QD"]]
        share = recall(ids_QK, truth["queries_QD"], truth["best_QK"], gallery)
        figures[ef] = [share, float(np.median(timed(ask, truth["queries_QD"])))]
    postgres_nearest.EF_SEARCH, postgres_nearest.LARGE_EF_SEARCH = shipped
    return figures


def _moving(owner: PostgresDatabase, builder: PartitionBuilder, gallery: Path) -> dict[str, float]:
    """Rows a second from the tail into the partition, and the vacuum after a deletion."""
    _, rows_BD = next(gallery_blocks(gallery, TAIL_ADDED))
    turned_BD = np.roll(rows_BD, 1, axis=1)
    postgres_gallery.copy_rows(owner, WORKSPACE, COLLECTION, turned_BD, [{}] * TAIL_ADDED)
    builder.limits = BuildLimits(EXACT_ROWS, TAIL_ADDED // 2, builder.limits.memory_mb)
    began = time.perf_counter()
    builder.work(DIRECTORY)
    extend_s = time.perf_counter() - began
    began = time.perf_counter()
    with owner.write(WORKSPACE) as connection:
        deleted = connection.execute("DELETE FROM scans WHERE row_id % 1000 = 7").rowcount
        connection.execute("UPDATE collections SET scans = scans - %s", (deleted,))
    delete_s = time.perf_counter() - began
    with owner.outside(DIRECTORY) as connection:
        part = connection.execute("SELECT number FROM search_parts").fetchone()
        assert part is not None
        table = sql.Identifier(f"search_halves_{part['number']}")
        began = time.perf_counter()
        connection.execute(sql.SQL("VACUUM (INDEX_CLEANUP ON) {}").format(table))
    return {
        "extend_rows_per_s": TAIL_ADDED / extend_s,
        "deleted_rows": deleted,
        "delete_s": delete_s,
        "vacuum_s": time.perf_counter() - began,
    }


def _sizes(owner: PostgresDatabase) -> dict[str, float]:
    query = """
        SELECT c.relname AS name, pg_relation_size(c.oid) / 1048576.0 AS heap_mb,
        pg_indexes_size(c.oid) / 1048576.0 AS index_mb,
        coalesce(pg_relation_size(c.reltoastrelid), 0) / 1048576.0 AS toast_mb
        FROM pg_class AS c WHERE c.relkind = 'r'
        AND (c.relname IN ('scans', 'scan_vectors') OR c.relname LIKE 'search_halves%')
    """
    sizes: dict[str, float] = {}
    with owner.everything(DIRECTORY, "read") as connection:
        for row in connection.execute(query).fetchall():
            name = "partition" if row["name"].startswith("search_halves") else row["name"]
            for part in ("heap_mb", "index_mb", "toast_mb"):
                sizes[f"{name}_{part}"] = round(float(row[part]), 1)
        total = connection.execute("SELECT pg_database_size(current_database()) AS n").fetchone()
    assert total is not None
    return sizes | {"disk_mb": total["n"] / 2**20}


@contextmanager
def _wal(owner: PostgresDatabase) -> Iterator[list[float]]:
    """MB of write-ahead log that the block made, as the only item."""
    query = "SELECT pg_current_wal_lsn() - '0/0'::pg_lsn AS n"
    made: list[float] = []
    with owner.everything(DIRECTORY, "read") as connection:
        before = connection.execute(query).fetchone()
    yield made
    with owner.everything(DIRECTORY, "read") as connection:
        after = connection.execute(query).fetchone()
    assert before is not None
    assert after is not None
    made.append(float(after["n"] - before["n"]) / 2**20)


@contextmanager
def _peak_memory(server: PostgresProcess) -> Iterator[list[float]]:
    """The largest memory of the server during the block, MB, as the only item."""
    peak: list[float] = []
    seen = [0.0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(2.0):
            seen[0] = max(seen[0], _server_memory_mb(server))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()
        peak.append(max(seen[0], _server_memory_mb(server)))


def _server_memory_mb(server: PostgresProcess) -> float:
    """Memory of all processes of the server, shared pages once, MB."""
    main = (server.folder / "data" / "postmaster.pid").read_text().split()[0]
    total = 0.0
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = (place / "stat").read_text().rsplit(")", 1)[1].split()[1]
            if main in (place.name, parent):
                lines = (place / "smaps_rollup").read_text().splitlines()
                total += (
                    sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
                )
        except OSError:
            continue
    return total

"""A catalog of many shards with synthetic rows: what a directory of 20 databases costs a replica.

    python benchmarks/shard_directory.py --shards 20 --json

All databases are in one PostgreSQL of this machine, so this measures the directory, the connections
and the work that is done once for each shard, and not the speed of 20 servers. Vectors are random.
"""

import argparse
import contextlib
import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import psycopg
from drawn_scans import scan_image
from harness import argument_parser, end_in_order, median_ms, memory_mb, print_report, seconds
from postgres_process import SERVICE_ROLE, PostgresProcess, postgres_process

from service.access.keys import create_key
from service.arrays import unit_rows
from service.catalog.erasure_records import SweepLimits
from service.catalog.filter_records import ScanFilter
from service.catalog.postgres.postgres_catalog import PostgresCatalog, open_postgres
from service.catalog.postgres.search.postgres_search import PostgresSearch
from service.catalog.postgres.shards.shard_migration import migrate_all
from service.catalog.records import NewScan

DIM, ENCODER, NAME = 1024, "enc_shards", "g"
DIRECTORY_ROWS = 100_000  # workspaces of a directory that is full
CALLS = 100


def drawn_scan(number: int, rng: np.random.Generator) -> NewScan:
    """A scan that looks like one of ours to the database."""
    vector_D = unit_rows(rng.standard_normal((1, DIM)))[0].astype(np.float32)
    thumbnail = b"\xff\xd8" + rng.bytes(4000) + b"\xff\xd9"
    return NewScan(f"s{number}", scan_image(number), vector_D, thumbnail, f"p{number % 50}")


def many_ms(call: Callable[[], object], calls: int = CALLS) -> float:
    """Median time of a call."""
    return median_ms([seconds(call) for _ in range(calls)], 2)


def filled(catalog: PostgresCatalog, arguments: argparse.Namespace) -> list[str]:
    """Create the workspaces with their scans; return their ids."""
    rng = np.random.default_rng(0)
    owners = []
    for number in range(arguments.workspaces):
        shard = f"shard{number % arguments.shards + 1}"
        owner = catalog.create_workspace(f"clinic-{number}", shard).workspace_id
        catalog.create_collection(owner, NAME, encoder_id=ENCODER, dim=DIM)
        scans = [drawn_scan(n, rng) for n in range(arguments.scans)]
        catalog.add_scans(owner, NAME, scans, encoder_id=ENCODER)
        owners.append(owner)
    return owners


def measure(arguments: argparse.Namespace, server: PostgresProcess) -> dict[str, Any]:
    """Create, open, and measure what a request and a replica need."""
    names = [server.create_database() for _ in range(arguments.shards + 1)]

    def urls(role: str) -> tuple[str, dict[str, str]]:
        first, *others = [server.url(name, role=role) for name in names]
        return first, {f"shard{n}": url for n, url in enumerate(others, 1)}

    directory, shards = urls("postgres")
    migrated_s = seconds(lambda: migrate_all(directory, shards, service_role=SERVICE_ROLE))
    url, of_service = urls(SERVICE_ROLE)
    before_mb = memory_mb()
    begin = time.perf_counter()
    with contextlib.closing(open_postgres(url, shards=of_service)) as catalog:
        opened_s = time.perf_counter() - begin
        opened_mb = memory_mb() - before_mb
        begin = time.perf_counter()
        owners = filled(catalog, arguments)
        fill_s = time.perf_counter() - begin
        with psycopg.connect(directory, autocommit=True) as connection:
            fill_directory(connection)
            found = {
                "shards": arguments.shards,
                "workspaces": arguments.workspaces,
                "scans": arguments.workspaces * arguments.scans,
                "directory_rows": DIRECTORY_ROWS,
                "migrate_s": round(migrated_s, 1),
                "open_s": round(opened_s, 2),
                "open_memory_mb": round(opened_mb, 1),
                "fill_scans_per_s": round(arguments.workspaces * arguments.scans / fill_s),
                **requests(catalog, owners),
                **whole(catalog, owners),
                "connections": connections(connection),
            }
        with psycopg.connect(shards["shard1"], autocommit=True) as connection:
            found["bytes_per_scan"] = bytes_per_scan(connection)
    return found


def fill_directory(connection: psycopg.Connection[Any]) -> None:
    """Workspaces that live elsewhere, so that the table has the size of a national archive's."""
    connection.execute(
        "INSERT INTO directory (workspace_id, name, shard, created_at)"
        " SELECT 'ws_synthetic' || n, 'synthetic-' || n, 'shard1', '2026-01-01T00:00:00Z'"
        f" FROM generate_series(1, {DIRECTORY_ROWS}) AS n"
    )
    connection.execute("ANALYZE directory")


def requests(catalog: PostgresCatalog, owners: list[str]) -> dict[str, Any]:
    """What single requests of random workspaces need."""
    rng, draw = random.Random(0), np.random.default_rng(1)
    search = PostgresSearch(catalog.database, encoder_id=ENCODER, dim=DIM)
    query_D = unit_rows(draw.standard_normal((1, DIM)))[0].astype(np.float32)
    key = create_key(catalog, "bench", "clinic-0")[0]
    number = iter(range(10**6, 10**9))

    def add() -> None:
        scan = drawn_scan(next(number), draw)
        catalog.add_scans(rng.choice(owners), NAME, [scan], encoder_id=ENCODER)

    def look_up() -> None:
        owner = rng.choice(owners)
        catalog.database._places.pop(owner, None)  # as a replica that never saw it
        catalog.database.shard_of(owner)

    def find() -> None:
        search.search(rng.choice(owners), NAME, query_D, k=10, where=ScanFilter())

    return {
        "unknown_place_ms": many_ms(look_up),
        "read_collection_ms": many_ms(lambda: catalog.get_collection(rng.choice(owners), NAME)),
        "list_keys_ms": many_ms(lambda: catalog.list_keys(key.workspace_id)),
        "add_scan_ms": many_ms(add),
        "search_ms": many_ms(find),
    }


def whole(catalog: PostgresCatalog, owners: list[str]) -> dict[str, Any]:
    """What goes over all shards."""
    return {
        "readiness_ms": many_ms(catalog.check, 20),
        "retention_sweep_ms": many_ms(lambda: catalog.expire(limits=SweepLimits()), 5),
        "claim_operation_ms": many_ms(
            lambda: catalog.claim_operation("worker", lease_s=5, kinds=["none"]), 20
        ),
        "all_collections_ms": many_ms(lambda: list(catalog.all_collections()), 5),
    }


def bytes_per_scan(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """Disk of each large table with its indexes and what lies out of the row, by scan."""
    connection.execute("VACUUM ANALYZE")
    query = """
        SELECT relname, pg_total_relation_size(oid) / (SELECT count(*) FROM scans)
        FROM pg_class WHERE relkind = 'r' AND relname LIKE '%scan%'"""
    found = {str(name): int(size) for name, size in connection.execute(query).fetchall()}
    return {name: size for name, size in sorted(found.items()) if size > 20}


def connections(connection: psycopg.Connection[Any]) -> int:
    """Open connections of the service's role."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s"
    row = connection.execute(query, (SERVICE_ROLE,)).fetchone()
    return int(row[0]) if row else 0


def main() -> None:
    """Measure and print."""
    parser = argument_parser(__doc__, with_out=True)
    parser.add_argument("--shards", type=int, default=20)
    parser.add_argument("--workspaces", type=int, default=400)
    parser.add_argument("--scans", type=int, default=50, help="of each workspace")
    arguments = parser.parse_args()
    end_in_order()
    with postgres_process({"max_connections": "500"}) as server:
        print_report(measure(arguments, server), arguments)


if __name__ == "__main__":
    main()

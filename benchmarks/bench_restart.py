"""How long a start over a large collection takes: without its index files, and with them.

Fills a catalog with drawn vectors (``gallery_vectors``) past HTTP. Then it times what a start of
the service waits for, in a process of its own each time, and how long the work in the background
goes on. Last it starts the whole service over the files, encoder included, and asks it over HTTP
for the neighbours of held-out real frames (``gallery_vectors``), one client and then eight: the
resident memory is that of the process that searches.

    python benchmarks/bench_restart.py --scans 1000000 --folder runs/bench_restart

A folder of an earlier run with ``--keep`` is only served.

Needs 5 KB of disk per scan for the catalog and 4.4 KB for the index.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import bench_search
import gallery_vectors
import httpx
import numpy as np
import search_engines
from drawn_scans import scan_image
from harness import (
    argument_parser,
    forget_peak,
    memory_mb,
    print_report,
    resident_memory,
    seconds,
)
from service_process import ServiceProcess, service_process

from service.access.keys import DEFAULT_WORKSPACE
from service.catalog.records import NewScan
from service.catalog.sqlite.sqlite_catalog import SqliteCatalog, open_catalog
from service.embedding.bundle import SHIPPED_BUNDLE, read_manifest
from service.gallery.embedded_search import EmbeddedSearch
from service.gallery.gallery import Gallery
from service.gallery.gallery_records import QueryExample, SearchRequest
from service.index.vector_index import EXACT_ROWS

THUMBNAIL_BYTES, SERVED_SEARCHES, PORT = 512, 500, 18_911
OTHERS_SEARCHES = 50  # of scans of other patients than the query's


def fill(catalog: SqliteCatalog, workspace_id: str, encoder_id: str, scans: int) -> float:
    """Store the scans; seconds."""
    gallery = bench_search.write_gallery(scans)
    rng = np.random.default_rng(0)
    began = time.perf_counter()
    for start, rows_BD in search_engines.gallery_blocks(gallery, scans):
        batch = [
            NewScan(
                f"s{start + i}",
                scan_image(start + i),
                row_D,
                rng.bytes(THUMBNAIL_BYTES),
                subject_id=f"p{(start + i) // 20}",
            )
            for i, row_D in enumerate(rows_BD)
        ]
        catalog.add_scans(workspace_id, "c", batch, encoder_id=encoder_id)
    return time.perf_counter() - began


def start_once(folder: Path) -> dict[str, float]:
    """What one start takes: until searches are answered, and until the index is whole."""
    catalog = open_catalog(folder)
    workspace_id = catalog.ensure_workspace(DEFAULT_WORKSPACE).workspace_id
    encoder_id = read_manifest(SHIPPED_BUNDLE).encoder_id
    search = EmbeddedSearch(
        catalog, encoder_id=encoder_id, dim=search_engines.DIM, folder=folder / "index"
    )
    gallery = Gallery(catalog, search)
    began = time.perf_counter()
    rows = gallery.open()
    ready_s = time.perf_counter() - began
    query_D = np.ones(search_engines.DIM, np.float32)
    gallery.search(workspace_id, SearchRequest(("c",), (QueryExample(embedding_D=query_D),)))
    first_s = time.perf_counter() - began - ready_s
    while rows > EXACT_ROWS and gallery.all_statistics()[0].state.compressed_rows < rows:
        time.sleep(0.05)
    whole_s = time.perf_counter() - began
    gallery.close()
    catalog.close()
    return {
        "scans": rows,
        "ready_s": ready_s,
        "first_search_s": first_s,
        "whole_s": whole_s,
        "rss_mb": memory_mb(),
        "peak_rss_mb": memory_mb("VmHWM"),
    }


def in_own_process(folder: Path) -> dict[str, float]:
    """``start_once`` in a process of its own."""
    command = [sys.executable, __file__, "--folder", str(folder), "--start"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def served(folder: Path) -> dict[str, object]:
    """A service over the files: its memory when it is ready and after searches, and their times."""
    _, queries_QD = gallery_vectors.split(gallery_vectors.real_vectors())
    with service_process(folder, PORT) as service:
        report: dict[str, object] = {"ready_s": service.ready_s}
        report |= {f"ready_{name}": mb for name, mb in resident_memory(service.pid).items()}
        forget_peak(service.pid)
        report |= _searched(service, queries_QD[:SERVED_SEARCHES])
        report |= resident_memory(service.pid)
    return report


def _searched(service: ServiceProcess, queries_QD: gallery_vectors.Floats) -> dict[str, object]:
    headers = {"Authorization": f"Bearer {service.key}"}
    url = f"{service.url}/v1/collections/c"
    with httpx.Client(headers=headers, trust_env=False, timeout=60) as client:

        def found(query: dict[str, object]) -> search_engines.Ids:
            answer = client.post(f"{url}/search", json={**query, "k": 10})
            answer.raise_for_status()
            return np.zeros(len(answer.json()["items"]), np.int64)

        def ask(query_D: gallery_vectors.Floats) -> search_engines.Ids:
            return found({"vector": query_D.tolist()})

        alone = search_engines.timed(ask, queries_QD)
        of_others = [
            {"scan_id": f"s{n}", "exclude_same": "subject"} for n in range(OTHERS_SEARCHES)
        ]
        others_ms = [1e3 * seconds(partial(found, query)) for query in of_others]
        together, per_s = search_engines.timed_together(ask, queries_QD)
        index = client.get(url).json()["index"]
    return {
        "index_lists": index["lists"],
        "http_p50_ms": float(np.median(alone)),
        "http_p99_ms": float(np.quantile(alone, 0.99)),
        "http_p50_ms_exclude_same": float(np.median(others_ms)),
        "http_p50_ms_8_clients": float(np.median(together)),
        "http_queries_per_s_8_clients": per_s,
    }


def prepare(folder: Path, scans: int) -> float:
    """A new catalog with one collection; seconds to fill it."""
    shutil.rmtree(folder, ignore_errors=True)
    catalog = open_catalog(folder)
    workspace_id = catalog.ensure_workspace(DEFAULT_WORKSPACE).workspace_id
    encoder_id = read_manifest(SHIPPED_BUNDLE).encoder_id
    catalog.create_collection(workspace_id, "c", encoder_id=encoder_id, dim=search_engines.DIM)
    fill_s = fill(catalog, workspace_id, encoder_id, scans)
    catalog.close()
    return fill_s


def main() -> None:
    """Fill, start without files, start with them, and serve."""
    parser = argument_parser(__doc__)
    parser.add_argument("--scans", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=Path("runs/bench_restart"))
    parser.add_argument("--keep", action="store_true", help="keep the folder for the next run")
    parser.add_argument("--start", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.start:
        print(json.dumps(start_once(arguments.folder)))
        return
    report: dict[str, object] = {}
    if not (arguments.keep and arguments.folder.exists()):
        report["fill_s"] = prepare(arguments.folder, arguments.scans)
        report["without_files"] = in_own_process(arguments.folder)
        report["with_files"] = in_own_process(arguments.folder)
    report["served"] = served(arguments.folder)
    if not arguments.keep:
        shutil.rmtree(arguments.folder, ignore_errors=True)
    print_report(report, arguments)


if __name__ == "__main__":
    main()

"""How long a start over a large collection takes: without its index files, and with them.

Fills a catalog with drawn vectors (``gallery_vectors``) past HTTP. Then it times what a start of
the service waits for, in a process of its own each time, and how long the work in the background
goes on.

    python benchmarks/bench_restart.py --scans 1000000 --folder runs/bench_restart

Needs 5 KB of disk per scan for the catalog and 4.4 KB for the index.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import bench_search
import numpy as np
import search_engines
from drawn_scans import scan_image
from harness import argument_parser, memory_mb, print_report

from service.catalog.records import NewScan
from service.catalog.sqlite.sqlite_catalog import SqliteCatalog, open_catalog
from service.gallery.embedded_search import EmbeddedSearch
from service.gallery.gallery import Gallery
from service.gallery.gallery_records import QueryExample, SearchRequest
from service.index.vector_index import EXACT_ROWS

ENCODER, THUMBNAIL_BYTES = "enc_bench", 512


def fill(catalog: SqliteCatalog, workspace_id: str, scans: int) -> float:
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
        catalog.add_scans(workspace_id, "c", batch, encoder_id=ENCODER)
    return time.perf_counter() - began


def start_once(folder: Path) -> dict[str, float]:
    """What one start takes: until searches are answered, and until the index is whole."""
    catalog = open_catalog(folder)
    workspace_id = catalog.ensure_workspace("bench").workspace_id
    search = EmbeddedSearch(
        catalog, encoder_id=ENCODER, dim=search_engines.DIM, folder=folder / "index"
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


def main() -> None:
    """Fill, start without files, start with them."""
    parser = argument_parser(__doc__)
    parser.add_argument("--scans", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=Path("runs/bench_restart"))
    parser.add_argument("--start", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.start:
        print(json.dumps(start_once(arguments.folder)))
        return
    shutil.rmtree(arguments.folder, ignore_errors=True)
    catalog = open_catalog(arguments.folder)
    workspace_id = catalog.ensure_workspace("bench").workspace_id
    catalog.create_collection(workspace_id, "c", encoder_id=ENCODER, dim=search_engines.DIM)
    report: dict[str, object] = {"fill_s": fill(catalog, workspace_id, arguments.scans)}
    catalog.close()
    report["without_files"] = in_own_process(arguments.folder)
    report["with_files"] = in_own_process(arguments.folder)
    shutil.rmtree(arguments.folder, ignore_errors=True)
    print_report(report, arguments)


if __name__ == "__main__":
    main()

"""Search at 10 thousand to a million vectors: ours, FAISS flat, FAISS HNSW and LanceDB.

Vectors are drawn around embeddings of real frames and queries are held-out real frames
(``gallery_vectors``). Every engine runs in a process of its own, so that its memory is its own; all
answer the same queries against the same exact truth, in one run. LanceDB uses the first of its
settings that reaches our recall. It is installed for this benchmark alone: in this environment, in
``.venv-peer``, or in the one of ``--peer-python``:

    python -m venv .venv-peer && .venv-peer/bin/pip install lancedb
    python benchmarks/bench_search.py --sizes 10000,100000,1000000 --json

``--engine postgres`` measures the search in PostgreSQL, in a server of its own, and the embedded
one beside it (``embedded_...``):

    python benchmarks/bench_search.py --engine postgres --sizes 10000,100000 --json

Memory is what the process holds after the searches of one and of eight clients (``resident_mb``),
of that its own (``anonymous_mb``) and pages of files (``file_mb``, libraries included), and the
most that it held during them (``peak_resident_mb``). The first run of an index has built it in the
same process; with ``--keep``, a second run only opens it, as a service does after a restart.

Every size has the keys of ``KEYS``, null where an engine did not run; ``<engine>_failed`` says why.

Shape suffixes: N gallery rows, B rows of a block, Q queries, K neighbours, D embedding width.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import gallery_vectors
import numpy as np
import search_engines
from gallery_vectors import Floats, cache_folder
from harness import argument_parser, write_report

QUERIES, K, FILTER_EVERY = 500, 10, 100
PEER_PYTHON = Path(__file__).parents[1] / ".venv-peer" / "bin" / "python"
KEYS = (
    *("n", "recall_at_10", "p50_ms", "p99_ms", "rss_mb", "build_s", "flat_p50_ms"),
    *("resident_mb", "anonymous_mb", "file_mb", "peak_resident_mb"),
    *("peer", "peer_p50_ms", "peer_recall_at_10"),
)


def write_gallery(rows: int) -> Path:
    """The gallery as a file of float32 rows; a longer one that is there already is used."""
    path = cache_folder() / "gallery.f32"
    dim = 1024
    if path.exists() and path.stat().st_size >= 4 * dim * rows:
        return path
    around_ND, _ = gallery_vectors.split(gallery_vectors.real_vectors())
    with path.open("wb") as file:
        for rows_BD in gallery_vectors.drawn_blocks(around_ND, rows):
            file.write(rows_BD.tobytes())
    return path


def write_truth(rows: int) -> Path:
    """Queries, and the exact 10 best scores of each, unfiltered and of every 100th row."""
    path = cache_folder() / f"truth-{rows}.npz"
    if path.exists():
        return path
    _, queries_QD = gallery_vectors.split(gallery_vectors.real_vectors())
    queries_QD = queries_QD[:QUERIES]
    best = np.full((QUERIES, K), -1, np.float32)
    best_filtered = best.copy()
    for start, rows_BD in search_engines.gallery_blocks(cache_folder() / "gallery.f32", rows):
        scores_QB = queries_QD @ rows_BD.T
        best = _top(np.hstack([best, scores_QB]))
        kept = (np.arange(start, start + len(rows_BD)) % FILTER_EVERY) == 0
        best_filtered = _top(np.hstack([best_filtered, scores_QB[:, kept]]))
    np.savez(path, queries_QD=queries_QD, best_QK=best, filtered_QK=best_filtered)
    return path


def _top(scores_QB: Floats) -> Floats:
    return -np.sort(-np.partition(scores_QB, -K, axis=1)[:, -K:], axis=1)


def run_engine(
    python: str, engine: str, rows: int, folder: Path, min_recall: float, *, keep: bool = False
) -> dict[str, Any]:
    """One engine in a process of its own; what it printed, or why it did not run."""
    command = [python, str(Path(__file__).with_name("search_engines.py")), engine, str(rows)]
    command += [
        str(cache_folder()),
        str(folder),
        f"{min_recall:.4f}",
        "--json",
        *(["--keep"] if keep else []),
    ]
    print(f"{engine}, {rows} vectors", file=sys.stderr, flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return {"failed": f"status {done.returncode}, reason above"}
    figures: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def peer_python(named: str | None) -> str | None:
    """The first interpreter that has LanceDB: only the named one, else this one or .venv-peer's."""
    for python in [named] if named else [sys.executable, str(PEER_PYTHON)]:
        command = [python, "-c", "import lancedb"]
        if (
            shutil.which(python)
            and subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0
        ):
            return python
    return None


def measure(
    rows: int, engine: str, engines: list[str], peer: str | None, folder: Path, *, keep: bool
) -> dict[str, Any]:
    """The row of one size; the figures of ``engine`` have the plain keys."""
    write_gallery(rows)
    write_truth(rows)
    row: dict[str, Any] = dict.fromkeys(KEYS) | {"n": rows}
    ours = run_engine(sys.executable, "ours", rows, folder, 0.0, keep=keep)
    if engine == "postgres":
        row |= run_engine(sys.executable, engine, rows, folder, 0.0)
        row |= {f"embedded_{key}": value for key, value in ours.items()}
    else:
        row |= ours
    for other in engines:
        python = peer if other == "lancedb" else sys.executable
        name = "peer" if other == "lancedb" else other
        if python is None:
            row[f"{name}_failed"] = "lancedb is not installed, see the head of bench_search.py"
            continue
        figures = run_engine(python, other, rows, folder, ours.get("recall_at_10", 0.95))
        row |= {f"{name}_{key}": value for key, value in figures.items()}
        if other == "lancedb" and "version" in figures:
            row["peer"] = f"lancedb {figures['version']}"
    return row


def main() -> None:
    """Measure and print; the report has one of ``rows`` per size."""
    parser = argument_parser(__doc__, with_out=True)
    parser.add_argument("--sizes", default="10000,100000")
    parser.add_argument("--engine", choices=("ours", "postgres"), default="ours")
    parser.add_argument("--engines", help="beside it; flat,hnsw,lancedb if it is ours, else none")
    parser.add_argument("--peer-python", help="one that has lancedb")
    parser.add_argument("--folder", type=Path, help="of the engines' own files")
    parser.add_argument("--keep", action="store_true", help="keep our index for the next run")
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.sizes.split(",")]
    write_gallery(max(sizes))
    beside = arguments.engines
    if beside is None:
        beside = "flat,hnsw,lancedb" if arguments.engine == "ours" else ""
    engines = [name for name in beside.split(",") if name]
    peer = peer_python(arguments.peer_python) if "lancedb" in engines else None
    rows = []
    for size in sizes:
        rows.append(
            measure(
                size,
                arguments.engine,
                engines,
                peer,
                arguments.folder or cache_folder() / "engines",
                keep=arguments.keep,
            )
        )
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    around_ND, queries_QD = gallery_vectors.split(gallery_vectors.real_vectors())
    drawn_rows = min(max(sizes), search_engines.BLOCK_ROWS)
    _, drawn_ND = next(search_engines.gallery_blocks(cache_folder() / "gallery.f32", drawn_rows))
    report = {
        "nearest_real_to_query_5_50_95": gallery_vectors.nearest_quantiles(around_ND, queries_QD),
        "nearest_drawn_to_drawn_5_50_95": gallery_vectors.nearest_quantiles(
            drawn_ND, drawn_ND[:500]
        ),
        "queries": QUERIES,
        "rows": rows,
    }
    print(json.dumps(report, indent=1))
    write_report(report, arguments)


if __name__ == "__main__":
    main()

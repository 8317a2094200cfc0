"""Build one search engine over one gallery in this process, and time it. Run by bench_search.

    python benchmarks/search_engines.py <engine> <rows> <cache> <folder> <min recall> --json

Only ``ours`` and ``postgres`` import the project, so that a peer can run in an environment of its
own.

Shape suffixes: N gallery rows, B rows of a block, Q queries, K neighbours, D embedding width.
"""

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from harness import argument_parser, forget_peak, memory_mb, print_report, resident_memory

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
Ask = Callable[[Floats], Ids]  # one query (D,) -> ids (K,)
DIM, K, BLOCK_ROWS, FILTER_EVERY = 1024, 10, 8192, 100
CLIENTS, ROUNDS = 8, 2
TRIED_PROBES = (16, 20, 24, 28, 32, 48, 64)  # beside the shipped number of lists
TIE = 1e-5  # scores closer than this are ties


def gallery_blocks(path: Path, rows: int) -> Iterator[tuple[int, Floats]]:
    """(first row, rows_BD) over the file; read, not mapped: a map would count as memory."""
    with path.open("rb") as file:
        for start in range(0, rows, BLOCK_ROWS):
            size = min(BLOCK_ROWS, rows - start)
            yield start, np.fromfile(file, np.float32, size * DIM).reshape(size, DIM)


def recall(ids_QK: list[Ids], queries_QD: Floats, best_QK: Floats, gallery: Path) -> float:
    """Share of the exact best that was found, by score: ties are no misses."""
    hits = 0
    with gallery.open("rb") as file:  # read, not mapped, as in ``gallery_blocks``
        for ids_K, query_D, best_K in zip(ids_QK, queries_QD, best_QK, strict=True):
            rows = [os.pread(file.fileno(), 4 * DIM, 4 * DIM * int(i)) for i in np.unique(ids_K)]
            scores_K = np.frombuffer(b"".join(rows), np.float32).reshape(-1, DIM) @ query_D
            hits += min(K, int((scores_K >= best_K[-1] - TIE).sum()))
    return hits / (K * len(ids_QK))


def timed(ask: Ask, queries_QD: Floats) -> list[float]:
    """Milliseconds of each query, one after the other."""
    times_ms = []
    for query_D in queries_QD:
        began = time.perf_counter()
        ask(query_D)
        times_ms.append((time.perf_counter() - began) * 1e3)
    return times_ms


def timed_together(ask: Ask, queries_QD: Floats) -> tuple[list[float], float]:
    """Milliseconds of each query while CLIENTS threads ask at once, and queries per second."""
    times_ms: list[float] = []
    threads = [
        threading.Thread(target=lambda i=i: times_ms.extend(timed(ask, queries_QD[i::CLIENTS])))
        for i in range(CLIENTS)
    ]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times_ms, len(queries_QD) / (time.perf_counter() - began)


def recall_and_latency(
    ask: Ask, truth: Any, gallery: Path, best: str = "best_QK"
) -> dict[str, float]:
    """Figures of an engine that is ready; memory of this process at the end of the searches."""
    forget_peak()
    print("searching", file=sys.stderr, flush=True)
    queries_QD, best_QK = truth["queries_QD"], truth[best]
    ids_QK = [ask(query_D) for query_D in queries_QD]  # warms the caches too
    many = np.tile(queries_QD, (ROUNDS, 1))
    alone = timed(ask, many)
    together, per_s = timed_together(ask, many)
    memory = resident_memory()
    print("searched", file=sys.stderr, flush=True)
    return {
        "p50_ms": float(np.quantile(alone, 0.5)),
        "p99_ms": float(np.quantile(alone, 0.99)),
        "p50_ms_8_clients": float(np.quantile(together, 0.5)),
        "p99_ms_8_clients": float(np.quantile(together, 0.99)),
        "queries_per_s_8_clients": per_s,
        "rss_mb": memory["resident_mb"],
        **memory,
        "recall_at_10": recall(ids_QK, queries_QD, best_QK, gallery),
    }


def ours(gallery: Path, rows: int, folder: Path, truth: Any, min_recall: float) -> dict[str, Any]:
    """The index of the service: fill, build, open again and search; a kept one is only searched."""
    from service.index.vector_index import EmbeddingIndex

    ids, hashes = np.arange(rows, dtype=np.int64), np.zeros(rows, np.uint64)
    blocks = (
        (ids[start : start + len(part)], hashes[start : start + len(part)], part)
        for start, part in gallery_blocks(gallery, rows)
    )
    options: dict[str, Any] = {"folder": folder}
    index = EmbeddingIndex(DIM, "enc", **options)
    is_kept = folder.exists()
    began = time.perf_counter()
    if not is_kept:
        index.fill(blocks, rows)
    fill_s = time.perf_counter() - began
    while index.build():
        pass
    build_s = None if is_kept else time.perf_counter() - began
    peak_mb, open_s = memory_mb("VmHWM"), None
    if folder.exists():
        index = EmbeddingIndex(DIM, "enc", **options)
        began = time.perf_counter()
        index.open_files(ids, hashes)
        open_s = time.perf_counter() - began

    def ask(query_D: Floats, allowed: Ids | None = None, *, exact: bool = False) -> Ids:
        hits = index.search(query_D[None], k=K, encoder_id="enc", allowed_ids=allowed, exact=exact)
        return hits[0].row_ids_K

    figures: dict[str, Any] = recall_and_latency(ask, truth, gallery)
    allowed = ids[::FILTER_EVERY]
    filtered = recall_and_latency(
        lambda query_D: ask(query_D, allowed), truth, gallery, "filtered_QK"
    )
    exact_ms = timed(lambda query_D: ask(query_D, exact=True), truth["queries_QD"][:10])
    built_with = [segment.manifest.probes for segment in index._state.segments]
    by_lists = {}
    for probes in TRIED_PROBES if index.state().segments else ():
        for segment in index._state.segments:
            if segment.compressed is not None:
                segment.compressed.probes = probes
        ids_QK = [ask(query_D) for query_D in truth["queries_QD"]]
        share = recall(ids_QK, truth["queries_QD"], truth["best_QK"], gallery)
        by_lists[probes] = [share, float(np.median(timed(ask, truth["queries_QD"])))]
    return figures | {
        "probed_lists": built_with,
        "recall_and_p50_ms_by_lists": by_lists,
        "build_s": build_s,
        "fill_s": fill_s,
        "open_s": open_s,
        "build_peak_rss_mb": peak_mb,
        "disk_mb": disk_mb(folder),
        "exact_p50_ms": float(np.median(exact_ms)),
        "filter_1_percent_recall_at_10": filtered["recall_at_10"],
        "filter_1_percent_p50_ms": filtered["p50_ms"],
        "filter_1_percent_p99_ms": filtered["p99_ms"],
        "filter_1_percent_peak_resident_mb": filtered["peak_resident_mb"],
    }


def flat(gallery: Path, rows: int, folder: Path, truth: Any, min_recall: float) -> dict[str, Any]:
    """FAISS, every vector as float32 in memory; all cores for each query."""
    import faiss

    index: Any = faiss.IndexFlatIP(DIM)
    began = time.perf_counter()
    for _, rows_BD in gallery_blocks(gallery, rows):
        index.add(rows_BD)
    build_s = time.perf_counter() - began
    few = {"queries_QD": truth["queries_QD"][:50], "best_QK": truth["best_QK"][:50]}
    return recall_and_latency(lambda q: index.search(q[None], K)[1][0], few, gallery) | {
        "build_s": build_s
    }


def hnsw(gallery: Path, rows: int, folder: Path, truth: Any, min_recall: float) -> dict[str, Any]:
    """FAISS, 32 links, float32 in memory; efSearch grows until its recall is that of ours."""
    import faiss

    index: Any = faiss.IndexHNSWFlat(DIM, 32, faiss.METRIC_INNER_PRODUCT)
    began = time.perf_counter()
    for _, rows_BD in gallery_blocks(gallery, rows):
        index.add(rows_BD)
    build_s = time.perf_counter() - began

    def ask(query_D: Floats) -> Ids:
        return index.search(query_D[None], K)[1][0]

    def apply(ef: int) -> None:
        index.hnsw.efSearch = ef

    ef = _first_that_reaches(min_recall, (32, 64, 128, 256, 512, 1024), apply, ask, truth, gallery)
    return recall_and_latency(ask, truth, gallery) | {"build_s": build_s, "ef_search": ef}


def lancedb(
    gallery: Path, rows: int, folder: Path, truth: Any, min_recall: float
) -> dict[str, Any]:
    """LanceDB, IVF-PQ on disk with refinement; the first setting whose recall is that of ours."""
    import lancedb as engine
    import pyarrow as pa

    kind = pa.schema([("id", pa.int64()), ("vector", pa.list_(pa.float32(), DIM))])

    def batches() -> Iterator[Any]:
        for start, part in gallery_blocks(gallery, rows):
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), DIM)
            ids = pa.array(np.arange(start, start + len(part)))
            yield pa.RecordBatch.from_arrays([ids, vectors], schema=kind)

    began = time.perf_counter()
    table = engine.connect(folder).create_table("scans", data=batches(), schema=kind)
    lists = max(16, int(np.sqrt(rows)))
    table.create_index(
        metric="cosine", num_partitions=lists, num_sub_vectors=128, vector_column_name="vector"
    )
    build_s = time.perf_counter() - began
    chosen = {"probes": 20, "refine": 10}

    def ask(query_D: Floats) -> Ids:
        query = table.search(query_D).distance_type("cosine").nprobes(chosen["probes"])
        rows = query.refine_factor(chosen["refine"]).limit(K).select(["id", "_distance"]).to_arrow()
        return rows["id"].to_numpy().astype(np.int64)

    def apply(setting: tuple[int, int]) -> None:
        chosen.update(probes=setting[0], refine=setting[1])

    grid = ((20, 10), (40, 10), (40, 20), (80, 20), (80, 50), (160, 50), (320, 100))
    _first_that_reaches(min_recall, grid, apply, ask, truth, gallery)
    figures = recall_and_latency(ask, truth, gallery)
    return figures | {
        "build_s": build_s,
        "disk_mb": disk_mb(folder),
        "version": engine.__version__,
        **chosen,
    }


def postgres(
    gallery: Path, rows: int, folder: Path, truth: Any, min_recall: float
) -> dict[str, Any]:
    """Our search in PostgreSQL with pgvector; a large build gets memory for its whole graph."""
    import postgres_engine

    from service.catalog.postgres.search.postgres_search import BUILD_MEMORY_MB

    memory_mb = max(BUILD_MEMORY_MB, rows * 3 // 1000)
    return postgres_engine.measured(rows, gallery, truth, memory_mb)


def _first_that_reaches(
    min_recall: float,
    settings: Any,
    apply: Callable[[Any], None],
    ask: Ask,
    truth: Any,
    gallery: Path,
) -> Any:
    few_QD, best_QK = truth["queries_QD"][:200], truth["best_QK"][:200]
    setting = None
    for setting in settings:
        apply(setting)
        if recall([ask(query_D) for query_D in few_QD], few_QD, best_QK, gallery) >= min_recall:
            break
    return setting


def disk_mb(folder: Path) -> float:
    """Size of all files below a folder, MB."""
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 2**20


def main() -> None:
    """Build one engine, print its figures as one JSON line, and remove its files unless kept."""
    engines = {
        "ours": ours,
        "postgres": postgres,
        "flat": flat,
        "hnsw": hnsw,
        "lancedb": lancedb,
    }
    parser = argument_parser(__doc__)
    parser.add_argument("engine", choices=engines)
    parser.add_argument("rows", type=int)
    parser.add_argument("cache", type=Path, help="folder with the gallery and the truth")
    parser.add_argument("folder", type=Path, help="of the engine's own files")
    parser.add_argument("min_recall", type=float, help="that a peer's setting must reach")
    parser.add_argument("--keep", action="store_true", help="keep the engine's files")
    arguments = parser.parse_args()
    name, rows = arguments.engine, arguments.rows
    place = arguments.folder / f"{name}-{rows}"
    if not arguments.keep:
        shutil.rmtree(place, ignore_errors=True)
    truth = dict(np.load(arguments.cache / f"truth-{rows}.npz", allow_pickle=False))
    gallery = arguments.cache / "gallery.f32"
    print_report(engines[name](gallery, rows, place, truth, arguments.min_recall), arguments)
    if not arguments.keep:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()

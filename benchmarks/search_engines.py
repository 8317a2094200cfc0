"""One search engine over one gallery in this process: built, asked, timed. Run by bench_search.

    python benchmarks/search_engines.py <engine> <rows> <cache> <folder> <least recall> [keep]

Imports nothing of the project but for ``ours``, so that a peer can run in its own environment.

Shape suffixes: N gallery rows, B rows of a block, Q queries, K neighbours, D embedding width.
"""

import json
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

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


def memory_mb(what: str = "VmRSS") -> float:
    """Resident memory now, or with VmHWM at its peak, MB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(what))


def recall(found_QK: list[Ids], queries_QD: Floats, best_QK: Floats, gallery: Path) -> float:
    """Share of the exact best that was found, by score: ties are no misses."""
    rows_ND = np.memmap(gallery, np.float32, "r").reshape(-1, DIM)
    hits = 0
    for ids_K, query_D, best_K in zip(found_QK, queries_QD, best_QK, strict=True):
        scores_K = np.asarray(rows_ND[np.unique(ids_K)]) @ query_D
        hits += min(K, int((scores_K >= best_K[-1] - TIE).sum()))
    return hits / (K * len(found_QK))


def timed(ask: Ask, queries_QD: Floats) -> list[float]:
    """Milliseconds of each query, one after the other."""
    taken = []
    for query_D in queries_QD:
        began = time.perf_counter()
        ask(query_D)
        taken.append((time.perf_counter() - began) * 1e3)
    return taken


def timed_together(ask: Ask, queries_QD: Floats) -> tuple[list[float], float]:
    """Milliseconds of each query while CLIENTS threads ask at once, and queries per second."""
    taken: list[float] = []
    threads = [
        threading.Thread(target=lambda i=i: taken.extend(timed(ask, queries_QD[i::CLIENTS])))
        for i in range(CLIENTS)
    ]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return taken, len(queries_QD) / (time.perf_counter() - began)


def judged(ask: Ask, truth: Any, gallery: Path, best: str = "best_QK") -> dict[str, float]:
    """Recall and latency of an engine that is built."""
    print("asking", file=sys.stderr, flush=True)
    queries_QD, best_QK = truth["queries_QD"], truth[best]
    found_QK = [ask(query_D) for query_D in queries_QD]  # warms the caches too
    many = np.tile(queries_QD, (ROUNDS, 1))
    alone = timed(ask, many)
    together, per_s = timed_together(ask, many)
    rss_mb = memory_mb()
    print("asked", file=sys.stderr, flush=True)
    return {
        "p50_ms": float(np.quantile(alone, 0.5)),
        "p99_ms": float(np.quantile(alone, 0.99)),
        "p50_ms_8_clients": float(np.quantile(together, 0.5)),
        "p99_ms_8_clients": float(np.quantile(together, 0.99)),
        "queries_per_s_8_clients": per_s,
        "rss_mb": rss_mb,
        "recall_at_10": recall(found_QK, queries_QD, best_QK, gallery),
    }


def ours(gallery: Path, rows: int, folder: Path, truth: Any, least: float) -> dict[str, Any]:
    """The index of the service: filled, built, opened again and asked; a kept one only asked."""
    from service.index import compressed as coarse
    from service.index.vector_index import EmbeddingIndex

    ids, marks = np.arange(rows, dtype=np.int64), np.zeros(rows, np.uint64)
    blocks = (
        (ids[start : start + len(part)], marks[start : start + len(part)], part)
        for start, part in gallery_blocks(gallery, rows)
    )
    options: dict[str, Any] = {"folder": folder}
    index = EmbeddingIndex(DIM, "enc", **options)
    kept = folder.exists()
    began = time.perf_counter()
    if not kept:
        index.fill(blocks, rows)
    fill_s = time.perf_counter() - began
    while index.build():
        pass
    build_s = None if kept else time.perf_counter() - began
    peak_mb = memory_mb("VmHWM")
    if folder.exists():
        index = EmbeddingIndex(DIM, "enc", **options)
        began = time.perf_counter()
        index.open_files(ids, marks)
    open_s = time.perf_counter() - began

    def ask(query_D: Floats, allowed: Ids | None = None, *, exact: bool = False) -> Ids:
        found = index.search(query_D[None], k=K, encoder_id="enc", allowed_ids=allowed, exact=exact)
        return found[0].row_ids_K

    said: dict[str, Any] = judged(ask, truth, gallery)
    allowed = ids[::FILTER_EVERY]
    filtered = judged(lambda query_D: ask(query_D, allowed), truth, gallery, "filtered_QK")
    exact_ms = timed(lambda query_D: ask(query_D, exact=True), truth["queries_QD"][:10])
    tried = {}
    for probes in TRIED_PROBES if index.state().segments else ():
        coarse.PROBES = probes
        found_QK = [ask(query_D) for query_D in truth["queries_QD"]]
        share = recall(found_QK, truth["queries_QD"], truth["best_QK"], gallery)
        tried[probes] = [share, float(np.median(timed(ask, truth["queries_QD"])))]
    return said | {
        "recall_and_p50_ms_by_lists": tried,
        "build_s": build_s,
        "fill_s": fill_s,
        "open_s": open_s,
        "build_peak_rss_mb": peak_mb,
        "disk_mb": disk_mb(folder),
        "exact_p50_ms": float(np.median(exact_ms)),
        "filter_1_percent_recall_at_10": filtered["recall_at_10"],
        "filter_1_percent_p50_ms": filtered["p50_ms"],
        "filter_1_percent_p99_ms": filtered["p99_ms"],
    }


def flat(gallery: Path, rows: int, folder: Path, truth: Any, least: float) -> dict[str, Any]:
    """FAISS, every vector as float32 in memory; all cores for each query."""
    import faiss

    index: Any = faiss.IndexFlatIP(DIM)
    began = time.perf_counter()
    for _, rows_BD in gallery_blocks(gallery, rows):
        index.add(rows_BD)
    build_s = time.perf_counter() - began
    few = {"queries_QD": truth["queries_QD"][:50], "best_QK": truth["best_QK"][:50]}
    return judged(lambda q: index.search(q[None], K)[1][0], few, gallery) | {"build_s": build_s}


def hnsw(gallery: Path, rows: int, folder: Path, truth: Any, least: float) -> dict[str, Any]:
    """FAISS, 32 links, float32 in memory; efSearch grows until it finds as much as ours."""
    import faiss

    index: Any = faiss.IndexHNSWFlat(DIM, 32, faiss.METRIC_INNER_PRODUCT)
    began = time.perf_counter()
    for _, rows_BD in gallery_blocks(gallery, rows):
        index.add(rows_BD)
    build_s = time.perf_counter() - began

    def ask(query_D: Floats) -> Ids:
        return index.search(query_D[None], K)[1][0]

    def settle(ef: int) -> None:
        index.hnsw.efSearch = ef

    ef = _first_that_reaches(least, (32, 64, 128, 256, 512, 1024), settle, ask, truth, gallery)
    return judged(ask, truth, gallery) | {"build_s": build_s, "ef_search": ef}


def lancedb(gallery: Path, rows: int, folder: Path, truth: Any, least: float) -> dict[str, Any]:
    """LanceDB, IVF-PQ on disk with refinement; the first setting that finds as much as ours."""
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
        wanted = table.search(query_D).distance_type("cosine").nprobes(chosen["probes"])
        found = (
            wanted.refine_factor(chosen["refine"]).limit(K).select(["id", "_distance"]).to_arrow()
        )
        return found["id"].to_numpy().astype(np.int64)

    def settle(setting: tuple[int, int]) -> None:
        chosen.update(probes=setting[0], refine=setting[1])

    grid = ((20, 10), (40, 10), (40, 20), (80, 20), (80, 50), (160, 50), (320, 100))
    _first_that_reaches(least, grid, settle, ask, truth, gallery)
    said = judged(ask, truth, gallery)
    return said | {
        "build_s": build_s,
        "disk_mb": disk_mb(folder),
        "version": engine.__version__,
        **chosen,
    }


def _first_that_reaches(
    least: float, settings: Any, settle: Callable[[Any], None], ask: Ask, truth: Any, gallery: Path
) -> Any:
    few_QD, best_QK = truth["queries_QD"][:200], truth["best_QK"][:200]
    setting = None
    for setting in settings:
        settle(setting)
        if recall([ask(query_D) for query_D in few_QD], few_QD, best_QK, gallery) >= least:
            break
    return setting


def disk_mb(folder: Path) -> float:
    """Size of all files below a folder, MB."""
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 2**20


def main() -> None:
    """Build one engine, print its figures as one JSON line, and remove its files unless kept."""
    name, rows, cache, folder, least, *kept = sys.argv[1:]
    engine = {"ours": ours, "flat": flat, "hnsw": hnsw, "lancedb": lancedb}[name]
    place = Path(folder) / f"{name}-{rows}"
    if not kept:
        shutil.rmtree(place, ignore_errors=True)
    truth = dict(np.load(Path(cache) / f"truth-{rows}.npz", allow_pickle=False))
    gallery = Path(cache) / "gallery.f32"
    print(json.dumps(engine(gallery, int(rows), place, truth, float(least))))
    if not kept:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()

"""Vectors for search benchmarks: embeddings of real frames, and a million drawn around them.

The real ones are every frame that ``manifest.csv`` of the shared folder names, embedded once by the
shipped bundle and cached in a folder of its encoder, with everything that is drawn around them.
Held-out real frames are the queries. The gallery is drawn around the others: a real frame, moved a
random part of the way to one of its real neighbours, plus noise of the covariance by which
neighbours differ. So a drawn frame lies about as far from the nearest ones as real frames do
(``nearest_quantiles`` measures it), and no frame is drawn around a query.

Shape suffixes: N real frames, B drawn frames of a block, M rows of the noise pool, K neighbours,
D embedding width.
"""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from harness import required_shared_folder

from service.embedding.bundle import SHIPPED_BUNDLE, read_manifest
from service.embedding.encoder import load_encoder
from service.imaging.analysis.preprocess import preprocess
from service.imaging.formats.decode import decode

Floats = npt.NDArray[np.float32]
CACHES = Path("runs/bench_search")
BLOCK = 10_000
NEIGHBOURS = 10
HELD_OUT = 1000
POOL = 20_000
NOISE = 1.0  # in units of the spread between a frame and its nearest one


def cache_folder() -> Path:
    """Of what belongs to the shipped encoder; made if it is not there."""
    folder = CACHES / read_manifest(SHIPPED_BUNDLE).encoder_id
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def real_vectors() -> Floats:
    """Unit embeddings of every frame of the manifest, in its order; cached after the first run."""
    cached = cache_folder() / "real.npy"
    if cached.exists():
        cached_ND: Floats = np.load(cached, allow_pickle=False)
        return cached_ND
    encoder = load_encoder(SHIPPED_BUNDLE)
    folder = required_shared_folder() / "data"
    with (folder / "manifest.csv").open(newline="") as file:
        paths = [folder / row["path"] for row in csv.DictReader(file)]
    print(f"embedding {len(paths)} real frames, once: some minutes", file=sys.stderr, flush=True)
    rows = []
    for path in paths:
        frame = decode(path.read_bytes(), max_pixels=50_000_000)
        rows.append(encoder.encode(preprocess(frame.pixels_HW[None], encoder.spec))[0])
    real_ND = np.stack(rows).astype(np.float32)
    np.save(cached, real_ND, allow_pickle=False)
    return real_ND


def split(real_ND: Floats, *, seed: int = 0) -> tuple[Floats, Floats]:
    """(frames to draw around, held-out frames that serve as queries)."""
    order = np.random.default_rng(seed).permutation(len(real_ND))
    return real_ND[order[HELD_OUT:]], real_ND[order[:HELD_OUT]]


def drawn_blocks(real_ND: Floats, count: int, *, seed: int = 0) -> Iterator[Floats]:
    """``count`` unit rows around real ones, float32 (B, D) at a time.

    A seed gives the same rows whatever the count: a longer gallery begins with a shorter one.
    """
    rng = np.random.default_rng(seed)
    near_NK = _nearest(real_ND)
    apart_ND = real_ND - real_ND[near_NK[:, 0]]
    _, spread_D, axes_DD = np.linalg.svd(apart_ND / np.sqrt(2 * len(apart_ND)), full_matrices=False)
    plain_MD = rng.standard_normal((POOL, len(spread_D)), np.float32)
    pool_MD = (plain_MD * spread_D) @ axes_DD
    for start in range(0, count, BLOCK):
        base_B = rng.integers(0, len(real_ND), BLOCK)
        other_B = near_NK[base_B, rng.integers(0, NEIGHBOURS, BLOCK)]
        share_B1 = rng.uniform(0, 1, (BLOCK, 1)).astype(np.float32)
        rows_BD = (1 - share_B1) * real_ND[base_B] + share_B1 * real_ND[other_B]
        rows_BD += NOISE * _mixed(pool_MD, rng, BLOCK)
        rows_BD = rows_BD[: count - start]
        yield (rows_BD / np.linalg.norm(rows_BD, axis=1, keepdims=True)).astype(np.float32)


def _mixed(pool_MD: Floats, rng: np.random.Generator, size: int) -> Floats:
    """Two pool rows turned into each other: of the pool's covariance, and much cheaper to draw."""
    turn_B1 = rng.uniform(0, 2 * np.pi, (size, 1))
    cos_B1, sin_B1 = np.cos(turn_B1).astype(np.float32), np.sin(turn_B1).astype(np.float32)
    one_B, other_B = rng.integers(0, len(pool_MD), (2, size))
    return cos_B1 * pool_MD[one_B] + sin_B1 * pool_MD[other_B]


def nearest_quantiles(rows_ND: Floats, queries_QD: Floats) -> list[float]:
    """5, 50 and 95 % quantiles of the cosine to the nearest row, itself left out."""
    scores_QN = queries_QD @ rows_ND.T
    scores_QN[scores_QN > 0.999999] = -1
    return [float(value) for value in np.quantile(scores_QN.max(1), (0.05, 0.5, 0.95))]


def _nearest(real_ND: Floats) -> npt.NDArray[np.int64]:
    """The NEIGHBOURS most like rows of each row, itself left out."""
    scores_NN = real_ND @ real_ND.T
    np.fill_diagonal(scores_NN, -1)
    return np.argsort(-scores_NN, axis=1)[:, :NEIGHBOURS]

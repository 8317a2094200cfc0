"""Embeddings of the views of real frames, whole or as the service uses them, cached.

Shape suffixes: N frames, V views, D embedding width.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from harness import required_shared_folder

from service.arrays import Floats
from service.imaging.analysis.views import VIEWS, views_of
from training.catalogue.contents import content_of
from training.catalogue.manifest import ManifestRow, read_manifest
from training.evaluation.encoders import BundleEncoder, embed
from training.evaluation.protocol import LabelledSet
from training.evaluation.served import Way, file_rows, used_pixels
from training.evaluation.sets import read_sets, subsample

BLOCK = 64  # frames at once


def read_views(
    encoder: BundleEncoder, names: Sequence[str], frames: int, cache: Path, way: Way = "served"
) -> dict[str, tuple[LabelledSet, Floats]]:
    """Labels of every set, and float32 (N, V, D) of its frames: view 0 is the frame itself.

    A cached file belongs to an encoder, a way and the content of the frames; a changed analysis is
    not noticed, so use another folder after that.
    """
    rows = read_manifest(required_shared_folder() / "data" / "manifest.csv")
    sets = [subsample(bench_set, frames) for bench_set in read_sets(rows, names)]
    return {s.name: (s.labelled, _cached(encoder, s.rows, cache, way)) for s in sets}


def _cached(encoder: BundleEncoder, rows: Sequence[ManifestRow], cache: Path, way: Way) -> Floats:
    part = "" if way == "served" else f"-{way}"
    path = cache / f"{encoder.key}-{content_of(rows)}{part}-views.npy"
    if path.exists():
        stored_NVD: Floats = np.load(path, allow_pickle=False)
        return stored_NVD
    print(f"embedding {VIEWS} views of {len(rows)} frames", file=sys.stderr, flush=True)
    blocks = [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]
    views_NVD = np.concatenate([_embedded(encoder, block, way) for block in blocks])
    cache.mkdir(parents=True, exist_ok=True)
    np.save(path, views_NVD, allow_pickle=False)
    return views_NVD


def _embedded(encoder: BundleEncoder, rows: Sequence[ManifestRow], way: Way) -> Floats:
    used = [used_pixels(row.path, way) for row in rows]
    counts = [len(regions) for regions in used]
    views = [views_of(region_hw) for regions in used for region_hw in regions]
    rows_RVD = embed(encoder, [view for of_region in views for view in of_region])
    rows_RVD = rows_RVD.reshape(len(views), VIEWS, -1)
    return np.stack([file_rows(rows_RVD[:, view], counts) for view in range(VIEWS)], axis=1)

"""Cluster quality of the classes, and UMAP maps.

Shape suffixes: N frames, D feature width.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import silhouette_score

from training.evaluation.protocol import Floats, LabelledSet, nearest_others

PURITY_NEIGHBOURS = 10
MAP_NEIGHBOURS = 15


@dataclass(frozen=True, slots=True)
class Clusters:
    """Cluster quality of the true classes.

    Attributes:
        silhouette: mean silhouette with cosine distance, in [-1, 1] (Rousseeuw 1987).
        purity: mean share of the 10 nearest frames of other groups with the same class, each
            class weighing the same, percent.
    """

    silhouette: float
    purity: float


def clusters(features_ND: Floats, labelled: LabelledSet) -> Clusters:
    """Cluster quality of the set's evaluated frames."""
    tested_N = ~labelled.support_N
    silhouette = silhouette_score(
        features_ND[tested_N], labelled.labels_N[tested_N], metric="cosine"
    )
    shares: dict[str, list[float]] = {name: [] for name in labelled.classes}
    for row, order in nearest_others(features_ND, labelled):
        name = labelled.labels_N[row]
        near = labelled.labels_N[order[:PURITY_NEIGHBOURS]]
        shares[str(name)].append(float(np.mean(near == name)) if len(near) else 0.0)
    purity = 100 * float(np.mean([np.mean(shares) for shares in shares.values() if shares]))
    return Clusters(float(silhouette), purity)


def umap_plane(features_ND: Floats, *, seed: int = 0) -> npt.NDArray[np.float32]:
    """UMAP with cosine distance, float32 (N, 2), the same for the same seed (McInnes 2018)."""
    with warnings.catch_warnings():
        # A fixed seed costs umap-learn its threads, and it says so each time.
        warnings.filterwarnings("ignore", "n_jobs value", UserWarning)
        # It says that TensorFlow is absent, which only its parametric variant needs.
        warnings.filterwarnings("ignore", category=ImportWarning)
        # numba and pynndescent announce changes of their own when they are imported.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        from umap import UMAP

        neighbours = min(MAP_NEIGHBOURS, len(features_ND) - 1)
        reducer = UMAP(n_neighbors=neighbours, metric="cosine", random_state=seed, min_dist=0.2)
        points_N2: npt.NDArray[np.float32] = reducer.fit_transform(features_ND)
    return points_N2

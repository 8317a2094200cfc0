"""Spread a few labels over the graph of unlabelled embeddings.

Nodes are the labelled and the unlabelled rows; edges join each to its nearest neighbours. The
method is that of Zhou et al. 2004, "Learning with local and global consistency", on the graph of
Iscen et al. 2019, "Label propagation for deep semi-supervised learning".

Shape suffixes: N labelled rows, U unlabelled rows, M all nodes, K neighbours, B rows of a block,
C classes, D embedding width.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from service.arrays import Bools, Doubles, Floats, Ints

if TYPE_CHECKING:
    from scipy.sparse import csr_array

NEIGHBOURS = 10
POWER = 3  # of the cosine: near neighbours count far more
ALPHA = 0.9  # share that a node takes from its neighbours
MAX_STEPS = 100
TOLERANCE = 1e-4  # of the largest score
_BLOCK = 1024  # rows whose cosines are in memory at once: 80 MB with 20,000 nodes


@dataclass(frozen=True)
class NeighbourGraph:
    """A symmetric graph of M nodes; ``weights_MM`` is sparse, without loops."""

    weights_MM: "csr_array"

    def spread(self, labels_M: Ints, classes: int, kept_M: Bools) -> Doubles:
        """(M, C) shares of the classes at each node; rows sum to 1, or to 0 where none arrives.

        Args:
            labels_M: class number of each labelled node, -1 where none is known.
            kept_M: nodes that take part; the others are taken out of the graph with their edges.
        """
        from scipy.sparse import diags_array

        known_M = (labels_M >= 0) & kept_M
        start_MC = np.zeros((len(labels_M), classes))
        start_MC[known_M, labels_M[known_M]] = 1
        # Each class starts with the same amount, however many labels it has.
        start_MC /= np.maximum(start_MC.sum(0), 1)
        inside_M = kept_M.astype(np.float64)
        weights_MM = diags_array(inside_M) @ self.weights_MM @ diags_array(inside_M)
        degrees_M = np.asarray(weights_MM.sum(1)).ravel()
        scale_M = 1 / np.sqrt(np.where(degrees_M > 0, degrees_M, np.inf))
        step_MM = diags_array(scale_M) @ weights_MM @ diags_array(scale_M)
        scores_MC = start_MC
        for _ in range(MAX_STEPS):
            next_MC = ALPHA * (step_MM @ scores_MC) + start_MC
            change = abs(next_MC - scores_MC).max()
            scores_MC = next_MC
            if change <= TOLERANCE * scores_MC.max():
                break
        totals_M = scores_MC.sum(1, keepdims=True)
        shares_MC: Doubles = scores_MC / np.where(totals_M > 0, totals_M, 1)
        return shares_MC


def centred(rows_MD: npt.NDArray[np.floating], mean_D: npt.NDArray[np.floating]) -> Floats:
    """Rows less the mean of a collection, at unit length, float32; zeros at the mean."""
    moved_MD = rows_MD.astype(np.float32) - mean_D.astype(np.float32)
    lengths_M = np.sqrt(np.einsum("md,md->m", moved_MD, moved_MD))
    moved_MD /= np.where(lengths_M > 0, lengths_M, 1)[:, None]
    return moved_MD


def neighbour_graph(unit_MD: Floats) -> NeighbourGraph:
    """Join each row to its 10 nearest ones by cosine, to the third power; both directions."""
    from scipy.sparse import csr_array

    count = len(unit_MD)
    near = min(NEIGHBOURS, count - 1)
    places_MK = np.empty((count, near), np.int64)
    cosines_MK = np.empty((count, near), np.float32)
    for start in range(0, count, _BLOCK):
        rows_B = np.arange(start, min(start + _BLOCK, count))
        cosines_BM = unit_MD[rows_B] @ unit_MD.T
        cosines_BM[np.arange(len(rows_B)), rows_B] = -np.inf
        places_BK = np.argpartition(cosines_BM, count - near, axis=1)[:, count - near :]
        places_MK[rows_B] = places_BK
        cosines_MK[rows_B] = np.take_along_axis(cosines_BM, places_BK, 1)
    weights_MK = np.maximum(cosines_MK.astype(np.float64), 0) ** POWER
    from_M = np.repeat(np.arange(count), near)
    one_way_MM = csr_array((weights_MK.ravel(), (from_M, places_MK.ravel())), (count, count))
    return NeighbourGraph(one_way_MM + one_way_MM.T)


def confidences(shares_MC: Doubles) -> Doubles:
    """(M,) 1 - entropy / log C: 0 = all classes alike or no label arrives, 1 = one class alone."""
    logs_MC = np.log(np.where(shares_MC > 0, shares_MC, 1))
    entropy_M = -(shares_MC * logs_MC).sum(1)
    sure_M: Doubles = 1 - entropy_M / np.log(shares_MC.shape[1])
    return np.where(shares_MC.sum(1) > 0, np.clip(sure_M, 0, 1), 0.0)

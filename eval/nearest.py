"""Nearest neighbours of samples among training images, to see what was learned by heart."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tfdm.eval.improved_precision_recall import squared_distances

_BLOCK = 2000


def nearest_neighbours(queries: npt.ArrayLike, rows: npt.ArrayLike, number: int) -> np.ndarray:
    """Returns the indices of the nearest rows, nearest first, [q, number].

    Queries [q, d] and rows [N, d] are features or flattened pixels; rows are read in blocks, so
    that they may be memory-mapped.
    """
    queries, rows = np.asarray(queries, np.float64), np.asarray(rows)
    blocks = (rows[first : first + _BLOCK] for first in range(0, len(rows), _BLOCK))
    distances = [squared_distances(queries, block.astype(np.float64)) for block in blocks]
    return np.argsort(np.concatenate(distances, axis=1), axis=1, kind="stable")[:, :number]

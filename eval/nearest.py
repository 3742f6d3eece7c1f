"""Nearest neighbours of samples among training images, to see what was learned by heart."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tfdm.eval.improved_precision_recall import squared_distances

_BLOCK = 2000


def nearest_neighbours(queries: npt.ArrayLike, rows: npt.ArrayLike, number: int) -> np.ndarray:
    """Returns the indices of the nearest rows, nearest first, [q, number].

    Args:
      queries: features or flattened pixels [q, d].
      rows: likewise [N, d], read in blocks, so that they may be memory-mapped.
      number: how many neighbours, at most N.

    Raises:
      ValueError: unequal dimensions, or fewer rows than neighbours.
    """
    queries, rows = np.asarray(queries, np.float64), np.asarray(rows)
    if queries.ndim != 2 or rows.ndim != 2 or queries.shape[1] != rows.shape[1]:
        raise ValueError(f"shapes are {queries.shape} and {rows.shape}, expected [q, d] and [N, d]")
    if not 1 <= number <= len(rows):
        raise ValueError(f"number is {number}, expected 1 to {len(rows)}")
    best = np.empty([len(queries), 0])
    indices = np.empty([len(queries), 0], np.int64)
    for first in range(0, len(rows), _BLOCK):
        block = rows[first : first + _BLOCK].astype(np.float64)
        distances = squared_distances(queries, block)
        places = np.broadcast_to(np.arange(first, first + len(block)), distances.shape)
        best = np.concatenate([best, distances], axis=1)
        indices = np.concatenate([indices, places], axis=1)
        chosen = np.argsort(best, axis=1, kind="stable")[:, :number]
        best = np.take_along_axis(best, chosen, axis=1)
        indices = np.take_along_axis(indices, chosen, axis=1)
    return indices

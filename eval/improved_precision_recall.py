"""Neighbours of features: improved precision and recall (Kynkäänniemi et al., 2019), and which
training images are nearest to samples, to see what was learned by heart.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from tfdm.eval.checks import checked_pair
from tfdm.eval.config import PrecisionRecallConfig
from tfdm.eval.inputs import Inputs

_BLOCK = 1000
# How many differences are held at a time.
_NUMBERS = 2**22
# Of the norms: what rounding leaves of the squared distance between equal rows.
_ROUNDING = 1e-13


@dataclasses.dataclass(frozen=True)
class PrecisionRecall:
    """The shares of generated and of real features inside the support of the other ones, 0 to 1."""

    precision: float
    recall: float
    num_real: int
    num_generated: int
    neighbours: int


def precision_recall(
    real: npt.ArrayLike, generated: npt.ArrayLike, neighbours: int = 3
) -> PrecisionRecall:
    """Returns improved precision and recall of features [n, d] and [m, d].

    The support of a set is the union of the balls around its members that reach to their
    `neighbours`-th nearest other member. Time of order (n + m)², memory of order n + m. Unequal d,
    too few features, or values that are not finite are a `ValueError`.
    """
    PrecisionRecallConfig(neighbours=neighbours)  # which checks it
    reals, fakes = checked_pair(real, generated, neighbours + 1)
    precision = _share_inside(fakes, reals, neighbours)
    recall = _share_inside(reals, fakes, neighbours)
    return PrecisionRecall(precision, recall, len(reals), len(fakes), neighbours)


def measure(inputs: Inputs, config: PrecisionRecallConfig) -> dict[str, Any]:
    """Returns the record of precision and recall."""
    pairs = inputs.feature_pairs(config.num_images)
    return dataclasses.asdict(precision_recall(*pairs, config.neighbours))


def squared_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns |a - b|² of all pairs, [n, m], and 0 where it drowns in rounding errors."""
    norms = np.square(first).sum(axis=1)[:, None] + np.square(second).sum(axis=1)
    distances = first @ second.T
    distances *= -2
    distances += norms
    norms *= _ROUNDING
    distances[distances <= norms] = 0
    return distances


def nearest_neighbours(queries: npt.ArrayLike, rows: npt.ArrayLike, number: int) -> np.ndarray:
    """Returns the indices of the nearest rows, nearest first, [q, number].

    Queries are [q, d], rows [N, d], which may be memory-mapped.
    """
    queries, rows = np.asarray(queries, np.float64), np.asarray(rows)
    blocks = (rows[first : first + _BLOCK] for first in range(0, len(rows), _BLOCK))
    distances = [squared_distances(queries, block.astype(np.float64)) for block in blocks]
    return np.argsort(np.concatenate(distances, axis=1), axis=1, kind="stable")[:, :number]


def _share_inside(queries: np.ndarray, support: np.ndarray, neighbours: int) -> float:
    """The share of queries [q, d] in the support of a set [n, d]; a point on a sphere counts."""
    centre = np.median(support, axis=0)  # no single row moves it far
    radii = _squared_radii(support, centre, neighbours)
    inside = 0
    for start in range(0, len(queries), _BLOCK):
        block = queries[start : start + _BLOCK]
        low, high = _bounds(block - centre, support - centre)
        hits = np.asarray((high < radii).any(axis=1))
        rows, columns = np.nonzero((low <= radii) & (high >= radii) & ~hits[:, None])
        touching = _exact(block, support, rows, columns) <= radii[columns]
        hits[rows[touching]] = True
        inside += int(hits.sum())
    return inside / len(queries)


def _squared_radii(support: np.ndarray, centre: np.ndarray, neighbours: int) -> np.ndarray:
    """The squared distance of each member to its k-th nearest other member."""
    radii = []
    for start in range(0, len(support), _BLOCK):
        block = support[start : start + _BLOCK]
        low, high = _bounds(block - centre, support - centre)
        itself = np.arange(len(block))
        # Itself comes first, also among its duplicates.
        low[itself, start + itself] = high[itself, start + itself] = -np.inf
        least = np.partition(low, neighbours, axis=1)[:, neighbours, None]
        most = np.partition(high, neighbours, axis=1)[:, neighbours, None]
        rows, columns = np.nonzero((high >= least) & (low <= most))
        distances = _exact(block, support, rows, columns)
        distances = distances[np.lexsort((distances, rows))]
        first = np.searchsorted(rows, itself)
        radii.append(distances[first + neighbours - (high < least).sum(axis=1)])
    return np.concatenate(radii)


def _bounds(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of the squared distances of all pairs, [n, m], whatever the products round to."""
    relative = max(_ROUNDING, (first.shape[1] + 8) * np.finfo(np.float64).eps)
    slack = np.square(first).sum(axis=1)[:, None] + np.square(second).sum(axis=1)
    slack *= relative
    distances = squared_distances(first, second)
    return distances - slack, distances + slack


def _exact(
    first: np.ndarray, second: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Squared distances of chosen pairs by differences: equal ones are equal bit for bit."""
    distances = np.empty(len(rows))
    step = max(1, _NUMBERS // first.shape[1])
    for start in range(0, len(rows), step):
        pairs = slice(start, start + step)
        differences = first[rows[pairs]] - second[columns[pairs]]
        distances[pairs] = np.square(differences).sum(axis=1)
    return distances

"""Fréchet and kernel distances between two sets of features.

Heusel et al., *GANs trained by a two time-scale update rule* (2017); Bińkowski et al.,
*Demystifying MMD GANs* (2018). The matrix square root is TF-GAN's.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfdm.eval.checks import check_columns, checked_pair
from tfdm.eval.config import KernelConfig, MetricConfig
from tfdm.eval.inputs import FeatureMoments, Inputs
from tfdm.eval.tfgan import classifier_metrics
from tfdm.seeds import stream
from tfdm.statistics import standard_error

# TF-GAN takes no square root of eigenvalues below 1e-10, whatever the scale of the features. The
# covariances go in at a scale where those are rounding errors of the largest one.
_SCALED_NORM = 1e5


@dataclasses.dataclass(frozen=True)
class KernelDistance:
    """The squared maximum mean discrepancy under the cubic polynomial kernel."""

    value: float  # the unbiased estimate, which can be negative
    standard_error: float | None  # over blocks, `None` with one
    num_blocks: int


def frechet_distance(
    first: npt.ArrayLike | FeatureMoments, second: npt.ArrayLike | FeatureMoments
) -> float:
    """Returns |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½), at least 0 up to rounding.

    Both are features [n, d] or their moments. Fewer than two features, unequal d, or values that
    are not finite are a `ValueError`.
    """
    a, b = (x if isinstance(x, FeatureMoments) else FeatureMoments.of(x) for x in (first, second))
    check_columns(len(a.mean), len(b.mean))
    root = _trace_of_root(a.covariance, b.covariance)
    trace = np.trace(a.covariance) + np.trace(b.covariance) - 2 * root
    return float(np.sum((a.mean - b.mean) ** 2) + trace)


def _trace_of_root(first: np.ndarray, second: np.ndarray) -> float:
    """tr (Σ₁Σ₂)^½ of covariances of any scale."""
    norms = [float(np.linalg.norm(covariance)) for covariance in (first, second)]
    if not all(norms):
        return 0.0
    root = classifier_metrics().trace_sqrt_product(
        tf.constant(first * (_SCALED_NORM / norms[0])), tf.constant(second / norms[1])
    )
    return float(root) * math.sqrt(norms[0]) * math.sqrt(norms[1] / _SCALED_NORM)


def kernel_distance(
    first: npt.ArrayLike, second: npt.ArrayLike, max_block_size: int = 1000, seed: int = 0
) -> KernelDistance:
    """Returns the kernel inception distance of features [n, d] and [m, d], averaged over blocks.

    The kernel is (x·y / d + 1)³. Both sets are shuffled, `seed` is that of their orders, and cut
    into ⌈min(n, m) / max_block_size⌉ blocks, whose sizes differ by one at most: every feature
    counts. Where a block of the larger set has more than `max_block_size` features, pairs of its
    own are those inside parts of that size. Fewer than two features a block, unequal d, or values
    that are not finite are a `ValueError`.
    """
    a, b = checked_pair(first, second, least=2)
    KernelConfig(max_block_size=max_block_size)  # which checks it
    orders = [
        stream(seed, "kernel_distance/order", index).permutation(len(rows))
        for index, rows in enumerate((a, b))
    ]
    return _kernel_distance(a, b, orders, max_block_size)


def _kernel_distance(
    first: np.ndarray, second: np.ndarray, orders: list[np.ndarray], size: int
) -> KernelDistance:
    """Features of any floating type, perhaps memory-mapped, in these orders."""
    number = math.ceil(min(len(order) for order in orders) / size)
    if min(len(order) for order in orders) < 2 * number:
        raise ValueError(
            f"{len(orders[0])} and {len(orders[1])} features cannot be cut into {number} blocks "
            f"of at least 2 and at most {size}"
        )
    values = []
    for ours, others in zip(*(np.array_split(order, number) for order in orders), strict=True):
        pairs = itertools.product(_parts(first, ours, size), _parts(second, others, size))
        between = sum(float(_excess(*pair).sum()) for pair in pairs) / (len(ours) * len(others))
        values.append(_within(first, ours, size) + _within(second, others, size) - 2 * between)
    return KernelDistance(float(np.mean(values)), standard_error(values), number)


def _within(rows: np.ndarray, order: np.ndarray, size: int) -> float:
    """The mean of the kernel, less 1, over pairs of two features of the same part."""
    total, pairs = 0.0, 0
    for part in _parts(rows, order, size):
        kernel = _excess(part, part)
        total += kernel.sum() - np.trace(kernel)
        pairs += len(part) * (len(part) - 1)
    return total / pairs


def _parts(rows: np.ndarray, order: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """The rows of an order in parts of at most `size`, float64."""
    for part in np.array_split(order, math.ceil(len(order) / size)):
        yield rows[np.sort(part)].astype(np.float64)  # sorted: a file is read forwards


def _excess(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(t + 1)³ − 1 of t = x·y / d: the constant drops out, and small features keep their digits."""
    t = first @ second.T / first.shape[1]
    return t * (3 + t * (3 + t))


def measure_frechet(inputs: Inputs, config: MetricConfig) -> dict[str, Any]:
    """Returns the record of the Fréchet distance, over all samples and all real images."""
    generated, real = inputs.feature_moments()
    return {
        "value": frechet_distance(generated, real),
        "num_generated": generated.count,
        "num_real": real.count,
        "num_features": len(generated.mean),
    }


def measure_kernel(inputs: Inputs, config: KernelConfig) -> dict[str, Any]:
    """Returns the record of the kernel distance, from all real images."""
    real, order, generated = inputs.feature_rows(config.num_images)
    orders = [order, np.arange(len(generated))]  # which are in random order
    distance = _kernel_distance(real, generated, orders, config.max_block_size)
    return {**dataclasses.asdict(distance), "num_generated": len(generated), "num_real": len(real)}

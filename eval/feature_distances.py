"""Fréchet and kernel distances between two sets of features.

Heusel et al., *GANs trained by a two time-scale update rule* (2017); Bińkowski et al.,
*Demystifying MMD GANs* (2018). The matrix square root and the kernel estimate are TF-GAN's.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfdm.eval.checks import check_columns, checked_pair
from tfdm.eval.config import KernelConfig, MetricConfig
from tfdm.eval.inputs import FeatureMoments, Inputs
from tfdm.eval.tfgan import classifier_metrics, without_deprecations

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
    first: npt.ArrayLike, second: npt.ArrayLike, max_block_size: int = 1000
) -> KernelDistance:
    """Returns the kernel inception distance of features [n, d] and [m, d], averaged over blocks.

    The kernel is (x·y / d + 1)³. The larger set decides the number of blocks, ⌈n / max_block_size⌉;
    both are cut into as many runs of consecutive rows, whose sizes differ by one at most. Shuffle
    rows whose order has a meaning. Fewer than two features a block, unequal d, or values that are
    not finite are a `ValueError`.
    """
    a, b = checked_pair(first, second, least=2)
    KernelConfig(max_block_size=max_block_size)  # which checks it
    blocks = math.ceil(max(len(a), len(b)) / max_block_size)
    if min(len(a), len(b)) < 2 * blocks:
        raise ValueError(
            f"{len(a)} and {len(b)} features cannot be cut into {blocks} blocks of at least 2"
        )
    with without_deprecations():
        value, error = classifier_metrics().kernel_classifier_distance_and_std_from_activations(
            tf.constant(a), tf.constant(b), max_block_size=max_block_size, dtype=tf.float64
        )
    return KernelDistance(float(value), float(error) if blocks > 1 else None, blocks)


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
    """Returns the record of the kernel distance."""
    real, generated = inputs.feature_pairs(config.num_images)
    distance = kernel_distance(real, generated, config.max_block_size)
    return {**dataclasses.asdict(distance), "num_generated": len(generated), "num_real": len(real)}

"""Fréchet and kernel distances between two sets of features.

Heusel et al., *GANs trained by a two time-scale update rule* (2017); Bińkowski et al.,
*Demystifying MMD GANs* (2018). The matrix square root and the kernel estimate are TF-GAN's.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfdm.eval.checks import checked_rows
from tfdm.eval.tfgan import classifier_metrics, without_deprecations

# TF-GAN takes no square root of eigenvalues below 1e-10, whatever the scale of the features. The
# covariances go in at a scale where those are rounding errors of the largest one.
_SCALED_NORM = 1e5


class FeatureMoments:
    """Mean and covariance of features that arrive in blocks; float64, memory of order d².

    Args:
      dim: the number d of features.

    Attributes:
      count: the number n of features so far.
      mean: their mean, [d].
    """

    def __init__(self, dim: int) -> None:
        self.count = 0
        self.mean = np.zeros(dim)
        self._scatter = np.zeros((dim, dim))

    @classmethod
    def of(cls, features: npt.ArrayLike) -> FeatureMoments:
        """Returns the moments of features [n, d]."""
        rows = checked_rows("features", features)
        moments = cls(rows.shape[1])
        moments.add(rows)
        return moments

    def add(self, features: npt.ArrayLike) -> None:
        """Adds a block [n, d].

        Raises:
          ValueError: another number of features, or values that are not finite.
        """
        rows = checked_rows("features", features)
        if rows.shape[1] != len(self.mean):
            raise ValueError(f"features have {rows.shape[1]} columns, expected {len(self.mean)}")
        mean = rows.mean(axis=0)
        centred = rows - mean
        total = self.count + len(rows)
        shift = mean - self.mean
        # Chan et al. (1979): blocks merge without the cancellation of raw second moments.
        self._scatter += centred.T @ centred
        self._scatter += np.outer(shift, shift) * (self.count * len(rows) / total)
        self.mean = self.mean + shift * (len(rows) / total)
        self.count = total

    @property
    def covariance(self) -> np.ndarray:
        """The covariance [d, d], divisor n - 1.

        Raises:
          ValueError: there are fewer than two features.
        """
        if self.count < 2:
            raise ValueError(f"a covariance of {self.count} features, expected at least 2")
        return self._scatter / (self.count - 1)


@dataclasses.dataclass(frozen=True)
class KernelDistance:
    """The squared maximum mean discrepancy under the cubic polynomial kernel.

    Attributes:
      value: the unbiased estimate, which can be negative.
      standard_error: of the mean over blocks, from their sample variance; `None` with one block.
      num_blocks: the number of blocks.
    """

    value: float
    standard_error: float | None
    num_blocks: int


def frechet_distance(
    first: npt.ArrayLike | FeatureMoments, second: npt.ArrayLike | FeatureMoments
) -> float:
    """Returns |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½), at least 0 up to rounding.

    Args:
      first: features [n, d], or their moments.
      second: features [m, d], or their moments.

    Raises:
      ValueError: fewer than two features, unequal dimensions, or values that are not finite.
    """
    a, b = (x if isinstance(x, FeatureMoments) else FeatureMoments.of(x) for x in (first, second))
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"features have {len(a.mean)} and {len(b.mean)} columns, expected equal")
    root = _trace_of_root(a.covariance, b.covariance)
    trace = np.trace(a.covariance) + np.trace(b.covariance) - 2 * root
    return float(np.sum((a.mean - b.mean) ** 2) + trace)


def _trace_of_root(first: np.ndarray, second: np.ndarray) -> float:
    """Returns tr (Σ₁Σ₂)^½ of covariances of any scale."""
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
    """Returns the kernel inception distance, averaged over disjoint blocks.

    The kernel is (x·y / d + 1)³. The larger set decides the number of blocks, ⌈n / max_block_size⌉;
    both are cut into as many runs of consecutive rows, whose sizes differ by one at most, the
    larger ones last. The order of the rows decides the blocks: shuffle them where it has a meaning.

    Args:
      first: features [n, d].
      second: features [m, d].
      max_block_size: the largest number of rows a block.

    Raises:
      ValueError: fewer than two features a block, unequal dimensions, or values that are not
        finite.
    """
    a, b = (checked_rows("features", rows, least=2) for rows in (first, second))
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"features have {a.shape[1]} and {b.shape[1]} columns, expected equal")
    if max_block_size < 2:
        raise ValueError(f"max_block_size is {max_block_size}, expected at least 2")
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

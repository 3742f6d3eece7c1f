"""The log-density of a mixture of very many diagonal Gaussians, at very many points.

log q(z) = log 1/N Σ_n N(z; μ_n, σ_n²). Shapes: N components, L dimensions, B points.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import tensorflow as tf

# A block of logits, points x components, stays in the cache between the product and the sum.
_POINTS = 512
_COMPONENTS = 1024
# Points whose float32 rounding is measured, and the largest that is tolerated, in nats.
_PROBES = 4096
_TOLERANCE = 2.5e-4
# Components this far below the largest add less than e^-30 N to its density.
_NEGLIGIBLE = 30.0
# Natural parameters whose products float32 can still hold.
_LARGEST = 1e30
# Elements of a float64 block in the direct evaluation of chosen components.
_DIRECT = 2**21

FloatArray = npt.NDArray[np.float64]


class MixtureDensity:
    """An equal mixture of N diagonal Gaussians.

    Attributes:
      rounding: the largest error, in nats, of a component's log-density in float32 by the expanded
        square, measured on points of the components themselves.
      exact: whether components are evaluated anew in float64, because `rounding` is too large.
    """

    def __init__(self, loc: FloatArray, scale: FloatArray) -> None:
        """Takes means and standard deviations, float64 [N, L], valid."""
        self._loc, self._scale = loc, scale
        self._log_normalizer = -np.log(scale).sum(axis=1) - 0.5 * loc.shape[1] * math.log(
            2 * math.pi
        )
        precision = 1.0 / scale**2
        constant = self._log_normalizer - 0.5 * np.sum(loc**2 * precision, axis=1)
        natural = np.concatenate([-0.5 * precision, loc * precision, constant[:, None]], axis=1)
        if not np.all(np.abs(natural) < _LARGEST):
            raise ValueError(
                f"the smallest scale is {scale.min()} and the largest |loc| {np.abs(loc).max()}: "
                "(loc / scale)**2 is beyond float32"
            )
        natural = natural.astype(np.float32)
        self.rounding = self._measure_rounding(natural)
        self.exact = self.rounding > _TOLERANCE
        # Whole blocks of components, the last one filled up with ones of no density.
        size = min(_COMPONENTS, len(loc))
        padding = -len(loc) % size
        filler = np.zeros((padding, natural.shape[1]), np.float32)
        filler[:, -1] = -np.inf
        blocks = np.concatenate([natural, filler]).reshape(-1, size, natural.shape[1])
        self._natural = tf.constant(np.ascontiguousarray(blocks.transpose(0, 2, 1)))

    def log_prob(
        self, points: FloatArray, without: npt.NDArray[np.signedinteger] | None = None
    ) -> FloatArray:
        """Returns log q(z) at points [B, L], float64 [B].

        Args:
          points: float64 [B, L].
          without: [B], for each point a component that is left out of the mixture, then of N − 1.
        """
        result = np.empty(len(points))
        for start in range(0, len(points), _POINTS):
            block = slice(start, start + _POINTS)
            left_out = None if without is None else without[block].astype(np.int32)
            if self.exact:
                result[block] = self._exact(points[block], left_out)
            else:
                result[block] = self._fast(points[block], left_out)
        return result - math.log(len(self._loc) - (without is not None))

    def _fast(
        self, points: FloatArray, without: npt.NDArray[np.signedinteger] | None
    ) -> FloatArray:
        largest, total = _log_sum(_features(points), self._natural, without)
        return largest.numpy().astype(np.float64) + np.log(total.numpy().astype(np.float64))

    def _exact(
        self, points: FloatArray, without: npt.NDArray[np.signedinteger] | None
    ) -> FloatArray:
        # Rounding may lower the largest logit and raise another one, once for each.
        margin = _NEGLIGIBLE + 2.0 * self.rounding + math.log(len(self._loc))
        features, size = _features(points), self._natural.shape[-1]
        bound = tf.fill([len(points)], -np.float32(np.inf))
        largest, total = np.full(len(points), -np.inf), np.zeros(len(points))
        for index in range(len(self._natural)):
            logits = _logits(features, self._natural, index, without)
            bound = tf.maximum(bound, tf.reduce_max(logits, axis=1))
            point, column = tf.where(logits > (bound - margin)[:, tf.newaxis]).numpy().T
            if not point.size:
                continue
            values = self._direct(points, point, index * size + column)
            first = np.flatnonzero(np.diff(point, prepend=-1))  # pairs come point by point
            touched = point[first]
            new = np.maximum(largest[touched], np.maximum.reduceat(values, first))
            total[touched] *= np.exp(largest[touched] - new)
            largest[touched] = new
            total[touched] += np.add.reduceat(np.exp(values - largest[point]), first)
        return largest + np.log(total)

    def _direct(
        self, points: FloatArray, point: npt.NDArray[np.int64], component: npt.NDArray[np.int64]
    ) -> FloatArray:
        """Log-densities [P] of pairs (point, component), from the plain square in float64."""
        result = np.empty(len(point))
        size = max(1, _DIRECT // self._loc.shape[1])
        for start in range(0, len(point), size):
            pairs = slice(start, start + size)
            n = component[pairs]
            standard = (points[point[pairs]] - self._loc[n]) / self._scale[n]
            result[pairs] = self._log_normalizer[n] - 0.5 * np.sum(standard**2, axis=1)
        return result

    def _measure_rounding(self, natural: npt.NDArray[np.float32]) -> float:
        rng = np.random.default_rng(0)
        rows = rng.integers(len(self._loc), size=_PROBES)
        points = self._loc[rows] + self._scale[rows] * rng.standard_normal(self._loc[rows].shape)
        products = np.einsum("bk,bk->b", _features(points), natural[rows])
        return float(np.max(np.abs(products - self._direct(points, np.arange(_PROBES), rows))))


def _features(points: FloatArray) -> npt.NDArray[np.float32]:
    """[z², z, 1], float32 [B, 2L + 1]."""
    ones = np.ones((len(points), 1))
    return np.concatenate([points**2, points, ones], axis=1).astype(np.float32)


def _logits(
    features: npt.ArrayLike,
    natural: tf.Tensor,
    index: int | tf.Tensor,
    without: npt.NDArray[np.intp] | tf.Tensor | None,
) -> tf.Tensor:
    """Log-densities [B, C] of the components of one block, −inf where one is left out."""
    logits = features @ natural[index]
    if without is None:
        return logits
    size = tf.shape(natural)[-1]
    # `one_hot` of a column outside of the block is zero everywhere.
    left_out = tf.one_hot(without - index * size, size, on_value=True, off_value=False)
    return tf.where(left_out, -np.float32(np.inf), logits)


@tf.function(autograph=False, reduce_retracing=True)
def _log_sum(
    features: tf.Tensor, natural: tf.Tensor, without: tf.Tensor | None
) -> tuple[tf.Tensor, tf.Tensor]:
    """The largest logit [B] and the sum of exp(logit − largest) [B] over all components."""

    def add_block(
        index: tf.Tensor, largest: tf.Tensor, total: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        logits = _logits(features, natural, index, without)
        new = tf.maximum(largest, tf.reduce_max(logits, axis=1))
        added = tf.reduce_sum(tf.exp(logits - new[:, tf.newaxis]), axis=1)
        return index + 1, new, total * tf.exp(largest - new) + added

    num_points = tf.shape(features)[0]
    start = (
        tf.constant(0),
        tf.fill([num_points], -np.float32(np.inf)),
        tf.zeros([num_points]),
    )
    blocks = tf.shape(natural)[0]
    _, largest, total = tf.while_loop(
        lambda index, *_: index < blocks, add_block, start, parallel_iterations=1
    )
    return largest, total

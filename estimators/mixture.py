"""The log-density of a mixture of very many diagonal Gaussians, at very many points.

log q(z) = log 1/N Σ_n N(z; μ_n, σ_n²). Shapes: N components, L dimensions, B points.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfdm.statistics import FloatArray
from tfdm.training.strategy import number_of_workers

# Points of one call on one device, and components of a block: the largest that still gain.
_POINTS = 1024
_COMPONENTS = 4096
# Points whose float32 rounding is measured, and the largest that is tolerated, in nats.
_PROBES = 4096
_TOLERANCE = 2.5e-4
# Components this far below the largest add less than e^-30 N to its density.
_NEGLIGIBLE = 30.0
# Natural parameters whose products float32 can still hold.
_LARGEST = 1e30
# Elements of a float64 block in the direct evaluation of chosen components.
_DIRECT = 2**21

Rows = npt.NDArray[np.signedinteger]


class MixtureDensity:
    """An equal mixture of N diagonal Gaussians.

    It is evaluated by the matrix product [z², z, 1]·[−1/(2σ²), μ/σ², c]ᵀ, which cancels in float32
    where scales are small. `rounding`, the largest error of a component's log-density, in nats, is
    measured first on points of the components themselves. Where it is too large the mixture is
    `exact`: the product only chooses the components that matter, which float64 evaluates anew.
    """

    def __init__(
        self, loc: FloatArray, scale: FloatArray, strategy: tf.distribute.Strategy | None = None
    ) -> None:
        """Takes means and standard deviations, float64 [N, L], valid.

        The devices of the strategy, by default the current one, share the points. `ValueError`
        where the natural parameters are beyond float32.
        """
        self._loc, self._scale = loc, scale
        constant = 0.5 * loc.shape[1] * math.log(2 * math.pi)
        self._log_normalizer = -np.log(scale).sum(axis=1) - constant
        precision = 1.0 / scale**2
        constant = self._log_normalizer - 0.5 * np.sum(loc**2 * precision, axis=1)
        ones = np.ones((len(loc), 1))
        natural = np.concatenate([-0.5 * precision, loc * precision, constant[:, None], ones], 1)
        if not np.all(np.abs(natural) < _LARGEST):
            raise ValueError(
                f"the smallest scale is {scale.min()} and the largest |loc| {np.abs(loc).max()}: "
                "(loc / scale)**2 is beyond float32"
            )
        natural = natural.astype(np.float32)
        self.rounding = self._measure_rounding(natural)
        self.exact = self.rounding > _TOLERANCE
        # Whole blocks of components of about one size, the last filled up with ones of no density.
        num_blocks = -(-len(loc) // _COMPONENTS)
        size = -(-len(loc) // num_blocks)
        filler = np.zeros((num_blocks * size - len(loc), natural.shape[1]), np.float32)
        filler[:, -2] = -np.inf
        blocks = np.concatenate([natural, filler]).reshape(num_blocks, size, -1)
        self._natural = np.ascontiguousarray(blocks.transpose(0, 2, 1))
        self._strategy = strategy or tf.distribute.get_strategy()
        self._replicas = self._strategy.num_replicas_in_sync
        natural_of_replica = tf.constant(self._natural)
        self._on_devices = self._strategy.experimental_distribute_values_from_function(
            lambda _: tf.identity(natural_of_replica)
        )

    def log_prob(
        self, points: FloatArray, without: Rows | None = None, reference: FloatArray | None = None
    ) -> FloatArray:
        """Returns log q(z) at points [B, L], float64 [B].

        Args:
          points: float64 [B, L].
          without: [B], for each point a component that is left out of the mixture, then of N − 1.
          reference: [B], log-densities near that of the most likely component, such as that of
            the one which the point was drawn from: saves the search for it.
        """
        result = np.empty(len(points))
        size = _POINTS * self._replicas
        for start in range(0, len(points), size):
            block = slice(start, start + size)
            if without is not None:
                result[block] = self._log_sum(points[block], without[block].astype(np.int32))
            elif self.exact or reference is None:
                result[block] = self._log_sum(points[block], None)
            else:
                result[block] = self._log_sum_near(points[block], reference[block])
        return result - math.log(len(self._loc) - (without is not None))

    def _log_sum_near(self, points: FloatArray, reference: FloatArray) -> FloatArray:
        total = self._run(_sum_exp, _features(points, reference))[0].astype(np.float64)
        # Markov: a component beats the one that a point came from e^88 times with chance e^-88.
        useless = ~np.isfinite(total) | (total < np.finfo(np.float32).tiny)
        result = reference + np.log(np.where(useless, 1.0, total))
        if useless.any():
            result[useless] = self._log_sum(points[useless], None)
        return result

    def _log_sum(self, points: FloatArray, without: Rows | None) -> FloatArray:
        left_out = np.full(len(points), -1, np.int32) if without is None else without
        if self.exact:
            return self._exact(points, left_out)
        largest, total = self._run(_log_sum_exp, _features(points), left_out)
        return largest.astype(np.float64) + np.log(total.astype(np.float64))

    def _run(
        self, function: Callable[..., tuple[tf.Tensor, ...]], *arrays: npt.NDArray
    ) -> list[npt.NDArray[np.float32]]:
        """Calls `function` with the components and an equal share of the arrays on each device."""
        parts = [np.array_split(array, self._replicas) for array in arrays]
        shares = self._strategy.experimental_distribute_values_from_function(
            lambda context: [tf.constant(p[context.replica_id_in_sync_group]) for p in parts]
        )
        results = self._strategy.run(function, (self._on_devices, *shares))
        if number_of_workers(self._strategy) > 1:
            return [self._strategy.gather(result, axis=0).numpy() for result in results]
        local = self._strategy.experimental_local_results
        return [np.concatenate([part.numpy() for part in local(result)]) for result in results]

    def _exact(self, points: FloatArray, left_out: Rows) -> FloatArray:
        # Rounding may lower the largest logit and raise another one, once for each.
        margin = _NEGLIGIBLE + 2.0 * self.rounding + math.log(len(self._loc))
        features, size = _features(points), self._natural.shape[-1]
        bound = tf.fill([len(points)], -np.float32(np.inf))
        largest, total = np.full(len(points), -np.inf), np.zeros(len(points))
        for index in range(len(self._natural)):
            logits = _logits(features, self._natural[index], left_out - index * size)
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

    def _direct(self, points: FloatArray, point: Rows, component: Rows) -> FloatArray:
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


def _features(points: FloatArray, reference: FloatArray | None = None) -> npt.NDArray[np.float32]:
    """[z², z, 1, −reference], float32 [B, 2L + 2]."""
    ones = np.ones((len(points), 1))
    last = np.zeros((len(points), 1)) if reference is None else -reference[:, np.newaxis]
    return np.concatenate([points**2, points, ones, last], axis=1).astype(np.float32)


def _logits(features: npt.ArrayLike, natural: npt.ArrayLike, left_out: npt.ArrayLike) -> tf.Tensor:
    """Log-densities [B, C] of the components of one block, −inf where a column is left out."""
    logits = tf.matmul(features, natural)
    # `one_hot` of a column outside of the block is zero everywhere.
    is_left_out = tf.one_hot(left_out, tf.shape(natural)[-1], on_value=True, off_value=False)
    return tf.where(is_left_out, -np.float32(np.inf), logits)


@tf.function(autograph=False, reduce_retracing=True)
def _sum_exp(natural: tf.Tensor, features: tf.Tensor) -> tuple[tf.Tensor]:
    """The sum of exp(logit) [B] over all components: one product, one exponential, one sum."""
    _, total = tf.while_loop(
        lambda index, _: index < tf.shape(natural)[0],
        lambda index, total: (
            index + 1,
            total + tf.reduce_sum(tf.exp(tf.matmul(features, natural[index])), axis=1),
        ),
        (tf.constant(0), tf.zeros(tf.shape(features)[:1])),
        parallel_iterations=1,
    )
    return (total,)


@tf.function(autograph=False, reduce_retracing=True)
def _log_sum_exp(
    natural: tf.Tensor, features: tf.Tensor, without: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The largest logit [B] and the sum of exp(logit − largest) [B] over all components."""

    def add_block(
        index: tf.Tensor, largest: tf.Tensor, total: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        block = natural[index]
        logits = _logits(features, block, without - index * tf.shape(block)[-1])
        new = tf.maximum(largest, tf.reduce_max(logits, axis=1))
        # A block of one component that is left out has no largest logit yet.
        shift = tf.where(tf.math.is_inf(new), 0.0, new)
        added = tf.reduce_sum(tf.exp(logits - shift[:, tf.newaxis]), axis=1)
        return index + 1, new, total * tf.exp(largest - shift) + added

    num_points = tf.shape(features)[:1]
    start = (tf.constant(0), tf.fill(num_points, -np.float32(np.inf)), tf.zeros(num_points))
    _, largest, total = tf.while_loop(
        lambda index, *_: index < tf.shape(natural)[0], add_block, start, parallel_iterations=1
    )
    return largest, total

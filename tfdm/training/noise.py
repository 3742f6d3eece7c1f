"""The noise of a training step: a pure function of (seed, step, name).

Noise is drawn for the global batch and sliced by replica, so that one device and many draw the
same numbers, and a resumed run draws what the uninterrupted one would have drawn. TensorFlow's
normal and uniform numbers differ with and without XLA; the bits behind them do not, so the
numbers are made from the bits here.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import tensorflow as tf

from tfdm.seeds import derive

_PHILOX = tf.random.Algorithm.PHILOX.value


# Blocks of rows begin at a multiple of it: the generator counts in groups of four numbers, and
# TensorFlow computes up to sixteen at once, which rounds otherwise than one by one.
ROW_STEP = 16


def stateless_normal(
    shape: list[int | tf.Tensor], seed: int, name: str, start: int = 0
) -> tf.Tensor:
    """Standard normal numbers [shape] that depend on `seed` and `name` alone.

    They are the rows from `start`, a multiple of `ROW_STEP`, of an array without end, so that
    draws of blocks of rows are bit for bit the draw of all rows.
    """
    if start % ROW_STEP:
        raise ValueError(f"start is {start}, expected a multiple of {ROW_STEP}")
    return _normal(shape, tf.constant([derive(seed, f"draw/{name}"), 0], tf.int64), start)


def _uniform(shape: list[int | tf.Tensor], seed: tf.Tensor, start: int = 0) -> tf.Tensor:
    """Multiples of 2⁻²⁴ in [0, 1), float32, the rows from `start`."""
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
    if start:
        groups = start * math.prod(int(size) for size in shape[1:]) // 4
        counter += tf.constant([groups, 0], tf.uint64)
    bits = tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=shape, key=key, counter=counter, alg=_PHILOX, dtype=tf.uint32
    )
    return tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32)), tf.float32) * 2.0**-24


def _normal(shape: list[int | tf.Tensor], seed: tf.Tensor, start: int = 0) -> tf.Tensor:
    """Standard normal numbers by the method of Box and Muller (1958)."""
    first, second = tf.unstack(_uniform([*shape, 2], seed, start), axis=-1)
    # 1 - first lies in (0, 1]: its logarithm is finite.
    return tf.sqrt(-2.0 * tf.math.log(1.0 - first)) * tf.cos(2.0 * math.pi * second)


@dataclasses.dataclass(frozen=True, eq=False)
class StepNoise:
    """Draws the noise of one step on one replica."""

    seed: int  # of the run
    step: tf.Tensor  # int64 scalar, the steps completed before this one
    batch_size: int | tf.Tensor  # B, the examples on this replica

    def normal(self, name: str, shape: list[int]) -> tf.Tensor:
        """Standard normal numbers, [B, *shape], the stream's `name` unique within a step."""
        return self._draw(_normal, name, shape)

    def uniform(self, name: str, shape: list[int]) -> tf.Tensor:
        """Numbers uniform on [0, 1), [B, *shape]."""
        return self._draw(_uniform, name, shape)

    def keep_mask(self, name: str, shape: list[int], rate: float) -> tf.Tensor:
        """A dropout mask [B, *shape]: 0 with probability `rate`, else 1 / (1 - rate)."""
        return tf.cast(self.uniform(name, shape) >= rate, tf.float32) / (1.0 - rate)

    def _draw(self, sampler: Callable[..., tf.Tensor], name: str, shape: list[int]) -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        replicas = context.strategy.num_replicas_in_sync if context else 1
        key = derive(self.seed, f"noise/{name}")
        seed = tf.stack([tf.constant(key, tf.int64), tf.cast(self.step, tf.int64)])
        numbers = sampler([self.batch_size * replicas, *shape], seed)
        if replicas == 1:
            return numbers
        start = tf.cast(context.replica_id_in_sync_group, tf.int32) * self.batch_size
        return tf.slice(numbers, [start, *[0] * len(shape)], [self.batch_size, *shape])

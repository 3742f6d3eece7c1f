"""Casts and static shape checks of the numerical functions.

They compute in float32 at least, whatever the precision policy of the networks, and never broadcast
two arrays silently.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf


def at_least_float32(value: Any, name: str) -> tf.Tensor:
    """Returns floating `value` as float32, or float64 when it is; else `ValueError` with `name`."""
    tensor = tf.convert_to_tensor(value)
    if not tensor.dtype.is_floating:
        raise ValueError(f"{name} has dtype {tensor.dtype.name}, expected a floating type")
    return tensor if tensor.dtype == tf.float64 else tf.cast(tensor, tf.float32)


def inverse_softplus(value: npt.ArrayLike) -> np.ndarray:
    """Returns x with log(1 + exp x) = value, for positive values of any size and shape."""
    value = np.asarray(value)
    return value + np.log(-np.expm1(-value))


def batch_size(tensor: tf.Tensor) -> int | tf.Tensor:
    """Returns the first axis, a number where the graph knows it."""
    return tensor.shape[0] if tensor.shape[0] is not None else tf.shape(tensor)[0]


def require_rank(value: tf.Tensor, rank: int, name: str, axes: str) -> None:
    """Raises `ValueError` unless `value` has this rank or an unknown one; `axes` says [B, 2L]."""
    if value.shape.rank is not None and value.shape.rank != rank:
        raise ValueError(f"{name} has shape {_readable(value.shape)}, expected {axes}")


def require_same_shape(**tensors: tf.Tensor) -> None:
    """Raises `ValueError` unless the static shapes of the tensors agree, unknown axes left out."""
    (first_name, first), *others = tensors.items()
    for name, tensor in others:
        if not tensor.shape.is_compatible_with(first.shape):
            raise ValueError(
                f"{name} has shape {_readable(tensor.shape)}, "
                f"expected {_readable(first.shape)}, the shape of {first_name}"
            )


def _readable(shape: tf.TensorShape) -> str:
    return "of unknown rank" if shape.rank is None else str(shape.as_list())


def ordered_sum(scalars: Iterable[tf.Tensor]) -> tf.Tensor:
    """Returns the sum of scalars, always added in the same order.

    TensorFlow makes one `AddN` of a chain of additions. Where its inputs have other readers, such
    as logs, it begins with whichever is free first, so that a sum of three varies in the last bit.
    """
    return tf.reduce_sum(tf.stack(list(scalars)))

"""What lets the stock methods and callbacks of Keras work with several players."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdm.errors import DivergedError

_MOST_TERMS = 64


def images_of(data: Any) -> Any:
    """Returns the images of a batch: images, (images, ..) or a mapping with the key `image`."""
    if isinstance(data, (tuple, list)):
        return images_of(data[0])
    if isinstance(data, Mapping):
        if "image" not in data:
            raise ValueError(f"a batch has the keys {sorted(data)}, expected image among them")
        return data["image"]
    return data


def check_range(images: Any) -> None:
    """Raises `ValueError` where images with values at hand are not uint8 or in [0, 1].

    Values that are not a number pass: the guard of the training reports them by step.
    """
    if tf.is_symbolic_tensor(images):
        return
    values = np.asarray(images)
    if values.size == 0 or values.dtype == np.uint8:
        return
    high = 255 if np.issubdtype(values.dtype, np.integer) else 1
    low_found, high_found = float(np.min(values)), float(np.max(values))
    if low_found < -1e-3 or high_found > high + 1e-3:
        raise ValueError(
            f"images are {values.dtype} in [{low_found:g}, {high_found:g}], "
            "expected uint8 or floats in [0, 1]"
        )


class EpochMeans:
    """The means of all terms over the batches of an epoch, on the device.

    It is no Keras object: it is no part of the state of a model.
    """

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        options = {"trainable": False, "aggregation": "only_first_replica"}
        zeros = np.zeros([_MOST_TERMS], np.float64)
        self._sums = keras.Variable(zeros, dtype="float64", name="sums", **options)
        self.count = keras.Variable(0, dtype="int64", name="count", **options)

    def add(self, names: tuple[str, ...], values: tf.Tensor) -> None:
        """Counts one batch with these values [T]."""
        if len(names) > _MOST_TERMS:
            raise ValueError(f"a step has {len(names)} terms, expected at most {_MOST_TERMS}")
        self.names = names
        row = tf.pad(tf.cast(values, tf.float64), [[0, _MOST_TERMS - len(names)]])
        self._sums.assign(self._sums.value + row)
        self.count.assign(self.count.value + 1)

    def reset(self) -> None:
        """Begins an epoch."""
        self._sums.assign(np.zeros([_MOST_TERMS]))
        self.count.assign(0)

    def result(self) -> dict[str, float]:
        """Returns the means by name, nothing where no batch was counted."""
        count = int(self.count.numpy())
        if count == 0:
            return {}
        means = self._sums.numpy() / count
        return {name: float(means[index]) for index, name in enumerate(self.names)}


class PlayerRates:
    """The learning rates of all players as one, which callbacks read and set.

    The rate shown is that of the first player with a rate above 0; the others keep their ratio.
    """

    def __init__(self, optimizers: Mapping[str, keras.optimizers.Optimizer]) -> None:
        self._optimizers = dict(optimizers)
        self._ratios: dict[str, float] = {}

    @property
    def learning_rate(self) -> float:
        """The rate of the first player; `ValueError` where a player has a schedule."""
        rates = self._rates()
        return next((rate for rate in rates.values() if rate > 0.0), 0.0)

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        rates = self._rates()
        if not self._ratios:
            first = self.learning_rate
            self._ratios = {name: rate / first if first else 1.0 for name, rate in rates.items()}
        for name, optimizer in self._optimizers.items():
            optimizer.learning_rate = float(value) * self._ratios[name]

    def _rates(self) -> dict[str, float]:
        for name, optimizer in self._optimizers.items():
            schedule = getattr(optimizer, "_learning_rate", None)
            if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
                raise ValueError(
                    f"player {name!r} has a schedule: drop the callback or give a rate"
                )
        return {name: float(o.learning_rate.numpy()) for name, o in self._optimizers.items()}


class StopOnDivergence(keras.callbacks.Callback):
    """Ends `fit` with `DivergedError` at a loss that is not finite."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Raises unless another callback, such as `TerminateOnNaN`, has stopped the training."""
        found = self.model.divergence()
        if found is not None and not self.model.stop_training:
            raise DivergedError(*found)

"""What lets the stock methods and callbacks of Keras work with several players."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import keras
import numpy as np
import tensorflow as tf

from tfdm.errors import DivergedError

_MOST_TERMS = 64


class EpochMeans:
    """The means of all terms over the images of an epoch, on the device.

    It is no Keras object: it is no part of the state of a model.
    """

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        options = {"trainable": False, "aggregation": "only_first_replica"}
        zeros = np.zeros([_MOST_TERMS], np.float64)
        self._sums = keras.Variable(zeros, dtype="float64", name="sums", **options)
        self._images = keras.Variable(0, dtype="int64", name="images", **options)
        self.count = keras.Variable(0, dtype="int64", name="count", **options)

    def add(self, names: tuple[str, ...], values: tf.Tensor, images: int | tf.Tensor) -> None:
        """Counts one batch of so many images a replica, with these values [T]."""
        if len(names) > _MOST_TERMS:
            raise ValueError(f"a step has {len(names)} terms, expected at most {_MOST_TERMS}")
        self.names = names
        row = tf.pad(tf.cast(values, tf.float64), [[0, _MOST_TERMS - len(names)]])
        images = tf.cast(images, tf.int64)
        self._sums.assign(self._sums.value + row * tf.cast(images, tf.float64))
        self._images.assign(self._images.value + images)
        self.count.assign(self.count.value + 1)

    def reset(self) -> None:
        """Begins an epoch."""
        for variable in (self._sums, self._images, self.count):
            variable.assign(tf.zeros_like(variable.value))

    def result(self) -> dict[str, float]:
        """Returns the means by name, nothing where no batch was counted."""
        images = int(self._images.numpy())
        if images == 0:
            return {}
        means = self._sums.numpy() / images
        return {name: float(means[index]) for index, name in enumerate(self.names)}


class PlayerRates:
    """The optimisers of all players as one, as far as Keras's callbacks and methods ask for it.

    The rate shown is that of the first player with a rate above 0; set, the others keep their
    ratio to it.
    """

    built = True
    use_ema = False

    def __init__(self, optimizers: Mapping[str, keras.optimizers.Optimizer]) -> None:
        self._optimizers = dict(optimizers)
        self._ratios: dict[str, float] = {}

    @property
    def variables(self) -> list[keras.Variable]:
        """The variables of all optimisers."""
        return [v for optimizer in self._optimizers.values() for v in optimizer.variables]

    @property
    def iterations(self) -> keras.Variable:
        """How often the last player has moved, once a step in every model of the package."""
        return list(self._optimizers.values())[-1].iterations

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
    """Ends `fit` with `DivergedError` at a loss that is not finite, before others write it.

    Asking waits for the device: it asks every 50 batches and at the end of an epoch.
    """

    every = 50

    def __init__(self) -> None:
        super().__init__()
        self._batches = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Asks where a multiple of `every` was reached or passed."""
        previous, self._batches = self._batches, batch + 1
        if self._batches // self.every != previous // self.every:
            self._ask()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Asks."""
        self._ask()

    def _ask(self) -> None:
        found = self.model.divergence()
        if found is not None:
            raise DivergedError(*found)


class NotOfPlayers:
    """Methods of `keras.Model` that have no meaning with players: each says what has."""

    def compute_loss(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises `ValueError`."""
        raise ValueError("compute_loss is for one loss: the players' come from test_on_batch")

    def stateless_compute_loss(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises `ValueError`."""
        raise ValueError("stateless_compute_loss is for one loss: use player_losses")

    def quantize(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises `ValueError`."""
        raise ValueError("quantize would end the training: call model.generator.quantize")

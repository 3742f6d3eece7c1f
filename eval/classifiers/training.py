"""Training of the classifiers that measure samples: one cycle of SGD, resumable bit for bit."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdm.datasets.order import batch_indices
from tfdm.errors import DivergedError
from tfdm.eval.classifiers.augmentation import augment
from tfdm.eval.classifiers.config import ClassifierConfig
from tfdm.eval.classifiers.network import image_classifier, whiten
from tfdm.networks.batch_norm import BatchNorm
from tfdm.training.graphs import repeatable_graphs
from tfdm.training.loop import ResumableTraining

_WHITENING_IMAGES = 5000
_MOMENT_BATCHES = 40


class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """A rate that rises in a line from a fifth of the peak, then falls in a line towards 0.

    It rises for the share `warm_up` of the steps, and stays at the share `floor` of the peak.
    """

    def __init__(self, peak: float, steps: int, warm_up: float, floor: float = 0.0) -> None:
        self.peak, self.steps, self.warm_up, self.floor = peak, steps, warm_up, floor

    def __call__(self, step: Any) -> tf.Tensor:
        """Returns the rate of a step counted from 0."""
        done = (tf.cast(step, tf.float32) + 0.5) / self.steps
        rise = 0.2 + 0.8 * done / max(self.warm_up, 1e-9)
        fall = (1.0 - done) / max(1.0 - self.warm_up, 1e-9)
        share = tf.minimum(rise, tf.maximum(fall, self.floor))
        return self.peak * tf.clip_by_value(share, 0.0, 1.0)


class ClassifierTraining(ResumableTraining):
    """The training of an `image_classifier` on images uint8 [N, S, S, 3] with labels [N].

    The first steps see the images made smaller, which costs half as much a step; the maximum
    over space that ends the network takes either size. The last steps, at a constant small rate,
    are averaged (Izmailov et al., *Averaging Weights Leads to Wider Optima and Better
    Generalization*, 2018).
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, config: ClassifierConfig) -> None:
        if len(images) != len(labels):
            raise ValueError(f"{len(images)} images have {len(labels)} labels")
        self.labels, self.config = labels.astype(np.int32), config
        self._images = {False: images}
        if config.small_share:
            self._images[True] = smaller(images, config.small_side)
        self.network = image_classifier(config.widths, seed=config.seed, dtype=config.precision)
        whiten(self.network, self._batch(np.arange(min(_WHITENING_IMAGES, len(images))), 0))
        self._kernels = [v for v in self.network.trainable_variables if v.name == "kernel"]
        self._biases = [v for v in self.network.trainable_variables if v.name != "kernel"]
        self._trained = self._kernels + self._biases
        self.optimizers = {
            "kernels": self._sgd(config.learning_rate, config.weight_decay, self._kernels),
            "biases": self._sgd(config.learning_rate * config.bias_rate, None, self._biases),
        }
        self._averages = [
            # Of a copy: Keras would share the storage of a TensorFlow variable.
            keras.Variable(variable.numpy(), trainable=False, name=f"average_{variable.name}")
            for variable in (self._trained if config.average_epochs else [])
        ]
        self._train_step = tf.function(self._step, reduce_retracing=False)

    @property
    def variables(self) -> list[keras.Variable]:
        """All variables of the network, and the averages of those that are trained."""
        return self.network.variables + self._averages

    @property
    def cycle_steps(self) -> int:
        """The steps of a whole cycle; the last batch of an epoch may reach into the next."""
        return self.config.epochs * len(self.labels) // self.config.batch_size

    @property
    def average_start(self) -> int:
        """The first step whose weights are averaged: where the rate has fallen to its floor."""
        config = self.config
        if not config.average_epochs:
            return self.cycle_steps
        left = config.average_rate * (1.0 - config.warm_up)
        return math.ceil(self.cycle_steps * (1.0 - left) - 0.5)

    @property
    def num_steps(self) -> int:
        """The steps of the whole training."""
        averaged = self.config.average_epochs * len(self.labels) // self.config.batch_size
        return self.average_start + averaged

    def take_steps(self, step: int, number: int) -> dict[str, float]:
        """Takes steps; returns the cross entropy in nats and the accuracy of the last batch."""
        for current in range(step, step + number):
            indices = self._indices(current)
            batch = self._batch(indices, current)
            loss, accuracy = map(float, self._train_step(batch, self.labels[indices]))
            if not math.isfinite(loss):
                raise DivergedError(current + 1, "loss")
            if current >= self.average_start:
                share = 1.0 / (current - self.average_start + 1)
                for average, variable in zip(self._averages, self._trained, strict=True):
                    average.assign_add(share * (variable.value - average.value))
        return {"loss": loss, "accuracy": accuracy}

    def finish(self) -> keras.Model:
        """Returns the network with averaged weights, and moments of batch norm that fit them."""
        if not self._averages:
            return self.network
        for average, variable in zip(self._averages, self._trained, strict=True):
            variable.assign(average.value)
        norms = [layer for layer in self.network.layers if isinstance(layer, BatchNorm)]
        moments = [v for norm in norms for v in (norm.moving_mean, norm.moving_variance)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = 0.0
        forward = tf.function(lambda images: self.network(images, training=True))
        sums = [np.zeros(variable.shape) for variable in moments]
        with repeatable_graphs():
            for step in range(self.num_steps, self.num_steps + _MOMENT_BATCHES):
                forward(self._batch(self._indices(step), step))
                for total, variable in zip(sums, moments, strict=True):
                    total += variable.numpy()
        for total, variable in zip(sums, moments, strict=True):
            variable.assign(total / _MOMENT_BATCHES)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        return self.network

    def _indices(self, step: int) -> np.ndarray:
        return batch_indices(len(self.labels), self.config.batch_size, self.config.seed, step)

    def _batch(self, indices: np.ndarray, step: int) -> np.ndarray:
        config = self.config
        images = self._images[step < round(config.small_share * self.cycle_steps)]
        scale = images.shape[1] / self._images[False].shape[1]
        epoch = (step * config.batch_size + np.arange(len(indices))) // len(self.labels)
        sizes = {name: round(getattr(config, name) * scale) for name in ("translate", "cutout")}
        return augment(
            images,
            indices,
            seed=config.seed,
            step=step,
            epoch=epoch,
            flip=config.flip,
            paint=config.paint,
            **sizes,
        )

    def _sgd(self, rate: float, decay: float | None, variables: list[Any]) -> Any:
        config = self.config
        floor = config.average_rate if config.average_epochs else 0.0
        schedule = OneCycle(rate, self.cycle_steps, config.warm_up, floor)
        optimizer = keras.optimizers.SGD(
            schedule, config.momentum, nesterov=True, weight_decay=decay
        )
        optimizer.build(variables)
        return optimizer

    def _step(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        values = [variable.value for variable in self._trained]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            logits, _ = self.network(images, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        gradients = tape.gradient(loss, values)
        split = len(self._kernels)
        self.optimizers["kernels"].apply(gradients[:split], self._kernels)
        self.optimizers["biases"].apply(gradients[split:], self._biases)
        hits = tf.equal(tf.argmax(logits, axis=1, output_type=labels.dtype), labels)
        return loss, tf.reduce_mean(tf.cast(hits, tf.float32))


def smaller(images: np.ndarray, side: int, block: int = 1000) -> np.ndarray:
    """Returns uint8 images [N, S, S, C] at `side` x `side`: bilinear with antialiasing."""
    blocks = (images[first : first + block] for first in range(0, len(images), block))
    pieces = (tf.image.resize(images, [side, side], antialias=True) for images in blocks)
    return np.concatenate([np.rint(piece).astype(np.uint8) for piece in pieces])

"""The training of independent Wasserstein critics, one after another, resumable bit for bit."""

from __future__ import annotations

import functools
import json

import keras
import numpy as np
import tensorflow as tf

from tfdm.datasets.order import batch_indices
from tfdm.errors import DivergedError
from tfdm.eval.checks import unit_range
from tfdm.eval.config import CriticConfig
from tfdm.gradient_penalty import gradient_penalty
from tfdm.losses import wasserstein_critic_loss
from tfdm.seeds import derive, stream
from tfdm.statistics import digest
from tfdm.training.loop import ResumableTraining
from tfdm.training.players import ADAM_EPSILON, Player, update_players
from tfdm.training.state import capture_state

_BLOCK = 500


class CriticTraining(ResumableTraining):
    """One critic after another in the same variables, so that its graphs are traced once.

    The network maps images [B, H, W, C] in [-1, 1] to scores [B]; it learns from real images and
    fake ones, uint8 [n, H, W, C] or floating in [0, 1].
    """

    owner = "the critic's"

    def __init__(
        self,
        network: keras.Model,
        real: np.ndarray,
        fake: np.ndarray,
        seed: int,
        config: CriticConfig,
    ) -> None:
        self.network, self.config = network, config
        self._images, self._seed, self._index = {"real": real, "sample": fake}, seed, 0
        rates = config.learning_rate, config.beta_1, config.beta_2
        optimizer = keras.optimizers.Adam(*rates, epsilon=ADAM_EPSILON)
        optimizer.build(network.trainable_variables)
        self.optimizers = {"critic": optimizer}
        self._player = Player("critic", (network,), optimizer)
        self._fresh_optimizer = [np.array(variable.numpy()) for variable in optimizer.variables]
        shape, number = real.shape[1:], config.batch_size
        batch, weights = tf.TensorSpec([number, *shape]), tf.TensorSpec([number])
        self._train_step = tf.function(self._step, input_signature=[batch, batch, weights])
        self._score = tf.function(self._scores, input_signature=[tf.TensorSpec([None, *shape])])

    @property
    def variables(self) -> list[keras.Variable]:
        """All variables of the network."""
        return self.network.variables

    def digest(self) -> str:
        """Names the problem: a SHA-256 (16 hex digits) of all that the critics depend on."""
        parts: list[np.ndarray | str | int] = [json.dumps(self.config.to_dict()), self._seed]
        for name, array in sorted(capture_state(self).items()):
            parts += [name, array]
        return digest(*parts, *self._images.values())[:16]

    def start(self, index: int, fresh: keras.Model) -> None:
        """Begins critic `index`: the weights of a fresh network, an optimiser that did not move."""
        self._index = index
        variables = [*self.network.variables, *self.optimizers["critic"].variables]
        initials = [*fresh.variables, *self._fresh_optimizer]
        for variable, initial in zip(variables, initials, strict=True):
            variable.assign(initial)

    def take_steps(self, step: int, number: int) -> None:
        """Takes steps on the batches that (seed, critic, step) give."""
        for current in range(step, step + number):
            batches = (self._batch(name, current) for name in self._images)
            generator = stream(self._seed, "critic/penalty", self._index, current)
            self._train_step(*batches, generator.random(self.config.batch_size, np.float32))

    def scores(self, images: np.ndarray) -> np.ndarray:
        """The scores of images [n, H, W, C] in [0, 1] or uint8, float64 [n]."""
        blocks = (images[first : first + _BLOCK] for first in range(0, len(images), _BLOCK))
        scores = np.concatenate([self._score(_signed(block)).numpy() for block in blocks])
        if not np.isfinite(scores).all():
            raise DivergedError(self.config.steps, "the critic's score")
        return scores.astype(np.float64)

    def _batch(self, name: str, step: int) -> np.ndarray:
        images = self._images[name]
        order = derive(self._seed, f"critic/order/{name}", self._index)
        return _signed(images[batch_indices(len(images), self.config.batch_size, order, step)])

    def _step(self, real: tf.Tensor, fake: tf.Tensor, weights: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            # One pass over both is cheaper than two, and no layer lets examples meet.
            scores = self._scores(tf.concat([real, fake], axis=0), training=True)
            loss = wasserstein_critic_loss(*tf.split(scores, 2))
            score = functools.partial(self._scores, training=True)
            penalties = gradient_penalty(score, real, fake, weights)
            loss += self.config.gradient_penalty * tf.reduce_mean(penalties)
        update_players(tape, [self._player], {"critic": loss})

    def _scores(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        scores = tf.cast(self.network(images, training=training), tf.float32)
        if scores.shape.rank != 1:
            raise ValueError(f"scores have shape {scores.shape.as_list()}, expected [B]")
        return scores


def _signed(images: np.ndarray) -> np.ndarray:
    """Returns uint8 or [0, 1] images as float32 in [-1, 1]."""
    return unit_range(images) * np.float32(2) - np.float32(1)

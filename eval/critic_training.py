"""The training of independent Wasserstein critics, one after another, resumable bit for bit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from tfdm.datasets.order import batch_indices
from tfdm.errors import DivergedError
from tfdm.eval.checks import unit_range
from tfdm.eval.config import CriticConfig
from tfdm.gradient_penalty import gradient_penalty
from tfdm.losses import wasserstein_critic_loss
from tfdm.runs.checkpoints import CheckpointStore, NonFiniteError
from tfdm.training.adam import FusedAdam
from tfdm.training.model import ADAM_EPSILON
from tfdm.training.players import Player, update_players
from tfdm.training.state import capture_state, restore_state

_STEPS_A_SAVE = 100
_BLOCK = 500

# Streams of random numbers. NumPy takes no notice of zeros that end a key: none of these is 0.
_REAL_ORDER, _SAMPLE_ORDER, _WEIGHTS = 2, 3, 4


class CriticTraining:
    """One critic after another in the same variables, so that its graphs are traced once.

    Args:
      network: images [B, H, W, C] in [-1, 1] -> scores [B].
      shape: (H, W, C).
      config: the recipe.
    """

    def __init__(
        self, network: keras.Model, shape: tuple[int, int, int], config: CriticConfig
    ) -> None:
        self.network, self.config = network, config
        optimizer = FusedAdam(
            config.learning_rate, config.beta_1, config.beta_2, epsilon=ADAM_EPSILON
        )
        optimizer.build(network.trainable_variables)
        self.optimizers = {"critic": optimizer}
        self._player = Player("critic", (network,), optimizer)
        self._fresh_optimizer = [np.array(variable.numpy()) for variable in optimizer.variables]
        batch = tf.TensorSpec([config.batch_size, *shape])
        weights = tf.TensorSpec([config.batch_size])
        self._train_step = tf.function(self._step, input_signature=[batch, batch, weights])
        self._score = tf.function(
            lambda images: self._scores(images, training=False),
            input_signature=[tf.TensorSpec([None, *shape])],
        )

    @property
    def variables(self) -> list[keras.Variable]:
        """All variables of the network, for `capture_state`."""
        return self.network.variables

    def digest(self, seed: int, real: np.ndarray, samples: np.ndarray) -> str:
        """Names the problem: 16 hex digits of a SHA-256 over all that the critics depend on."""
        arrays = {"real": real, "samples": samples, **capture_state(self)}
        content = {
            "config": self.config.to_dict(),
            "seed": seed,
            "arrays": [[name, *_identity(array)] for name, array in sorted(arrays.items())],
        }
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def restart(self, fresh: keras.Model) -> None:
        """Takes the weights of a fresh network, and an optimiser that has not moved yet."""
        for variable, initial in zip(self.network.variables, fresh.variables, strict=True):
            variable.assign(initial)
        pairs = zip(self.optimizers["critic"].variables, self._fresh_optimizer, strict=True)
        for variable, initial in pairs:
            variable.assign(initial)

    def run(
        self,
        real: np.ndarray,
        fake: np.ndarray,
        seed: int,
        index: int,
        store: CheckpointStore | None,
    ) -> Iterator[int]:
        """Trains critic `index` from its checkpoint or its start; yields the steps done."""
        config = self.config
        checkpoint = None if store is None else store.latest()
        start = 0
        if checkpoint is not None:
            restore_state(self, checkpoint.arrays)
            start = checkpoint.step
        real_order = _order_seed(seed, index, _REAL_ORDER)
        fake_order = _order_seed(seed, index, _SAMPLE_ORDER)
        for step in range(start, config.steps):
            done = step + 1
            self._train_step(
                _signed(real[batch_indices(len(real), config.batch_size, real_order, step)]),
                _signed(fake[batch_indices(len(fake), config.batch_size, fake_order, step)]),
                np.random.default_rng((seed, index, step, _WEIGHTS)).random(
                    config.batch_size, np.float32
                ),
            )
            if store is not None and (done % _STEPS_A_SAVE == 0 or done == config.steps):
                self._save(store, done)
            yield done

    def _save(self, store: CheckpointStore, done: int) -> None:
        try:
            store.save(done, capture_state(self))
        except NonFiniteError as error:
            raise DivergedError(done, f"the critic's {error.name}") from error

    def scores(self, images: np.ndarray) -> np.ndarray:
        """The scores of images [n, H, W, C] in [0, 1] or uint8, float64 [n]."""
        blocks = (images[first : first + _BLOCK] for first in range(0, len(images), _BLOCK))
        scores = np.concatenate([self._score(_signed(block)).numpy() for block in blocks])
        if not np.isfinite(scores).all():
            raise DivergedError(self.config.steps, "the critic's score")
        return scores.astype(np.float64)

    def _step(self, real: tf.Tensor, fake: tf.Tensor, weights: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            # One pass over both is cheaper than two, and no layer lets examples meet.
            scores = self._scores(tf.concat([real, fake], axis=0), training=True)
            loss = wasserstein_critic_loss(*tf.split(scores, 2))
            penalties = gradient_penalty(
                lambda between: self._scores(between, training=True), real, fake, weights
            )
            loss += self.config.gradient_penalty * tf.reduce_mean(penalties)
        update_players(tape, [self._player], {"critic": loss})

    def _scores(self, images: tf.Tensor, training: bool) -> tf.Tensor:
        scores = tf.cast(self.network(images, training=training), tf.float32)
        if scores.shape.rank != 1:
            raise ValueError(f"scores have shape {scores.shape.as_list()}, expected [B]")
        return scores


def _order_seed(*key: int) -> int:
    """A 63-bit seed of the order of a set, from a key whose last number is a stream."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _signed(images: np.ndarray) -> np.ndarray:
    """Returns uint8 or [0, 1] images as float32 in [-1, 1]."""
    return unit_range(images) * np.float32(2) - np.float32(1)


def _identity(array: np.ndarray) -> tuple[str, list[int], str]:
    content = hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
    return array.dtype.str, list(array.shape), content

"""The independent Wasserstein critic: how far samples are from images that no player has seen.

The critic that a GAN was trained against knows the generator's tricks and has seen its training
images. Here fresh critics are trained, after the model, on validation images against samples, and
read off on other images and other samples (Appendix I; Danihelka et al., *Comparison of maximum
likelihood and GAN-based training of Real NVPs*, 2017), with the loss of Gulrajani et al.,
*Improved training of Wasserstein GANs* (2017):

    E f(x̂) − E f(x) + λ E (‖∇f(x̃)‖₂ − 1)²,  x̃ between an image x and a sample x̂.

Distances are in units of the L2 norm of images in [-1, 1]. The penalty holds the slope of the
critic softly, which lifts the value: between two point masses at distance r the best slope is
1 + r/(2λ), not 1, and the value r + r²/(2λ), not r. A critic of few steps or little capacity, and
one that does not generalise, lowers it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfdm.datasets.order import batch_indices
from tfdm.density_ratios import wasserstein_critic_loss
from tfdm.errors import DivergedError
from tfdm.eval.checks import checked_images, unit_range
from tfdm.eval.critic_config import CriticConfig
from tfdm.gradient_penalty import gradient_penalty
from tfdm.networks import images as image_networks
from tfdm.networks.layers import LayerFactory
from tfdm.runs.checkpoints import CheckpointStore, NonFiniteError
from tfdm.training.adam import FusedAdam
from tfdm.training.graphs import repeatable_graphs
from tfdm.training.model import ADAM_EPSILON
from tfdm.training.players import Player, update_players
from tfdm.training.state import capture_state, restore_state

_STEPS_A_SAVE = 100
_BLOCK = 500

# Streams of random numbers. NumPy takes no notice of zeros that end a key: none of these is 0.
_SPLIT, _REAL_ORDER, _SAMPLE_ORDER, _WEIGHTS, _INITIAL = 1, 2, 3, 4, 5


@dataclasses.dataclass(frozen=True)
class CriticDistance:
    """What the critics say: differences of mean scores, without the penalty, in [-1, 1] pixel L2.

    A score f is higher for images than for samples. All means are over critics too.

    Attributes:
      value: mean f(held-out images) − mean f(held-out samples): the distance. Noise can make it
        negative where samples and images agree.
      standard_error: of `value` over critics (divisor of the variance: their number less 1), which
        holds the chance of their training and not that of the images; `None` with one critic.
      per_seed: the value of each critic.
      training_value: the same difference on the images and samples that the critic was trained on.
      critic_gap: `training_value` − `value`: by how much the critic itself overfitted.
      model_gap: mean f(held-out images) − mean f(the model's training images): positive when the
        training images look more like samples than unseen images do, so when the model overfitted;
        `None` when no training images were given.
      model_gap_standard_error: of `model_gap` over critics, as `standard_error`.
      num_real: the number of images that the critic was trained on.
      num_held_out: the number of other images.
      num_samples: the number of samples that the critic was trained on.
      num_held_out_samples: the number of other samples.
    """

    value: float
    standard_error: float | None
    per_seed: tuple[float, ...]
    training_value: float
    critic_gap: float
    model_gap: float | None
    model_gap_standard_error: float | None
    num_real: int
    num_held_out: int
    num_samples: int
    num_held_out_samples: int


def independent_wasserstein_critic(
    real: npt.ArrayLike,
    held_out: npt.ArrayLike,
    samples: npt.ArrayLike,
    config: CriticConfig | None = None,
    *,
    training_images: npt.ArrayLike | None = None,
    seed: int = 0,
    state: str | os.PathLike[str] | None = None,
    network: Callable[[int], keras.Model] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CriticDistance:
    """Trains critics on images against samples and returns the distance on held-out ones.

    Images are uint8 [n, H, W, C] or floating in [0, 1], C 1 or 3; the critics see them in
    [-1, 1]. All draws are functions of (seed, critic, step).

    Args:
      real: validation images on which the critics are trained.
      held_out: other images, on which they are read off.
      samples: of the model, at least 2. A permutation of `seed` halves them: the first half, the
        smaller one of an odd number, is for training, the other is held out.
      config: the recipe of the critics; `None` for its defaults.
      training_images: images that the model was trained on, for `model_gap`.
      seed: seed of the halves and of the critics, at least 0.
      state: a folder for checkpoints. A call that was broken off goes on from there when it is
        repeated, to the same bits. What another recipe, seed, images, samples or initial network
        left there is passed over.
      network: makes the critic of a seed, images [B, H, W, C] in [-1, 1] -> scores [B], the same
        layers for all seeds and no batch norm; it is told apart from others by its initial
        weights. The default is the critic of WGAN-GP for the size of the images (Appendix K).
      progress: called after every update with the number of updates done and that of all critics.

    Raises:
      ValueError: an array is of another type, shape or range, shapes disagree, there are fewer
        than 2 samples, or no network fits the images.
      DivergedError: a critic's score or weight is not finite.
    """
    config = config or CriticConfig()
    if seed < 0:
        raise ValueError(f"seed is {seed}, expected at least 0")
    real, held_out, samples = (checked_images(images) for images in (real, held_out, samples))
    seen = None if training_images is None else checked_images(training_images)
    shape = real.shape[1:]
    for name, images in (("held_out", held_out), ("samples", samples), ("training_images", seen)):
        if images is not None and images.shape[1:] != shape:
            raise ValueError(
                f"{name} have shape {images.shape}, expected [n, {', '.join(map(str, shape))}]"
            )
    if len(samples) < 2:
        raise ValueError(f"there are {len(samples)} samples, expected at least 2")
    order = _generator(seed, _SPLIT).permutation(len(samples))
    fake, held_out_fake = np.split(samples[order], [len(samples) // 2])

    def default_network(critic_seed: int) -> keras.Model:
        make = LayerFactory("independent_critic", seed=critic_seed, width=config.width)
        return image_networks.discriminator(make, shape, normalization=config.normalization)

    build = network or default_network
    training = _CriticTraining(build(_initial_seed(seed, 0)), shape, config)
    folder = None if state is None else Path(state) / training.digest(seed, real, samples)
    values, training_values, model_gaps = [], [], []
    for index in range(config.num_seeds):
        training.restart(build(_initial_seed(seed, index)))
        store = None if folder is None else CheckpointStore(folder / f"critic_{index}", keep=1)
        with repeatable_graphs():
            for done in training.run(real, fake, seed, index, store):
                if progress is not None:
                    progress(index * config.steps + done, config.num_seeds * config.steps)
        unseen = training.mean_score(held_out)
        values.append(unseen - training.mean_score(held_out_fake))
        training_values.append(training.mean_score(real) - training.mean_score(fake))
        if seen is not None:
            model_gaps.append(unseen - training.mean_score(seen))
    value, training_value = float(np.mean(values)), float(np.mean(training_values))
    return CriticDistance(
        value=value,
        standard_error=_standard_error(values),
        per_seed=tuple(values),
        training_value=training_value,
        critic_gap=training_value - value,
        model_gap=float(np.mean(model_gaps)) if model_gaps else None,
        model_gap_standard_error=_standard_error(model_gaps),
        num_real=len(real),
        num_held_out=len(held_out),
        num_samples=len(fake),
        num_held_out_samples=len(held_out_fake),
    )


def _standard_error(values: list[float]) -> float | None:
    """The standard error of a mean, `None` for fewer than two values."""
    return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None


class _CriticTraining:
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
                _generator(seed, index, step, _WEIGHTS).random(config.batch_size, np.float32),
            )
            if store is not None and (done % _STEPS_A_SAVE == 0 or done == config.steps):
                self._save(store, done)
            yield done

    def _save(self, store: CheckpointStore, done: int) -> None:
        try:
            store.save(done, capture_state(self))
        except NonFiniteError as error:
            raise DivergedError(done, f"the critic's {error.name}") from error

    def mean_score(self, images: np.ndarray) -> float:
        """The mean score of images [n, H, W, C] in [0, 1] or uint8, summed in float64."""
        total = 0.0
        for first in range(0, len(images), _BLOCK):
            scores = self._score(_signed(images[first : first + _BLOCK]))
            total += float(np.sum(scores.numpy(), dtype=np.float64))
        if not math.isfinite(total):
            raise DivergedError(self.config.steps, "the critic's mean score")
        return total / len(images)

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


def _generator(*key: int) -> np.random.Generator:
    """Random numbers that depend on `key` alone, whose last number is a stream."""
    return np.random.default_rng(key)


def _initial_seed(seed: int, index: int) -> int:
    """A 31-bit seed of the initial weights of a critic, which Keras's initialisers take."""
    return int(np.random.SeedSequence((seed, index, _INITIAL)).generate_state(1)[0] >> 1)


def _order_seed(*key: int) -> int:
    """A 63-bit seed of the order of a set, from a key whose last number is a stream."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _signed(images: np.ndarray) -> np.ndarray:
    """Returns uint8 or [0, 1] images as float32 in [-1, 1]."""
    return unit_range(images) * np.float32(2) - np.float32(1)


def _identity(array: np.ndarray) -> tuple[str, list[int], str]:
    content = hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
    return array.dtype.str, list(array.shape), content

"""What every model shares: players, a traced training step, samples.

A model is a plain Keras model: `model.compile()`, `model.fit(images)`, `model.save(path)`. Its
`train_step` is a function of its weights, the batch, the seed and the step counter alone.

Shapes: B batch, K batches a step, H W C image axes, L latent dimension.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from tfdm.numerics import batch_size
from tfdm.seeds import derive
from tfdm.training.batches import BatchCheck, check_range, images_of
from tfdm.training.keras_support import NotOfPlayers, PlayerRates, StopOnDivergence
from tfdm.training.noise import StepNoise, stateless_normal
from tfdm.training.parts import ModelParts
from tfdm.training.players import Terms, update_players
from tfdm.training.strategy import replicated_train_function

# Images that `generate` and `encode` compute at once.
BLOCK = 512


class GenerativeModel(NotOfPlayers, ModelParts):
    """A model that turns codes into images.

    Networks of one's own, for images of any shape, take the place of those of Appendix K:

        encoder = keras.Sequential([keras.Input([48, 48, 3]), .., keras.layers.Dense(2 * 8)])
        generator = keras.Sequential([keras.Input([8]), .., keras.layers.Reshape([48, 48, 3])])
        networks = {"encoder": encoder, "generator": generator}
        model = VAE(latent_dim=8, image_shape=(48, 48, 3), networks=networks)

    An `encoder` maps images in [-1, 1] [B, H, W, C] to [B, 2L] where the posterior is Gaussian,
    else to [B, L]; a `generator` codes [B, L] to images by a tanh, but for the VAE to the
    parameters of its likelihood, without activation; a `discriminator` images, and a
    `code_discriminator` codes, to logits [B] or [B, 1]. They are saved with the model.

    Args:
      config: the hyperparameters, as an object or a mapping; the defaults of the model when `None`.
      image_shape: (H, W, C) of the images.
      seed: the seed of the initial weights and of everything drawn in training.
      networks: Keras networks by name that replace the model's own.
      fitted_prior: a density that takes the place of the prior, fitted to q(z) of a trained model.
        It is frozen, and the model trains no more: the density would not follow q(z).
      **kwargs: hyperparameters, which replace those of `config`, and options of `keras.Model`;
        `dtype` is the precision policy of the networks.

    Attributes:
      prior: p(z), a `tfdm.distributions.priors.Prior`; `own_prior` is that of training.
      generator: the network codes [B, L] -> images in [-1, 1], or a likelihood's parameters.
      players: names, networks and optimisers.
      optimizers: the optimisers by player.
      step: the number of completed training steps.
      batches_per_step: K, how many batches one training step takes.
      has_encoder: whether the model maps images to codes.

    Raises:
      ValueError: a hyperparameter is not admissible, a network has the wrong shape, or there are no
        networks for images of this shape.
    """

    has_encoder: ClassVar[bool] = False
    train_function: Any
    _term_names: tuple[str, ...] = ()

    # --- What a model adds ----------------------------------------------------------------

    def player_losses(
        self, images: tf.Tensor, noise: StepNoise, training: bool
    ) -> tuple[Terms, Terms]:
        """Returns every player's loss, and more terms to log; all are scalar means.

        Images are [B, H, W, C] in [-1, 1]; in `training` batch norm uses the batch's moments.
        """
        raise NotImplementedError

    def to_unit_range(self, outputs: tf.Tensor) -> tf.Tensor:
        """Maps outputs of the generator, by default in [-1, 1], to images in [0, 1]."""
        return (outputs + 1.0) / 2.0

    def prior_codes(self, noise: StepNoise, name: str = "prior") -> tf.Tensor:
        """Returns codes z ~ p(z) of a training step, [B, L], from the stream `name`."""
        return self.prior.from_noise(noise.normal(name, [self.latent_dim]))

    # --- Training -------------------------------------------------------------------------

    def compile(
        self,
        optimizer: Any = None,
        loss: Any = None,
        metrics: Any = None,
        *,
        run_eagerly: bool = False,
        **kwargs: Any,
    ) -> None:
        """Configures `fit`; the optimisers were made with the players.

        `kwargs` are `steps_per_execution`, and `jit_compile`, which is slower on a CPU.
        `ValueError` where an optimiser, a loss or metrics are given: the model has its own.
        """
        given = {"optimizer": optimizer, "loss": loss, "metrics": metrics}
        given |= {name: kwargs.pop(name, None) for name in ("loss_weights", "weighted_metrics")}
        for name, value in given.items():
            if value is not None:
                raise ValueError(
                    f"compile takes no {name}: the players have their own; set the learning rates "
                    "when the model is made, or override build_networks and player_losses"
                )
        super().compile(None, run_eagerly=run_eagerly, **{"jit_compile": False, **kwargs})
        self.optimizer = PlayerRates(self.optimizers)

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Trains as `keras.Model.fit` does; labels are ignored.

        Batches are images, uint8 or floats in [0, 1], [B, H, W, C], pairs (images, labels) or
        mappings with the key `image`. The history holds the means of all terms over the images of
        an epoch, and with the prefix `val_` over those held out.

        Raises:
          ValueError: the images do not fit, there are weights, or the replicas cannot share a
            batch. It comes before the first step.
          DivergedError: a loss is not finite; it names the step and the term.
        """
        x = self._checked(x, batch_size, validation_split, **kwargs)
        if validation_data is not None:
            size = kwargs.get("validation_batch_size") or batch_size
            validation_data = self._checked(validation_data, size)
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            given = callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]
            callbacks = [StopOnDivergence(), *(one for one in given if one is not None)]
        named = {"validation_split": validation_split, "validation_data": validation_data}
        return super().fit(x, y, batch_size, epochs, verbose, callbacks, **named, **kwargs)

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, **kwargs: Any
    ) -> Any:
        """Returns the means of all terms over images, as `keras.Model.evaluate` does.

        Takes what `fit` takes, and raises `ValueError` as it does. The same images in the same
        batches give the same numbers.
        """
        return super().evaluate(self._checked(x, batch_size, **kwargs), y, batch_size, **kwargs)

    def train_on_batch(self, x: Any, y: Any = None, **kwargs: Any) -> Any:
        """Takes one step on a batch and returns its terms; `ValueError` as by `fit`."""
        return super().train_on_batch(self._checked(x, len(images_of(x)), **kwargs), y, **kwargs)

    def test_on_batch(self, x: Any, y: Any = None, **kwargs: Any) -> Any:
        """Returns the terms of a batch as of the first one of `evaluate`; `ValueError` as by it."""
        self.reset_metrics()
        return super().test_on_batch(self._checked(x, len(images_of(x)), **kwargs), y, **kwargs)

    def _checked(
        self, x: Any, batch_size: int | None = None, split: float = 0.0, **kwargs: Any
    ) -> Any:
        for name in ("sample_weight", "class_weight"):
            if kwargs.get(name) is not None:
                raise ValueError(f"{name} is given, but the players' losses have none: drop it")
        return self._batch_check.source(x, batch_size, split)

    @property
    def _batch_check(self) -> BatchCheck:
        replicas = self.distribute_strategy.num_replicas_in_sync
        return BatchCheck(self.image_shape, self.batches_per_step, replicas)

    def train_step(self, data: Any) -> Terms:
        """One step of all players; returns every loss and term, averaged over the replicas.

        `data` are images, uint8 or floats in [0, 1], [B, H, W, C], or [B, K, H, W, C] where the
        model takes K batches a step.
        """
        if self.fitted_prior is not None:
            raise ValueError("the model has a fitted_prior, expected none: it trains no more")
        images = self._network_range(data)
        terms = self.update(images, StepNoise(self.seed, self.step.value, batch_size(images)))
        self._move_average()
        return self._finish_step(terms, batch_size(images))

    def test_step(self, data: Any) -> Terms:
        """Returns every loss and term of a batch, as `evaluate` takes the means of them."""
        terms = self.held_out_terms(data, self._means.count.value)
        return self._averaged(terms, batch_size(images_of(data)))[0]

    def held_out_terms(self, data: Any, index: tf.Tensor) -> Terms:
        """Returns every loss and term of a batch of one replica and moves nothing.

        Batch norm uses the moments of the batch, as in training. Noise is a function of the seed
        and of `index`, the number of the batch in this evaluation.
        """
        images = self._network_range(data)
        noise = StepNoise(derive(self.seed, "test_step"), index, batch_size(images))
        with keras.StatelessScope():  # Moving averages are assigned to the scope and dropped.
            losses, terms = self.player_losses(images, noise, training=True)
        return loss_terms(losses) | terms

    def update(self, images: tf.Tensor, noise: StepNoise) -> Terms:
        """Moves all players at once from one shared forward pass; returns the terms to log."""
        with tf.GradientTape(persistent=True) as tape:
            losses, terms = self.player_losses(images, noise, training=True)
        update_players(tape, self.players, losses)
        return loss_terms(losses) | terms

    def divergence(self) -> tuple[int, str] | None:
        """Returns the first step with a value that was not finite and its term, or `None`."""
        step = int(self.first_bad_step.numpy())
        if step == 0:
            return None
        term = int(self.first_bad_term.numpy())
        return step, self._term_names[term] if term < len(self._term_names) else "a loss"

    def _network_range(self, data: Any) -> tf.Tensor:
        images = tf.convert_to_tensor(images_of(data))
        self._batch_check.shape(images.shape)
        check_range(images)
        values = tf.cast(images, tf.float32)
        return values / 127.5 - 1.0 if images.dtype.is_integer else values * 2.0 - 1.0

    def _move_average(self) -> None:
        if self.generator_average is None:
            return
        decay = self.config.ema_decay
        pairs = zip(self.generator_average.weights, self.generator.weights, strict=True)
        for average, weight in pairs:
            is_float = tf.as_dtype(weight.dtype).is_floating
            average.assign(decay * average + (1.0 - decay) * weight if is_float else weight)

    def _averaged(self, terms: Terms, images: int | tf.Tensor) -> tuple[Terms, tf.Tensor]:
        """Returns the means over the replicas, by name and in the order of their names."""
        names = tuple(sorted(terms))
        values = tf.stack([tf.cast(terms[name], tf.float32) for name in names])
        context = tf.distribute.get_replica_context()
        if context.strategy.num_replicas_in_sync > 1:
            values = context.all_reduce(tf.distribute.ReduceOp.MEAN, values)
        self._means.add(names, values, images)
        return dict(zip(names, tf.unstack(values), strict=True)), values

    def _finish_step(self, terms: Terms, images: int | tf.Tensor) -> Terms:
        logs, values = self._averaged(terms, images)
        self._term_names = tuple(logs)
        completed = self.step.value + 1
        bad = tf.logical_not(tf.math.is_finite(values))
        is_first = tf.logical_and(tf.reduce_any(bad), self.first_bad_step.value == 0)
        position = tf.argmax(tf.cast(bad, tf.int32), output_type=tf.int64)
        self.first_bad_term.assign(tf.where(is_first, position, self.first_bad_term.value))
        self.first_bad_step.assign(tf.where(is_first, completed, self.first_bad_step.value))
        self.step.assign(completed)
        return logs

    # --- Samples --------------------------------------------------------------------------

    @property
    def sampler(self) -> keras.layers.Layer:
        """The network that makes samples: the moving average where there is one."""
        return self.generator if self.generator_average is None else self.generator_average

    def decode(self, codes: tf.Tensor) -> tf.Tensor:
        """Codes [n, L] -> images float32 [n, H, W, C] in [0, 1], batch norm in inference mode."""
        return in_blocks(lambda rows, _: self._decode(rows), codes)

    def sample_codes(self, num: int, seed: int = 0) -> tf.Tensor:
        """Returns `num` codes from the prior, [num, L], a function of `seed`."""
        return in_blocks(lambda rows, start: self._codes(len(rows), seed, start), range(num))

    def generate(self, num_or_noise: int | tf.Tensor, seed: int = 0) -> tf.Tensor:
        """Returns samples, float32 [n, H, W, C] in [0, 1].

        Takes their number, or standard normal noise [n, L] that the prior maps to codes. Beside
        the samples the memory is that of a block of them.
        """
        if isinstance(num_or_noise, numbers.Integral):
            return in_blocks(
                lambda rows, start: self._decode(self._codes(len(rows), seed, start)),
                range(int(num_or_noise)),
            )
        noise = tf.convert_to_tensor(num_or_noise)
        return in_blocks(lambda rows, _: self._decode(self.prior.from_noise(rows)), noise)

    def _decode(self, codes: tf.Tensor) -> tf.Tensor:
        return self.to_unit_range(self.sampler(codes, training=False))

    def _codes(self, num: int, seed: int, start: int) -> tf.Tensor:
        return self.prior.from_noise(stateless_normal([num, self.latent_dim], seed, "codes", start))

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Codes [n, L] -> images in [0, 1], as `predict` gives them too."""
        return self.to_unit_range(self.sampler(inputs, training=training))

    def export_signatures(self) -> dict[str, dict[str, Callable[..., Any]]]:
        """Returns what an export offers: `tf.function`s by folder and name of the signature.

        Of the `generator`, `serving_default` maps noise `z` [n, L] to `images` [n, H, W, C] in
        [0, 1], `decode` maps `codes` [n, L] to `images`.
        """
        row = [self.latent_dim]
        by_noise = signature(lambda z: {"images": self.generate(z)}, row, "z")
        by_codes = signature(lambda codes: {"images": self.decode(codes)}, row, "codes")
        return {"generator": {"serving_default": by_noise, "decode": by_codes}}

    # --- Keras ----------------------------------------------------------------------------

    def make_train_function(self, force: bool = False) -> None:
        """Sets `train_function`, which `fit` calls with an iterator over batches."""
        strategy = self.distribute_strategy
        if strategy.num_replicas_in_sync == 1 or isinstance(strategy, tf.distribute.TPUStrategy):
            super().make_train_function(force)
        elif force or self.train_function is None:
            self.train_function = replicated_train_function(self)

    def export(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Writes codes [n, L] -> images in [0, 1] as `keras.Model.export` does."""
        if len(args) < 3:
            codes = keras.InputSpec(shape=(None, self.latent_dim), dtype="float32")
            kwargs.setdefault("input_signature", [codes])
        super().export(filepath, *args, **kwargs)

    def save(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Writes a `.keras` file as `keras.Model.save` does; `ValueError` refuses HDF5."""
        if str(filepath).endswith((".h5", ".hdf5")):
            raise ValueError(f"filepath is {str(filepath)!r}, expected one that ends in .keras")
        super().save(filepath, *args, **kwargs)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Returns the shape of the images of codes [n, L]."""
        return input_shape[0], *self.image_shape

    @property
    def metrics_names(self) -> list[str]:
        """The names of the terms of the last step, in the order of what `evaluate` returns."""
        return list(self._means.names)

    def reset_metrics(self) -> None:
        """Begins the means of an epoch."""
        super().reset_metrics()
        self._means.reset()

    def get_metrics_result(self) -> dict[str, float]:
        """Returns the means of all terms over the batches since `reset_metrics`."""
        return self._means.result()

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Does nothing: all is built, and Keras would average a batch of uint8 over replicas."""

    def get_compile_config(self) -> dict[str, Any]:
        options = {"jit_compile": self.jit_compile, "steps_per_execution": self.steps_per_execution}
        return options if self.compiled else {}

    def compile_from_config(self, config: dict[str, Any]) -> None:
        self.compile(**config)


def loss_terms(losses: Terms) -> Terms:
    """Returns the players' losses under the names that the logs give them."""
    return {f"{player}_loss": loss for player, loss in losses.items()}


def signature(function: Callable[..., Any], row: Sequence[int], name: str) -> Callable[..., Any]:
    """Returns `function` of one float32 input `name` [n, *row] as a `tf.function`."""
    spec = tf.TensorSpec([None, *row], tf.float32, name=name)
    return tf.function(function, input_signature=[spec], autograph=False)


def in_blocks(function: Callable[[Any, int], tf.Tensor], rows: Any) -> tf.Tensor:
    """Returns `function` of rows [n, ..], called with `BLOCK` of them and the first one's number.

    In a graph that does not know n, and where n is small, it is called once.
    """
    if not isinstance(rows, range) and not hasattr(rows, "shape"):
        rows = np.asarray(rows)
    number = len(rows) if isinstance(rows, range) else rows.shape[0]
    if number is None or number <= BLOCK:
        return function(rows, 0)
    starts = range(0, number, BLOCK)
    return tf.concat([function(rows[start : start + BLOCK], start) for start in starts], axis=0)

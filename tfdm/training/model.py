"""What every model shares: players, a traced training step, samples.

A model is a plain Keras model: `model.compile()`, `model.fit(images)`, `model.save(path)`. Its
`train_step` is a function of its weights, the batch, the seed and the step counter alone.

Shapes: B batch, K batches a step, H W C image axes, L latent dimension.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import keras
import tensorflow as tf

from tfdm.training.config import ModelConfig
from tfdm.training.hyperparameters import split_options
from tfdm.training.networks import copy_network
from tfdm.training.noise import StepNoise, stateless_normal
from tfdm.training.parts import ModelParts
from tfdm.training.players import update_players
from tfdm.training.strategy import DistributedFit


class GenerativeModel(DistributedFit, ModelParts):
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
      **kwargs: hyperparameters, which replace those of `config`, and options of `keras.Model`;
        `dtype` is the precision policy of the networks.

    Attributes:
      config: the hyperparameters.
      image_shape: (H, W, C).
      networks: the networks that the caller gave.
      prior: p(z), a `tfdm.distributions.priors.Prior`.
      generator: the network codes [B, L] -> images in [-1, 1], or a likelihood's parameters.
      players: who plays: names, networks and optimisers.
      optimizers: the optimisers by player.
      step: the number of completed training steps.
      batches_per_step: K, how many batches one training step takes.
      has_encoder: whether the model maps images to codes.

    Raises:
      ValueError: a hyperparameter is not admissible, a network has the wrong shape, or there are no
        networks for images of this shape.
    """

    has_encoder: ClassVar[bool] = False

    def __init__(
        self,
        config: ModelConfig | Mapping[str, Any] | None = None,
        image_shape: tuple[int, int, int] = (28, 28, 3),
        seed: int = 0,
        *,
        networks: Mapping[str, keras.layers.Layer] | None = None,
        **kwargs: Any,
    ) -> None:
        options, hyperparameters = split_options(kwargs)
        super().__init__(**options)
        asked = self.config_class.of(config, **hyperparameters)
        height, width, channels = image_shape
        if min(height, width, channels) < 1:
            raise ValueError(f"image_shape is {tuple(image_shape)}, expected (H, W, C) from 1")
        self.image_shape = (height, width, channels)
        self.config = asked.for_images(self.image_shape)
        self.seed = int(seed)
        # Keras tracks them where they are used, not behind a proxy.
        self.networks = MappingProxyType(dict(networks or {}))
        self.batches_per_step = 1
        self.optimizers = {}
        self.step = self._counter("step")
        self.first_bad_step = self._counter("first_bad_step")
        self.first_bad_term = self._counter("first_bad_term")
        self._term_names: tuple[str, ...] = ()
        self.generator_average: keras.layers.Layer | None = None
        self.build_networks()
        self.check_parts()
        if self.config.ema_decay > 0.0:
            self.generator_average = copy_network(self.generator, [(self.latent_dim,)])
            self.generator_average.trainable = False
        self.built = True

    # --- What a model adds ----------------------------------------------------------------

    def losses(
        self, images: tf.Tensor, noise: StepNoise, training: bool
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """Returns every player's loss, and more terms to log; all are scalar means.

        Args:
          images: [B, H, W, C] in [-1, 1].
          noise: the noise of the step.
          training: whether batch norm uses the batch's moments.
        """
        raise NotImplementedError

    def to_unit_range(self, outputs: tf.Tensor) -> tf.Tensor:
        """Maps outputs of the generator, by default in [-1, 1], to images in [0, 1]."""
        return (outputs + 1.0) / 2.0

    def prior_codes(self, noise: StepNoise, name: str = "prior") -> tf.Tensor:
        """Returns codes z ~ p(z) of a training step, [B, L], from the stream `name`."""
        return self.prior.from_noise(noise.normal(name, [self.latent_dim]))

    # --- Training -------------------------------------------------------------------------

    def compile(self, *, run_eagerly: bool = False, **kwargs: Any) -> None:
        """Configures `fit`; the optimisers were made with the players.

        Args:
          run_eagerly: whether to run without tracing, for debugging.
          **kwargs: `steps_per_execution` and `jit_compile`, off unless asked for: XLA is slower
            for convolutions on a CPU.
        """
        options = {"jit_compile": False, **kwargs}
        super().compile(optimizer=None, run_eagerly=run_eagerly, **options)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One step of all players.

        Args:
          data: images, uint8 or floats in [0, 1], [B, H, W, C]; [B, K, H, W, C] where the model
            takes K batches a step.

        Returns:
          Every loss and term of the step, averaged over the replicas.
        """
        images = self._network_range(data)
        self._check_batches(images)
        terms = self.update(images, StepNoise(self.seed, self.step.value, batch_size(images)))
        self._move_average()
        return self._finish_step(terms)

    def update(self, images: tf.Tensor, noise: StepNoise) -> dict[str, tf.Tensor]:
        """Moves all players at once from one shared forward pass; returns the terms to log."""
        with tf.GradientTape(persistent=True) as tape:
            losses, terms = self.losses(images, noise, training=True)
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
        images = tf.convert_to_tensor(data[0] if isinstance(data, (tuple, list)) else data)
        if tuple(images.shape[-3:]) != self.image_shape:
            raise ValueError(
                f"images have shape {images.shape}, expected (..., {self.image_shape})"
            )
        if images.dtype.is_integer:
            return tf.cast(images, tf.float32) / 127.5 - 1.0
        return tf.cast(images, tf.float32) * 2.0 - 1.0

    def _check_batches(self, images: tf.Tensor) -> None:
        per_step = self.batches_per_step
        fits = images.shape.rank == 4 or (
            images.shape.rank == 5 and per_step > 1 and images.shape[1] == per_step
        )
        if not fits:
            shape, batches = tuple(images.shape), f"K = {per_step} batches a step"
            raise ValueError(f"images have shape {shape}, expected [B, H, W, C] or {batches}")

    def _move_average(self) -> None:
        if self.generator_average is None:
            return
        decay = self.config.ema_decay
        pairs = zip(self.generator_average.weights, self.generator.weights, strict=True)
        for average, weight in pairs:
            is_float = tf.as_dtype(weight.dtype).is_floating
            average.assign(decay * average + (1.0 - decay) * weight if is_float else weight)

    def _finish_step(self, terms: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        names = tuple(sorted(terms))
        values = tf.stack([tf.cast(terms[name], tf.float32) for name in names])
        context = tf.distribute.get_replica_context()
        if context.strategy.num_replicas_in_sync > 1:
            values = context.all_reduce(tf.distribute.ReduceOp.MEAN, values)
        self._term_names = names
        completed = self.step.value + 1
        bad = tf.logical_not(tf.math.is_finite(values))
        is_first = tf.logical_and(tf.reduce_any(bad), self.first_bad_step.value == 0)
        position = tf.argmax(tf.cast(bad, tf.int32), output_type=tf.int64)
        self.first_bad_term.assign(tf.where(is_first, position, self.first_bad_term.value))
        self.first_bad_step.assign(tf.where(is_first, completed, self.first_bad_step.value))
        self.step.assign(completed)
        return dict(zip(names, tf.unstack(values), strict=True))

    def _counter(self, name: str) -> keras.Variable:
        return self.add_weight(
            name=name,
            shape=(),
            dtype="int64",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )

    # --- Samples --------------------------------------------------------------------------

    @property
    def sampler(self) -> keras.layers.Layer:
        """The network that makes samples: the moving average where there is one."""
        return self.generator if self.generator_average is None else self.generator_average

    def decode(self, codes: tf.Tensor) -> tf.Tensor:
        """Codes [n, L] -> images float32 [n, H, W, C] in [0, 1], batch norm in inference mode."""
        return self.to_unit_range(self.sampler(codes, training=False))

    def sample_codes(self, num: int, seed: int = 0) -> tf.Tensor:
        """Returns `num` codes from the prior, [num, L], a function of `seed`."""
        return self.prior.from_noise(stateless_normal([num, self.latent_dim], seed, "codes"))

    def generate(self, num_or_noise: int | tf.Tensor, seed: int = 0) -> tf.Tensor:
        """Returns samples, float32 [n, H, W, C] in [0, 1].

        Args:
          num_or_noise: how many codes to draw from the prior, or standard normal noise [n, L] that
            the prior maps to codes.
          seed: the seed of the codes.
        """
        if isinstance(num_or_noise, numbers.Integral):
            return self.decode(self.sample_codes(int(num_or_noise), seed))
        return self.decode(self.prior.from_noise(tf.convert_to_tensor(num_or_noise)))

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Codes [n, L] -> images [n, H, W, C] in [0, 1]."""
        return self.to_unit_range(self.sampler(inputs, training=training))

    def export_signatures(self) -> dict[str, dict[str, Callable[..., Any]]]:
        """Returns what an export offers: `tf.function`s by folder and name of the signature.

        * `generator`: `serving_default` maps noise `z` [n, L] to `images` [n, H, W, C] in [0, 1],
          `decode` maps `codes` [n, L] to `images`.
        """

        def generate(z: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"images": self.generate(z)}

        def decode(codes: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"images": self.decode(codes)}

        row = [self.latent_dim]
        signatures = {
            "serving_default": signature(generate, row, "z"),
            "decode": signature(decode, row, "codes"),
        }
        return {"generator": signatures}

    # --- Keras ----------------------------------------------------------------------------

    def get_compile_config(self) -> dict[str, Any]:
        """Returns the arguments of `compile`."""
        options = {"jit_compile": self.jit_compile, "steps_per_execution": self.steps_per_execution}
        return options if self.compiled else {}

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as `get_compile_config` described."""
        self.compile(**config)


def loss_terms(losses: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Returns the players' losses under the names that the logs give them."""
    return {f"{player}_loss": loss for player, loss in losses.items()}


def batch_size(images: tf.Tensor) -> int | tf.Tensor:
    """Returns the first axis, a number where the graph knows it."""
    return images.shape[0] if images.shape[0] is not None else tf.shape(images)[0]


def signature(function: Callable[..., Any], row: Sequence[int], name: str) -> Callable[..., Any]:
    """Returns `function` of one float32 input `name` [n, *row] as a `tf.function`."""
    spec = tf.TensorSpec([None, *row], tf.float32, name=name)
    return tf.function(function, input_signature=[spec], autograph=False)

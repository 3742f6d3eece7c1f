"""The cells of convolutional DRAW (Gregor et al., 2015 and 2016): an encoder, and a decoder.

Both are convolutional LSTMs on a grid of half the image's sides, and each is one convolution a
step: images enter a cell, and leave it for the canvas, as maps of 2x2 pixels.

Shapes: B batch, H W C image axes, T steps, U hidden maps, M latent maps, S = H/2 · W/2 · M latents
of a step, L = T · S of a code. Images and canvases as seen by the cells lie in [-1, 1].
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfdm.distributions.posteriors import gaussian_loc_and_scale
from tfdm.distributions.stepwise import Choose, stepwise_codes, stepwise_log_prob
from tfdm.networks.layers import LayerFactory

PIXELS = 2
# Memories last from the start (Jozefowicz et al., 2015).
FORGET = 1.0
Parameters = tuple[tf.Tensor, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class DrawSizes:
    """The sizes of both cells."""

    image_shape: tuple[int, int, int]  # (H, W, C), H and W even
    num_steps: int  # T
    latent_maps: int  # M
    hidden_maps: int  # U
    kernel_size: int  # side of every convolution's kernel, on the grid

    @property
    def grid(self) -> tuple[int, int]:
        """(H/2, W/2)."""
        return self.image_shape[0] // PIXELS, self.image_shape[1] // PIXELS

    @property
    def image_maps(self) -> int:
        """4 C, the maps of 2x2 pixels."""
        return PIXELS**2 * self.image_shape[2]

    @property
    def step_dim(self) -> int:
        """S."""
        return self.grid[0] * self.grid[1] * self.latent_maps

    @property
    def latent_dim(self) -> int:
        """L."""
        return self.num_steps * self.step_dim


class EncoderState(NamedTuple):
    """Hidden maps [B, H/2, W/2, U] and their memory, float32."""

    hidden: tf.Tensor
    memory: tf.Tensor


class DecoderState(NamedTuple):
    """Hidden maps [B, H/2, W/2, U], their memory, and the canvas [B, H, W, C], float32.

    The canvas holds the parameters of the likelihood, whose mean image is its sigmoid.
    """

    hidden: tf.Tensor
    memory: tf.Tensor
    canvas: tf.Tensor


class _Cell(keras.Model):
    """What both share: sizes, one convolution to the gates, and named layers of their own seed."""

    def __init__(self, sizes: DrawSizes | dict[str, Any], seed: int = 0, **kwargs: Any) -> None:
        # States and codes are float32; each convolution casts its own inputs.
        super().__init__(**{"autocast": False, **kwargs})
        if not isinstance(sizes, DrawSizes):
            # As `get_config` gave them, and JSON kept them.
            sizes = DrawSizes(**{**sizes, "image_shape": tuple(sizes["image_shape"])})
        self.sizes = sizes
        self.seed = seed
        self._make = LayerFactory(self.name, seed=seed, dtype=self.dtype_policy)
        self.gates = self.conv("gates", 4 * self.sizes.hidden_maps)

    def conv(self, name: str, maps: int) -> keras.layers.Layer:
        """A convolution on the grid."""
        return keras.layers.Conv2D(
            maps,
            self.sizes.kernel_size,
            padding="same",
            data_format="channels_last",
            kernel_initializer=self._make.initializer(),
            dtype=self.dtype_policy,
            name=name,
        )

    def build_convolutions(self, maps: dict[str, int]) -> None:
        """Builds each layer for a number of input maps."""
        for name, number in maps.items():
            getattr(self, name).build((None, *self.sizes.grid, number))

    def zeros(self, num: int | tf.Tensor) -> Parameters:
        """Hidden maps and memory before the first step."""
        maps = tf.zeros([num, *self.sizes.grid, self.sizes.hidden_maps])
        return maps, maps

    def lstm(self, inputs: list[tf.Tensor], memory: tf.Tensor) -> Parameters:
        """Maps on the grid, the cell's own hidden ones among them -> the next (hidden, memory)."""
        gates = tf.cast(self.gates(tf.concat(inputs, axis=-1)), tf.float32)
        enter, forget, candidate, leave = tf.split(gates, 4, axis=-1)
        memory = tf.sigmoid(forget + FORGET) * memory + tf.sigmoid(enter) * tf.tanh(candidate)
        return tf.sigmoid(leave) * tf.tanh(memory), memory

    def gaussian(self, maps: tf.Tensor) -> Parameters:
        """Maps [B, H/2, W/2, 2M] -> loc and scale, float32 [B, S]."""
        loc, raw = tf.split(tf.cast(maps, tf.float32), 2, axis=-1)
        rows = [tf.reshape(part, [-1, self.sizes.step_dim]) for part in (loc, raw)]
        return gaussian_loc_and_scale(tf.concat(rows, axis=-1))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {
            "sizes": dataclasses.asdict(self.sizes),
            "seed": self.seed,
            "name": self.name,
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """Makes the cell that `get_config` described."""
        del custom_objects
        policy = keras.saving.deserialize_keras_object(config["dtype"])
        return cls(**{**config, "dtype": policy})


@keras.saving.register_keras_serializable(package="tfdm")
class DrawEncoder(_Cell):
    """Reads the image and what the canvas lacks of it; gives q(z_t|z_<t, x)."""

    def __init__(self, sizes: DrawSizes | dict[str, Any], seed: int = 0, **kwargs: Any) -> None:
        super().__init__(sizes, seed, **kwargs)
        self.posterior_maps = self.conv("posterior_maps", 2 * self.sizes.latent_maps)
        self.build()

    def build(self, input_shape: Any = None) -> None:
        """Creates the weights."""
        hidden = self.sizes.hidden_maps
        image_maps = 2 * self.sizes.image_maps
        self.build_convolutions(
            {"gates": image_maps + 2 * hidden, "posterior_maps": hidden},
        )

    def start(self, num: int | tf.Tensor) -> EncoderState:
        """The state of `num` rows before the first step: zeros."""
        return EncoderState(*self.zeros(num))

    def step(self, images: tf.Tensor, drawn: DecoderState, state: EncoderState) -> EncoderState:
        """Reads images [B, H, W, C] beside the decoder's state after the step before."""
        error = images - _mean_image(drawn.canvas)
        seen = tf.nn.space_to_depth(tf.concat([images, error], axis=-1), PIXELS)
        return EncoderState(*self.lstm([seen, drawn.hidden, state.hidden], state.memory))

    def posterior(self, state: EncoderState) -> Parameters:
        """loc and scale [B, S] of q(z_t|z_<t, x)."""
        return self.gaussian(self.posterior_maps(state.hidden))


@keras.saving.register_keras_serializable(package="tfdm")
class DrawDecoder(_Cell):
    """Adds to the canvas what a step's codes say; gives p(z_t|z_<t), and with it is a prior.

    Called as a layer it maps codes [B, L] to the last canvas [B, H, W, C]. With a learned prior
    it has the contract of `tfdm.distributions.priors.Prior`.
    """

    def __init__(
        self,
        sizes: DrawSizes | dict[str, Any],
        learned_prior: bool = False,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(sizes, seed, **kwargs)
        self.learned_prior = learned_prior
        self.canvas_maps = self.conv("canvas_maps", self.sizes.image_maps)
        if learned_prior:
            self.prior_maps = self.conv("prior_maps", 2 * self.sizes.latent_maps)
        self.build()

    def build(self, input_shape: Any = None) -> None:
        """Creates the weights."""
        hidden = self.sizes.hidden_maps
        inputs = self.sizes.latent_maps + self.sizes.image_maps + hidden
        self.build_convolutions(
            {"gates": inputs, "canvas_maps": hidden}
            | ({"prior_maps": hidden} if self.learned_prior else {})
        )

    @property
    def latent_dim(self) -> int:
        """L."""
        return self.sizes.latent_dim

    def start(self, num: int | tf.Tensor) -> DecoderState:
        """The state of `num` rows before the first step: zeros, an empty canvas."""
        return DecoderState(*self.zeros(num), tf.zeros([num, *self.sizes.image_shape]))

    def step(self, codes: tf.Tensor, state: DecoderState) -> DecoderState:
        """Takes the codes of a step, [B, S], and draws."""
        codes = tf.reshape(codes, [-1, *self.sizes.grid, self.sizes.latent_maps])
        seen = tf.nn.space_to_depth(_mean_image(state.canvas), PIXELS)
        hidden, memory = self.lstm([codes, seen, state.hidden], state.memory)
        added = tf.cast(self.canvas_maps(hidden), tf.float32)
        return DecoderState(hidden, memory, state.canvas + tf.nn.depth_to_space(added, PIXELS))

    def prior(self, state: DecoderState) -> Parameters:
        """loc and scale of p(z_t|z_<t): [B, S] of a learned prior, 0 and 1 of N(0, I)."""
        if not self.learned_prior:
            return tf.constant(0.0), tf.constant(1.0)
        return self.gaussian(self.prior_maps(state.hidden))

    def call(self, codes: tf.Tensor) -> tf.Tensor:
        """Codes [B, L] -> the canvas after T steps, [B, H, W, C]."""
        return self.canvases(codes)[-1]

    def canvases(self, codes: tf.Tensor) -> list[tf.Tensor]:
        """Codes [B, L] -> the canvas after each step, T of [B, H, W, C]."""
        state, canvases = self.start(tf.shape(codes)[0]), []
        for of_step in tf.split(tf.cast(codes, tf.float32), self.sizes.num_steps, axis=-1):
            state = self.step(of_step, state)
            canvases.append(state.canvas)
        return canvases

    def log_prob(self, codes: tf.Tensor) -> tf.Tensor:
        """Codes [..., L] -> log p(z) = Σ_t log p(z_t|z_<t) [...], nats, of the learned prior."""
        codes = tf.convert_to_tensor(codes)
        rows = tf.reshape(codes, [-1, self.latent_dim])
        log_probs = stepwise_log_prob(self._walk(tf.shape(rows)[0]), rows, self.sizes.num_steps)
        return tf.reshape(log_probs, tf.shape(codes)[:-1])

    def from_noise(self, noise: tf.Tensor) -> tf.Tensor:
        """Standard normal noise [n, L] -> codes [n, L] of the learned prior, step by step."""
        return stepwise_codes(self._walk(tf.shape(noise)[0]), noise, self.sizes.num_steps)

    def _walk(self, num: int | tf.Tensor) -> Any:
        def walk(choose: Choose) -> None:
            state = self.start(num)
            for step in range(self.sizes.num_steps):
                state = self.step(choose(step, *self.prior(state)), state)

        return walk

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """[B, H, W, C]."""
        return (input_shape[0], *self.sizes.image_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "learned_prior": self.learned_prior}


def _mean_image(canvas: tf.Tensor) -> tf.Tensor:
    """2 sigmoid(canvas) − 1, the mean image in [-1, 1]."""
    return tf.tanh(0.5 * canvas)

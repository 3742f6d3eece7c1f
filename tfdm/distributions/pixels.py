"""Pixel likelihoods p(x|z) on a decoder's unbounded outputs (section 4.2, Appendix D).

`parameters` are the decoder's outputs, [B, H, W, C]. `images` are levels v in 0..255 when of an
integer type, v / 255 in [0, 1], rounded to the nearest level, when floating. `noise` is U[0, 1) of
the images' shape and independent of them. Everything is computed in float32 at least.
"""

import math
from typing import Any

import keras
import tensorflow as tf

from tfdm.numerics import at_least_float32, inverse_softplus, require_rank, require_same_shape

NUM_LEVELS = 256


class PixelLikelihood(keras.layers.Layer):
    """What the likelihoods share. Called as a layer, it maps parameters to the mean image.

    Its variables stay float32 under every precision policy.
    """

    needs_noise = False  # whether `log_prob` draws on `noise`

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.built = True

    def call(self, parameters: tf.Tensor) -> tf.Tensor:
        return self.mean(parameters)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def mean(self, parameters: tf.Tensor) -> tf.Tensor:
        """sigmoid(parameters), the mean image in [0, 1], float32 [B, H, W, C]."""
        parameters = at_least_float32(parameters, "parameters")
        require_rank(parameters, 4, "parameters", "[B, H, W, C]")
        return tf.sigmoid(parameters)

    def log_prob(
        self, parameters: tf.Tensor, images: tf.Tensor, noise: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Log-likelihood of images, [B], nats summed over pixels and channels."""
        raise NotImplementedError


@keras.saving.register_keras_serializable(package="tfdm")
class Bernoulli(PixelLikelihood):
    """x * l - log(1 + e^l) for a pixel x in [0, 1] and a logit l (Appendix D).

    For binary pixels this is a log-probability. For continuous pixels e^log_prob is no density on
    [0, 1], and an ELBO built on it, the objective of the paper's VAEs, bounds no log-likelihood and
    compares with none. Appendix D calls the logit a mean in [0, 1].
    """

    def log_prob(
        self, parameters: tf.Tensor, images: tf.Tensor, noise: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Minus the binary cross entropy, [B], nats; `ValueError` where shapes differ."""
        del noise
        logits = at_least_float32(parameters, "parameters")
        pixels = _as_pixels(images, logits.dtype)
        require_rank(logits, 4, "parameters", "[B, H, W, C]")
        require_same_shape(parameters=logits, images=pixels)
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=pixels, logits=logits)
        return -tf.reduce_sum(losses, axis=[1, 2, 3])


@keras.saving.register_keras_serializable(package="tfdm")
class QuantizedNormal(PixelLikelihood):
    """Normal likelihood of dequantised levels, with a learned scale (Theis et al. 2016).

    A level v in 0..255 becomes x = (v + u) / 256 with u ~ U[0, 1), and

        log_prob = sum over the D pixels of log N(x; sigmoid(parameters), scale^2)  -  D log 256,

    nats on the 0..255 scale. By Jensen's inequality its expectation over u is a lower bound on the
    discrete log-likelihood, the sum of log P(v) with P(v) the normal mass of
    [v/256, (v + 1)/256]. With d the distance of the mean from the middle of that interval, the gap
    is close to (d / (256 scale^2))^2 / 24 nats a pixel when scale is well above 1/256. The noise
    alone has a standard deviation of 1.13e-3: the default floor of the scale does not bind.

    Args:
      image_shape: (H, W, C).
      scale_type: "global", one scale for all pixels, or "pixel", one for each and channel.
      initial_scale: standard deviation at the start, as a part of the pixel range [0, 1].
      minimum_scale: floor of the standard deviation, positive.

    Raises:
      ValueError: an argument is out of its range.
    """

    needs_noise = True

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        scale_type: str = "global",
        initial_scale: float = 0.1,
        minimum_scale: float = 1e-3,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if len(image_shape) != 3 or min(image_shape) < 1:
            raise ValueError(f"image_shape is {image_shape}, expected (height, width, channels)")
        if scale_type not in ("global", "pixel"):
            raise ValueError(f"scale_type is {scale_type!r}, expected 'global' or 'pixel'")
        if not 0.0 < minimum_scale < initial_scale < math.inf:
            raise ValueError(
                f"minimum_scale is {minimum_scale} and initial_scale {initial_scale}, "
                "expected 0 < minimum_scale < initial_scale"
            )
        self.image_shape = tuple(int(size) for size in image_shape)
        self.scale_type = scale_type
        self.initial_scale = float(initial_scale)
        self.minimum_scale = float(minimum_scale)
        excess = self.initial_scale - self.minimum_scale
        self.raw_scale = self.add_weight(
            name="raw_scale",
            shape=() if scale_type == "global" else self.image_shape,
            dtype="float32",
            initializer=keras.initializers.Constant(float(inverse_softplus(excess))),
            autocast=False,
        )

    @property
    def scale(self) -> tf.Tensor:
        """Standard deviation in pixel units [0, 1]: scalar ("global") or [H, W, C] ("pixel")."""
        raw_scale = tf.convert_to_tensor(self.raw_scale.value)
        return tf.nn.softplus(raw_scale) + self.minimum_scale

    def log_prob(
        self, parameters: tf.Tensor, images: tf.Tensor, noise: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Dequantised log-likelihood, [B], nats; `ValueError` where shapes differ, or no noise."""
        if noise is None:
            raise ValueError("noise is None, expected U[0, 1) noise of the shape of the images")
        location = self.mean(parameters)
        levels = _as_levels(images, location.dtype)
        noise = tf.cast(at_least_float32(noise, "noise"), location.dtype)
        require_same_shape(parameters=location, images=levels, noise=noise)
        if not location.shape[1:].is_compatible_with(self.image_shape):
            shape, expected = location.shape.as_list(), [None, *self.image_shape]
            raise ValueError(f"parameters have shape {shape}, expected {expected}")
        scale = tf.cast(self.scale, location.dtype)
        dequantized = (levels + noise) / NUM_LEVELS
        # One array over the pixels: the normaliser is as large as the scale, [] or [H, W, C].
        log_normalizer = tf.math.log(scale) + (0.5 * math.log(2.0 * math.pi) + math.log(NUM_LEVELS))
        losses = 0.5 * tf.square((dequantized - location) / scale) + log_normalizer
        return -tf.reduce_sum(losses, axis=[1, 2, 3])

    def get_config(self) -> dict[str, Any]:
        names = ("scale_type", "initial_scale", "minimum_scale")
        own = {"image_shape": list(self.image_shape), **{n: getattr(self, n) for n in names}}
        return {**super().get_config(), **own}


def _as_pixels(images: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Levels 0..255 or pixels in [0, 1] as pixels in [0, 1]."""
    images = tf.convert_to_tensor(images)
    pixels = tf.cast(images, dtype)
    return pixels / (NUM_LEVELS - 1) if images.dtype.is_integer else pixels


def _as_levels(images: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Levels 0..255 or pixels in [0, 1] as levels 0..255."""
    images = tf.convert_to_tensor(images)
    values = tf.cast(images, dtype)
    return values if images.dtype.is_integer else tf.round(values * (NUM_LEVELS - 1))

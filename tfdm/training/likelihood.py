"""What the models share whose generator gives the parameters of a pixel likelihood p(x|z)."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfdm.distributions.pixels import Bernoulli, PixelLikelihood, QuantizedNormal
from tfdm.training.inference import InferenceModel
from tfdm.training.noise import StepNoise


class LikelihoodModel(InferenceModel):
    """An inference model with a `likelihood`; its configuration names it and its scale sharing."""

    generator_activation = "linear"
    likelihood: PixelLikelihood
    config: Any

    def pixel_likelihood(self) -> PixelLikelihood:
        """Returns a new likelihood, by the fields `likelihood` and `scale_sharing`."""
        if self.config.likelihood == "quantized_normal":
            return QuantizedNormal(self.image_shape, scale_type=self.config.scale_sharing)
        return Bernoulli()

    def log_likelihood(
        self, images: tf.Tensor, parameters: tf.Tensor, noise: StepNoise
    ) -> tf.Tensor:
        """Returns the mean of log p(x|z) over images in [-1, 1] [B, H, W, C], nats an image.

        `parameters` are the generator's outputs [B, H, W, C].
        """
        pixels, dequantization = (images + 1.0) / 2.0, None
        if self.likelihood.needs_noise:
            dequantization = noise.uniform("dequantization", list(self.image_shape))
        return tf.reduce_mean(self.likelihood.log_prob(parameters, pixels, dequantization))

    def to_unit_range(self, outputs: tf.Tensor) -> tf.Tensor:
        """Maps the generator's outputs to the mean image of the likelihood, in [0, 1]."""
        return self.likelihood.mean(outputs)

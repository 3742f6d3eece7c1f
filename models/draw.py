"""Convolutional DRAW (Gregor et al., 2015 and 2016; Table 1, section 4.1).

An encoder and a decoder take T turns at a canvas c. With ĉ the canvas's mean image, at step t

    h^e_t = LSTM^e(x, x − ĉ_{t−1}, h^d_{t−1}, h^e_{t−1})     reads the error image
    z_t   ~ q(z_t|z_<t, x) = N(loc, scale²) of h^e_t
    h^d_t = LSTM^d(z_t, ĉ_{t−1}, h^d_{t−1})
    c_t   = c_{t−1} + W h^d_t                                draws

and p(x|z) has the parameters c_T. The posterior is auto-regressive over the steps, and so is the
prior where it is learned, from h^d_{t−1}. Given the path, the KL of a step is known exactly:

    bound = E log p(x|z) − Σ_t E KL[q(z_t|z_<t, x) ‖ p(z_t|z_<t)],  in nats an image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import keras
import tensorflow as tf

from tfdm.distributions.priors import Prior, StandardNormal
from tfdm.distributions.stepwise import Choose, StepwisePosterior, Walk, gaussian_kl
from tfdm.models.config import DRAWConfig
from tfdm.networks.draw import DecoderState, DrawDecoder, DrawEncoder, DrawSizes
from tfdm.numerics import ordered_sum
from tfdm.training.likelihood import LikelihoodModel
from tfdm.training.model import batch_size
from tfdm.training.noise import StepNoise
from tfdm.training.players import Terms


@keras.saving.register_keras_serializable(package="tfdm")
class DRAW(LikelihoodModel):
    """Convolutional DRAW; one player: autoencoder.

    A code is the vector of all steps, the first step's latents first. The Bernoulli likelihood on
    continuous pixels gives no normalised bound (Appendix D); with the quantized normal the bound
    is one on the log-likelihood of the levels 0..255, and is logged in bits a dimension too.

    With a moving average of the decoder, samples and the learned prior are those of the average.
    """

    config: DRAWConfig
    config_class = DRAWConfig
    encoder_kind = "autoregressive"

    def build_networks(self) -> None:
        """Creates both cells and the likelihood."""
        config = self.config
        dtype = self.dtype_policy
        self.sizes = DrawSizes(
            self.image_shape,
            config.num_steps,
            config.latent_maps,
            max(1, round(config.hidden_maps * config.width)),
            config.kernel_size,
        )
        self.encoder = DrawEncoder(self.sizes, self.seed, name="encoder", dtype=dtype)
        self.generator = DrawDecoder(
            self.sizes, self.has_learned_prior, self.seed, name="generator", dtype=dtype
        )
        self.likelihood = self.pixel_likelihood()
        networks = [self.encoder, self.generator, self.likelihood]
        self.add_player("autoencoder", networks, config.learning_rate)

    @property
    def has_learned_prior(self) -> bool:
        """Whether p(z_t|z_<t) is learned from the decoder's state."""
        return self.config.prior == "autoregressive"

    @property
    def own_prior(self) -> Prior:
        """p(z): the standard normal, or the density that the decoder carries."""
        return self.sampler if self.has_learned_prior else super().own_prior

    def player_losses(
        self, images: tf.Tensor, noise: StepNoise, training: bool
    ) -> tuple[Terms, Terms]:
        """The negative bound; the KL of every step is logged."""
        by_step = tf.split(self.posterior_noise(noise), self.sizes.num_steps, axis=-1)
        codes: list[tf.Tensor] = []
        kls: list[tf.Tensor] = []

        def draw(step: int, loc: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
            codes.append(loc + scale * by_step[step])
            return codes[-1]

        for state, posterior, prior in self.steps(images, draw):
            kls.append(tf.reduce_mean(tf.reduce_sum(gaussian_kl(*posterior, *prior), axis=-1)))
            canvas = state.canvas
        log_likelihood = self.log_likelihood(images, canvas, noise)
        kl = ordered_sum(kls) + self.kl_correction(tf.concat(codes, axis=-1))
        bound = log_likelihood - kl
        terms = {"bound": bound, "log_likelihood": log_likelihood, "kl": kl}
        terms |= {f"kl_step_{step:02d}": value for step, value in enumerate(kls, start=1)}
        if self.likelihood.needs_noise:
            terms["bits_per_dimension"] = -bound / (math.prod(self.image_shape) * math.log(2.0))
        return {"autoencoder": -bound}, terms

    def kl_correction(self, codes: tf.Tensor) -> tf.Tensor:
        """What a prior of one's own adds to the KL from N(0, I), estimated at codes [B, L]."""
        if self.has_learned_prior or type(self.prior) is StandardNormal:
            return tf.constant(0.0)
        standard = StandardNormal(self.latent_dim)
        return tf.reduce_mean(standard.log_prob(codes) - self.prior.log_prob(codes))

    def steps(
        self, images: tf.Tensor, choose: Choose
    ) -> Iterator[tuple[DecoderState, tuple[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
        """Takes the T steps of images [B, H, W, C] in [-1, 1].

        Args:
          images: what the encoder reads.
          choose: (step, loc, scale of q(z_t|z_<t, x)) -> the step's codes z_t [B, S].

        Yields:
          After each step the decoder's state, and loc and scale of q(z_t|z_<t, x) and of
          p(z_t|z_<t).
        """
        num = batch_size(images)
        reading, drawn = self.encoder.start(num), self.generator.start(num)
        for step in range(self.sizes.num_steps):
            reading = self.encoder.step(images, drawn, reading)
            posterior, prior = self.encoder.posterior(reading), self.generator.prior(drawn)
            drawn = self.generator.step(choose(step, *posterior), drawn)
            yield drawn, posterior, prior

    def infer(self, images: tf.Tensor, training: bool) -> StepwisePosterior:
        """Returns q(z|x); every pass over codes takes the T steps, with drawn or given codes."""

        def walk_of(copies: int) -> Walk:
            def walk(choose: Choose) -> None:
                for _ in self.steps(tf.tile(images, [copies, 1, 1, 1]), choose):
                    pass

            return walk

        return StepwisePosterior(walk_of, batch_size(images), self.latent_dim, self.sizes.num_steps)

    def canvases(self, codes: tf.Tensor) -> tf.Tensor:
        """Codes [n, L] -> the mean images after each step, [n, T, H, W, C] in [0, 1]."""
        canvases = [self.to_unit_range(canvas) for canvas in self.sampler.canvases(codes)]
        return tf.stack(canvases, axis=1)

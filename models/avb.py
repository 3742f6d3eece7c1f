"""Adversarial variational Bayes (Mescheder et al., 2017; section 6.1, Appendix J, Figure 17).

The posterior is implicit, ẑ = f(x, ε): it can be sampled, but has no density. An adversary tells
pairs (x, z), z ~ p(z), label 1, from pairs (x, ẑ), label 0. Minus its logit is

    T(x, z) = log q(z|x) − log p(z)   at the optimum,   and   bound = E log p(x|ẑ) − E T(x, ẑ)

is maximised by encoder and decoder. T is fixed for them: E_q ∇ log q(z|x) = 0. With log p(z) as a
term of T, T = s(x, z) − log p(z), the network s has to learn log q(z|x) alone.

With the adaptive contrast, μ and σ are the moments of q(z|x) over ε, r(z|x) = N(μ, σ²), and T tells
z̃ = (ẑ − μ) / σ from N(0, I), which is easier where q(z|x) is far from p(z). For any μ and σ,

    KL[q(z|x) ‖ p(z)] = E T(x, z̃) + E log r(ẑ|x) − E log p(ẑ).

Those of K codes are random and T does not see them: the KL comes out low by about L / K nats.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from tfdm.distributions.posteriors import GaussianPosterior
from tfdm.distributions.priors import Prior, StandardNormal
from tfdm.losses import discriminator_accuracy, discriminator_loss
from tfdm.models.config import AVBConfig
from tfdm.training.likelihood import LikelihoodModel
from tfdm.training.noise import StepNoise
from tfdm.training.players import Terms

# Below it a posterior without variance would send the standardised codes to infinity.
MINIMUM_VARIANCE = 1e-4


@keras.saving.register_keras_serializable(package="tfdm")
class AVB(LikelihoodModel):
    """Adversarial variational Bayes; players: autoencoder, adversary.

    `bound_estimate` and `kl_estimate` are by T, in nats an image: only as good as T, and no bounds
    where T is not the optimum. The Bernoulli likelihood gives no normalised bound (Appendix D).
    """

    config: AVBConfig
    config_class = AVBConfig
    encoder_kind = "implicit"

    def build_networks(self) -> None:
        config = self.config
        self.encoder = self.encoder_network()
        self.generator = self.generator_network()
        self.adversary = self.joint_network("adversary", config.head_maps)
        self.likelihood = self.pixel_likelihood()
        networks = [self.encoder, self.generator, self.likelihood, *self.prior_networks()]
        self.add_player("autoencoder", networks, config.learning_rate)
        self.add_player("adversary", [self.adversary], config.adversary_learning_rate)

    def player_losses(
        self, images: tf.Tensor, noise: StepNoise, training: bool
    ) -> tuple[Terms, Terms]:
        """Minus the bound by T, and the cross entropy of T, whose logits are −T."""
        codes = self.infer(images, training).from_noise(self.posterior_noise(noise))
        if self.config.adaptive_contrast:
            contrast = self.moments(images, noise, training)
            reference: Prior = StandardNormal(self.latent_dim)
            judged = (codes - contrast.loc) / contrast.scale
            against = noise.normal("contrast", [self.latent_dim])
            known = contrast.log_prob(codes) - self.prior.log_prob(codes)
        else:
            reference, judged, against = self.prior, codes, self.prior_codes(noise)
            known = tf.constant(0.0)
        ratios = self.log_ratio(images, judged, reference, training)
        reference_ratios = self.log_ratio(images, against, reference, training)
        parameters = self.generator(codes, training=training)
        log_likelihood = self.log_likelihood(images, parameters, noise)
        kl = tf.reduce_mean(ratios + known)
        losses = {
            "autoencoder": kl - log_likelihood,
            "adversary": discriminator_loss(-reference_ratios, -ratios),
        }
        terms = {
            "bound_estimate": log_likelihood - kl,
            "log_likelihood": log_likelihood,
            "kl_estimate": kl,
            "adversary_accuracy": discriminator_accuracy(-reference_ratios, -ratios),
        }
        return losses, terms

    def log_ratio(
        self, images: tf.Tensor, codes: tf.Tensor, reference: Prior, training: bool
    ) -> tf.Tensor:
        """T(x, z) [B], nats, of images [B, H, W, C] and codes [B, L] set against `reference`."""
        outputs = self.adversary([images, codes], training=training)
        if self.config.log_prior_in_adversary:
            return outputs - reference.log_prob(codes)
        return outputs

    def moments(self, images: tf.Tensor, noise: StepNoise, training: bool) -> GaussianPosterior:
        """Returns r(z|x), with the moments of q(z|x) over noise; it sends no gradient back."""
        number = self.config.contrast_samples
        drawn = noise.normal("moments", [number, self.noise_dim])
        copies = tf.repeat(images, number, axis=0)
        posterior = self.infer(copies, training)
        codes = posterior.from_noise(tf.reshape(drawn, posterior.noise_shape))
        loc, variance = tf.nn.moments(tf.reshape(codes, [-1, number, self.latent_dim]), axes=[1])
        scale = tf.sqrt(variance + MINIMUM_VARIANCE)
        return GaussianPosterior(tf.stop_gradient(loc), tf.stop_gradient(scale))

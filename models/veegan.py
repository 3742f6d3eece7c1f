"""VEEGAN (Srivastava et al., 2017; section 6.2, eq. 14, Table 8).

A joint discriminator T tells pairs of data (x, F(x)), label 1, from pairs of the model
(G(z), z), label 0. Its logit is log p_γ(z|x) p*(x) − log p_θ(x|z) p(z), and with it the bound

    KL[p_θ(x|z) p(z) ‖ p_γ(z|x) p*(x)] − E log p(z) + E |z − F(G(z))|₁     (eq. 14)

is minimised by the generator G_θ and the reconstructor F_γ.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from tfdm.distributions.priors import prior_entropy
from tfdm.losses import (
    discriminator_accuracy,
    discriminator_loss,
    kl_from_model_logits,
    reconstruction_error,
)
from tfdm.models.config import VEEGANConfig
from tfdm.networks.batch_norm import kept_averages
from tfdm.numerics import ordered_sum
from tfdm.training.inference import InferenceModel
from tfdm.training.noise import StepNoise
from tfdm.training.players import Terms


@keras.saving.register_keras_serializable(package="tfdm")
class VEEGAN(InferenceModel):
    """VEEGAN; players: generator, reconstructor (F, the `encoder`), discriminator."""

    config: VEEGANConfig
    config_class = VEEGANConfig

    def build_networks(self) -> None:
        config = self.config
        self.generator = self.generator_network()
        self.encoder = self.encoder_network()
        self.discriminator = self.joint_network("discriminator", config.head_maps)
        self.add_player("generator", [self.generator], config.learning_rate)
        self.add_player("reconstructor", [self.encoder], config.learning_rate)
        self.add_player("discriminator", [self.discriminator], config.discriminator_learning_rate)

    def player_losses(
        self, images: tf.Tensor, noise: StepNoise, training: bool
    ) -> tuple[Terms, Terms]:
        """The terms of eq. 14 for generator and reconstructor, the cross entropy of T."""
        config = self.config
        codes = self.prior_codes(noise)
        samples = self.generator(codes, training=training)
        data_codes = self.infer(images, training).from_noise(self.posterior_noise(noise))
        sample_noise = self.posterior_noise(noise, "reconstruction")
        with kept_averages(self.encoder, training):  # Inference encodes data.
            sample_codes = self.infer(samples, training).from_noise(sample_noise)
        data_logits = self.discriminator([images, data_codes], training=training)
        model_logits = self.discriminator([samples, codes], training=training)

        errors = reconstruction_error(codes, sample_codes, "l1", config.reconstruction_reduction)
        code_error = tf.reduce_mean(errors)
        joint_kl = kl_from_model_logits(model_logits)
        reconstruction = config.code_reconstruction_weight * code_error
        # On data pairs the reconstructor would lower the ratio that the discriminator raises.
        adversarial = config.reconstructor_adversarial_weight * tf.reduce_mean(data_logits)
        losses = {
            "generator": joint_kl + reconstruction,
            "reconstructor": reconstruction + adversarial,
            "discriminator": discriminator_loss(data_logits, model_logits),
        }
        # Eq. 14 has the plain L1 norm, whatever the weight and reduction of the loss.
        l1_norm = tf.reduce_mean(reconstruction_error(codes, sample_codes, "l1", "sum"))
        terms = {
            "bound": ordered_sum([joint_kl, prior_entropy(self.prior, codes), l1_norm]),
            "joint_kl_estimate": joint_kl,
            "code_reconstruction_error": code_error,
            "discriminator_accuracy": discriminator_accuracy(data_logits, model_logits),
        }
        return losses, terms

"""Adversarially learned inference (Dumoulin et al., 2017), or BiGAN (Donahue et al., 2017).

A joint discriminator D tells pairs of data (x, E(x)), label 1, from pairs of the model (G(z), z),
label 0. Its logit is log q(z|x) p*(x) − log p_θ(x|z) p(z). Encoder and generator want each other's
label for their own pairs; there is no reconstruction error:

    encoder         −log(1 − D(x, ẑ)),  ẑ ~ q(z|x)
    generator       −log D(G(z), z),    z ~ p(z)
    discriminator   −log D(x, ẑ) − log(1 − D(G(z), z))

The encoder of BiGAN is deterministic, that of ALI a Gaussian.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from tfdm.losses import (
    discriminator_accuracy,
    discriminator_loss,
    fake_cross_entropy,
    kl_from_model_logits,
    non_saturating_loss,
)
from tfdm.models.config import ALIConfig
from tfdm.training.inference import InferenceModel
from tfdm.training.noise import StepNoise
from tfdm.training.players import Terms


@keras.saving.register_keras_serializable(package="tfdm")
class ALI(InferenceModel):
    """ALI or BiGAN; players: encoder, generator, discriminator."""

    config: ALIConfig
    config_class = ALIConfig

    def build_networks(self) -> None:
        config = self.config
        self.encoder = self.encoder_network()
        self.generator = self.generator_network()
        self.discriminator = self.joint_network("discriminator", config.head_maps)
        self.add_player("encoder", [self.encoder], config.learning_rate)
        self.add_player("generator", [self.generator], config.learning_rate)
        self.add_player("discriminator", [self.discriminator], config.discriminator_learning_rate)

    def player_losses(
        self, images: tf.Tensor, noise: StepNoise, training: bool
    ) -> tuple[Terms, Terms]:
        """The cross entropy of D, and that of the swapped labels for encoder and generator."""
        codes = self.infer(images, training).from_noise(self.posterior_noise(noise))
        prior_codes = self.prior_codes(noise)
        samples = self.generator(prior_codes, training=training)
        data_logits = self.discriminator([images, codes], training=training)
        model_logits = self.discriminator([samples, prior_codes], training=training)
        losses = {
            "encoder": tf.reduce_mean(fake_cross_entropy(data_logits)),
            "generator": tf.reduce_mean(non_saturating_loss(model_logits)),
            "discriminator": discriminator_loss(data_logits, model_logits),
        }
        terms = {
            "joint_kl_estimate": kl_from_model_logits(model_logits),
            "discriminator_accuracy": discriminator_accuracy(data_logits, model_logits),
        }
        return losses, terms

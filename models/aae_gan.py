"""AAE-GAN: AAE++ whose samples are judged too (eq. 11, Algorithm 4; Rosca et al., 2017).

To the losses of AAE++ come the terms on samples x̃ = G(z), z ~ p(z):

    generator       λ_g |x − x̂|₁ + R_D(x̂) + R_D(x̃)
    discriminator   −2 log D(x) − log(1 − D(x̂)) − log(1 − D(x̃))

With the factor 2 (Algorithm 4, step 8) D compares the data with the equal mixture of
reconstructions and samples; a factor 1 would shift the log-ratio by log 2.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from tfdm.losses import discriminator_loss, fake_accuracy, kl_from_model_logits, real_accuracy
from tfdm.models.aae_plus_plus import AAEPlusPlus
from tfdm.models.config import AAEGANConfig
from tfdm.training.players import Terms


@keras.saving.register_keras_serializable(package="tfdm")
class AAEGAN(AAEPlusPlus):
    """AAE-GAN; players: encoder, generator, discriminator, code_discriminator."""

    config: AAEGANConfig
    config_class = AAEGANConfig

    def data_game(
        self, images: tf.Tensor, reconstructions: tf.Tensor, prior_codes: tf.Tensor, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor, Terms]:
        """Returns R_D(x̂) + R_D(x̃), the loss of D with both as fake, and terms to log."""
        samples = self.generator(prior_codes, training=training)
        logits = self.discriminator(images, training=training)
        reconstruction_logits = self.discriminator(reconstructions, training=training)
        sample_logits = self.discriminator(samples, training=training)
        reconstruction_adversarial = kl_from_model_logits(reconstruction_logits)
        sample_adversarial = kl_from_model_logits(sample_logits)
        # log D(x) enters once with each kind of fake: the factor 2.
        fakes = reconstruction_logits, sample_logits
        discriminator = tf.add_n([discriminator_loss(logits, fake) for fake in fakes])
        accuracies = [real_accuracy(logits) * 2.0, *map(fake_accuracy, fakes)]
        terms = {
            "reconstruction_adversarial": reconstruction_adversarial,
            "sample_adversarial": sample_adversarial,
            "discriminator_accuracy": tf.add_n(accuracies) / 4.0,
        }
        return reconstruction_adversarial + sample_adversarial, discriminator, terms

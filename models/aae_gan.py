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

from tfdm.models.aae_plus_plus import AAEPlusPlus
from tfdm.models.config import AAEGANConfig
from tfdm.networks.batch_norm import kept_averages


@keras.saving.register_keras_serializable(package="tfdm")
class AAEGAN(AAEPlusPlus):
    """AAE-GAN; players: encoder, generator, discriminator, code_discriminator."""

    config: AAEGANConfig
    config_class = AAEGANConfig

    def decode_in_training(self, codes: tf.Tensor, training: bool) -> tf.Tensor:
        """Returns x̂; the averages of the generator are those of the samples x̃."""
        with kept_averages(self.generator, training):
            return super().decode_in_training(codes, training)

    def fakes(
        self, reconstructions: tf.Tensor, prior_codes: tf.Tensor, training: bool
    ) -> dict[str, tf.Tensor]:
        """Returns x̂ and x̃ by name."""
        samples = self.generator(prior_codes, training=training)
        return super().fakes(reconstructions, prior_codes, training) | {"sample": samples}

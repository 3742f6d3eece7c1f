"""AAE++: an adversarial autoencoder whose reconstructions are judged too (eq. 10).

Algorithm 4 without its terms on samples. With ẑ ~ q(z|x), x̂ = G(ẑ), the code discriminator C
(1 = prior), the data discriminator D (1 = data), and R = −logit the density-ratio estimate of
log q(z) − log p(z) or log p_θ(x̂) − log p*(x):

    encoder              λ_e |x − x̂|₁ + R_C(ẑ)
    generator            λ_g |x − x̂|₁ + R_D(x̂)
    discriminator        −log D(x) − log(1 − D(x̂))
    code discriminator   −log C(z) − log(1 − C(ẑ)),  z ~ p(z)
"""

from __future__ import annotations

import keras
import tensorflow as tf

from tfdm.losses import (
    discriminator_accuracy,
    discriminator_loss,
    fake_accuracy,
    kl_from_model_logits,
    real_accuracy,
    reconstruction_error,
)
from tfdm.models.config import AAEPlusPlusConfig
from tfdm.numerics import ordered_sum
from tfdm.training.inference import InferenceModel
from tfdm.training.model import loss_terms
from tfdm.training.noise import StepNoise
from tfdm.training.players import Terms, update_players


@keras.saving.register_keras_serializable(package="tfdm")
class AAEPlusPlus(InferenceModel):
    """AAE++; players: encoder, generator, discriminator, code_discriminator."""

    config: AAEPlusPlusConfig
    config_class = AAEPlusPlusConfig

    def build_networks(self) -> None:
        config = self.config
        self.encoder = self.encoder_network()
        self.generator = self.generator_network()
        self.discriminator = self.discriminator_network()
        self.code_discriminator = self.code_discriminator_network()
        self.add_player("encoder", [self.encoder], config.learning_rate)
        self.add_player("generator", [self.generator], config.learning_rate)
        self.add_player("discriminator", [self.discriminator], config.discriminator_learning_rate)
        rate = config.code_discriminator_learning_rate
        self.add_player("code_discriminator", [self.code_discriminator], rate)

    def update(self, images: tf.Tensor, noise: StepNoise) -> Terms:
        """Moves all players at once, or each after a forward pass of its own (Algorithm 4)."""
        if self.config.updates == "simultaneous":
            return super().update(images, noise)
        logs: Terms = {}
        for player in self.players:
            with tf.GradientTape(persistent=True) as tape:
                losses, terms = self.player_losses(images, noise, training=True)
            update_players(tape, [player], losses)
            logs = loss_terms({player.name: losses[player.name]}) | terms | logs
        return logs

    def player_losses(
        self, images: tf.Tensor, noise: StepNoise, training: bool
    ) -> tuple[Terms, Terms]:
        """The losses of the four players from one encoding ẑ and one reconstruction x̂."""
        config = self.config
        codes = self.infer(images, training).from_noise(self.posterior_noise(noise))
        reconstructions = self.decode_in_training(codes, training)
        prior_codes = self.prior_codes(noise)
        prior_logits = self.code_discriminator(prior_codes)
        code_logits = self.code_discriminator(codes)
        reduction = config.reconstruction_reduction
        l1 = tf.reduce_mean(reconstruction_error(images, reconstructions, "l1", reduction))
        code_kl = kl_from_model_logits(code_logits)

        fakes = self.fakes(reconstructions, prior_codes, training)
        generator_adversarial, discriminator, terms = self.data_game(images, fakes, training)
        losses = {
            "encoder": config.encoder_reconstruction_weight * l1 + code_kl,
            "generator": config.generator_reconstruction_weight * l1 + generator_adversarial,
            "discriminator": discriminator,
            "code_discriminator": discriminator_loss(prior_logits, code_logits),
        }
        terms |= {
            "reconstruction_l1": l1,
            "code_kl_estimate": code_kl,
            "code_discriminator_accuracy": discriminator_accuracy(prior_logits, code_logits),
        }
        return losses, terms

    def decode_in_training(self, codes: tf.Tensor, training: bool) -> tf.Tensor:
        """Returns the reconstructions x̂ in [-1, 1] [B, H, W, C] of codes ẑ [B, L]."""
        return self.generator(codes, training=training)

    def fakes(
        self, reconstructions: tf.Tensor, prior_codes: tf.Tensor, training: bool
    ) -> dict[str, tf.Tensor]:
        """Returns the images that are fake to D, by name, in [-1, 1] [B, H, W, C]."""
        del prior_codes, training
        return {"reconstruction": reconstructions}

    def data_game(
        self, images: tf.Tensor, fakes: dict[str, tf.Tensor], training: bool
    ) -> tuple[tf.Tensor, tf.Tensor, Terms]:
        """Returns the sum of R_D over the fakes, the loss of D, and terms to log."""
        real = self.discriminator(images, training=training)
        logits = {n: self.discriminator(fake, training=training) for n, fake in fakes.items()}
        adversarial = {f"{n}_adversarial": kl_from_model_logits(fake) for n, fake in logits.items()}
        # log D(x) enters once with each kind of fake.
        losses = [discriminator_loss(real, fake) for fake in logits.values()]
        accuracies = [real_accuracy(real) * len(fakes), *map(fake_accuracy, logits.values())]
        accuracy = tf.add_n(accuracies) / (2.0 * len(fakes))
        terms = {**adversarial, "discriminator_accuracy": accuracy}
        return ordered_sum(adversarial.values()), tf.add_n(losses), terms

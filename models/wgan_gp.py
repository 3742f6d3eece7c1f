"""The Wasserstein GAN with gradient penalty (Gulrajani et al., 2017; Appendix K.1, K.3).

    critic:     E f(G(z)) − E f(x) + λ E (‖∇f(x̃)‖₂ − 1)²,  x̃ between x and G(z)
    generator:  −E f(G(z))

One training step is `critic_steps` updates of the critic, each on a batch and codes of its own,
and one update of the generator.
"""

from __future__ import annotations

import warnings

import keras
import tensorflow as tf

from tfdm.gradient_penalty import gradient_penalty
from tfdm.losses import wasserstein_critic_loss, wasserstein_generator_loss
from tfdm.models.config import WGANGPConfig
from tfdm.networks import images as image_networks
from tfdm.training.model import GenerativeModel, loss_terms
from tfdm.training.noise import StepNoise
from tfdm.training.players import Terms, update_players


@keras.saving.register_keras_serializable(package="tfdm")
class WGANGP(GenerativeModel):
    """WGAN-GP on the networks of Appendix K; players: critic, generator.

    A training step takes images [B, K, H, W, C] for K = `batches_per_step` critic steps; given
    [B, H, W, C], all of them see the same images.
    """

    config: WGANGPConfig
    config_class = WGANGPConfig

    def build_networks(self) -> None:
        config = self.config
        self.batches_per_step = config.critic_steps
        self.generator = self.generator_network()
        self.critic = self.discriminator_network("critic")
        self.add_player("critic", [self.critic], config.critic_learning_rate)
        self.add_player("generator", [self.generator], config.generator_learning_rate)

    def build_discriminator(self) -> keras.Model:
        """Returns the critic (Table 6, K.5.2)."""
        make, normalization = self.layers_of("critic"), self.config.critic_normalization
        return image_networks.discriminator(make, self.image_shape, normalization=normalization)

    def update(self, images: tf.Tensor, noise: StepNoise) -> Terms:
        """`critic_steps` updates of the critic, then one of the generator."""
        critic, generator = self.players
        steps = self.config.critic_steps
        if images.shape.rank == 4 and steps > 1:
            shape = f"[B, {steps}, H, W, C] are {steps} batches a step"
            words = f"all {steps} updates of the critic in a step see the same images: {shape}"
            warnings.warn(words, stacklevel=2)
        for index in range(steps):
            batch = images[:, index] if images.shape.rank == 5 else images
            with tf.GradientTape(persistent=True) as tape:
                critic_loss, terms = self.critic_loss(batch, noise, index)
            update_players(tape, [critic], {"critic": critic_loss})
        with tf.GradientTape(persistent=True) as tape:
            generator_loss = self.generator_loss(noise)
        update_players(tape, [generator], {"generator": generator_loss})
        return loss_terms({"critic": critic_loss, "generator": generator_loss}) | terms

    def player_losses(
        self, images: tf.Tensor, noise: StepNoise, training: bool
    ) -> tuple[Terms, Terms]:
        """The losses of one update of the critic and one of the generator, as evaluated."""
        del training
        batch = images[:, 0] if images.shape.rank == 5 else images
        critic_loss, terms = self.critic_loss(batch, noise, 0)
        return {"critic": critic_loss, "generator": self.generator_loss(noise)}, terms

    def critic_loss(
        self, images: tf.Tensor, noise: StepNoise, index: int
    ) -> tuple[tf.Tensor, Terms]:
        """The loss of the critic's update `index` on images [B, H, W, C], and its terms."""
        codes = self.prior_codes(noise, f"critic_codes_{index}")
        samples = tf.stop_gradient(self.generator(codes, training=True))
        scores = self.critic(images, training=True), self.critic(samples, training=True)
        distance_loss = wasserstein_critic_loss(*scores)
        weights = noise.uniform(f"interpolation_{index}", [])
        penalties = gradient_penalty(
            lambda between: self.critic(between, training=True), images, samples, weights
        )
        penalty = tf.reduce_mean(penalties)
        terms = {"wasserstein_estimate": -distance_loss, "gradient_penalty": penalty}
        return distance_loss + self.config.gradient_penalty * penalty, terms

    def generator_loss(self, noise: StepNoise) -> tf.Tensor:
        """−E f(G(z)), scalar."""
        codes = self.prior_codes(noise, "generator_codes")
        scores = self.critic(self.generator(codes, training=True), training=True)
        return tf.reduce_mean(wasserstein_generator_loss(scores))

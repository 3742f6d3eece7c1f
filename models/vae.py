"""The variational autoencoder, with the marginal KL term of Appendix B as an option.

Eq. 3, per example and in nats:

    ELBO = E_{q(z|x)} log p(x|z) − β KL[q(z|x) ‖ p(z)]

and with λ > 0 the objective of Appendix B, ELBO − λ KL[q(z) ‖ p(z)], whose last term a code
discriminator gives: its logit is log p(z) − log q(z), so KL[q(z) ‖ p(z)] ≈ E_{q(z)}[−logit].

p(z) is N(0, I) or learned: a VampPrior (Tomczak and Welling 2018) or a masked autoregressive flow.
The KL from a learned one has no closed form; log q(z|x) − log p(z) at the code estimates it.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from tfdm.distributions.masked_autoregressive_flow import MaskedAutoregressiveFlow
from tfdm.distributions.posteriors import kl_to_prior
from tfdm.distributions.priors import Prior
from tfdm.distributions.vamp import VampPrior
from tfdm.losses import discriminator_accuracy, discriminator_loss, kl_from_model_logits
from tfdm.models.config import VAEConfig
from tfdm.training.likelihood import LikelihoodModel
from tfdm.training.noise import StepNoise
from tfdm.training.players import Terms


@keras.saving.register_keras_serializable(package="tfdm")
class VAE(LikelihoodModel):
    """VAE with a diagonal Gaussian posterior; players: autoencoder (code_discriminator, prior).

    The Bernoulli likelihood on continuous pixels gives no normalised bound (Appendix D): its
    `bound` compares with itself alone. The one of the quantized normal is a lower bound on the
    log-likelihood of the levels 0..255, in nats an image.
    """

    config: VAEConfig
    config_class = VAEConfig
    encoder_kind = "gaussian"

    def build_prior(self) -> Prior:
        """Returns p(z), by the field `prior`."""
        config = self.config
        if config.prior == "vamp":
            shapes = self.latent_dim, self.image_shape
            return VampPrior(self.encoder, *shapes, config.num_pseudo_inputs, self.seed)
        if config.prior == "flow":
            sizes = config.num_flows, config.flow_layers, config.flow_width
            return MaskedAutoregressiveFlow(self.latent_dim, *sizes, self.seed)
        return super().build_prior()

    def build_networks(self) -> None:
        config = self.config
        self.encoder = self.encoder_network()
        self.generator = self.generator_network()
        self.likelihood = self.pixel_likelihood()
        networks = [self.encoder, self.generator, self.likelihood]
        learned = self.prior_networks()
        self.prior_plays = config.prior_player == "prior" and bool(learned)
        if not self.prior_plays:
            networks += learned
        self.add_player("autoencoder", networks, config.learning_rate)
        if self.prior_plays:
            # The encoder that a VampPrior shares stays with the autoencoder.
            own = [getattr(layer, "pseudo_inputs", layer) for layer in learned]
            self.add_player("prior", own, config.prior_learning_rate)
        if config.marginal_kl_weight > 0.0:
            self.code_discriminator = self.code_discriminator_network()
            rate = config.code_discriminator_learning_rate
            self.add_player("code_discriminator", [self.code_discriminator], rate)

    def player_losses(
        self, images: tf.Tensor, noise: StepNoise, training: bool
    ) -> tuple[Terms, Terms]:
        """−ELBO (eq. 3) plus λ KL[q(z) ‖ p(z)] (Appendix B), and the loss of each other player.

        `kl` is exact for N(0, I), else an estimate at one code an image; it is the prior's loss.
        """
        config = self.config
        posterior = self.infer(images, training)
        codes = posterior.from_noise(self.posterior_noise(noise))
        parameters = self.generator(codes, training=training)
        log_likelihood = self.log_likelihood(images, parameters, noise)
        kl = tf.reduce_mean(kl_to_prior(posterior, codes, self.prior))
        losses = {"autoencoder": config.beta * kl - log_likelihood}
        if self.prior_plays:
            losses["prior"] = kl
        terms = {"bound": log_likelihood - kl, "log_likelihood": log_likelihood, "kl": kl}
        if config.marginal_kl_weight == 0.0:
            return losses, terms

        prior_logits = self.code_discriminator(self.prior_codes(noise))
        logits = self.code_discriminator(codes)
        marginal_kl = kl_from_model_logits(logits)
        losses["autoencoder"] += config.marginal_kl_weight * marginal_kl
        losses["code_discriminator"] = discriminator_loss(prior_logits, logits)
        accuracy = discriminator_accuracy(prior_logits, logits)
        terms |= {"marginal_kl_estimate": marginal_kl, "code_discriminator_accuracy": accuracy}
        return losses, terms

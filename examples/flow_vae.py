"""A model of one's own: a VAE with a flow prior and two more losses, on 48x48 images.

    python scripts/train.py --register=examples/flow_vae.py --model=flow_vae \
        --dataset=image_folder --data_dir=photos --image_size=48 --steps=2000
"""

from __future__ import annotations

import dataclasses

import keras
import tensorflow as tf

import tfdm
from tfdm.distributions.masked_autoregressive_flow import MaskedAutoregressiveFlow
from tfdm.distributions.posteriors import kl_to_prior
from tfdm.fields import adam_rate, setting
from tfdm.networks.layers import sequential
from tfdm.training.config import ModelConfig
from tfdm.training.inference import InferenceModel
from tfdm.training.noise import StepNoise


@dataclasses.dataclass(frozen=True)
class FlowVAEConfig(ModelConfig):
    """Every field becomes a flag, a line of the help and a key of config.json."""

    learning_rate: float = adam_rate(1e-3, "encoder, generator and prior")
    edge_weight: float = setting(1.0, "coefficient of the error of edges", minimum=0.0)
    cycle_weight: float = setting(0.1, "coefficient of the error of codes", minimum=0.0)


@keras.saving.register_keras_serializable(package="examples")
class FlowVAE(InferenceModel):
    """VAE whose prior is a masked autoregressive flow; player: autoencoder."""

    config: FlowVAEConfig
    config_class = FlowVAEConfig
    encoder_kind = "gaussian"

    def build_prior(self) -> MaskedAutoregressiveFlow:
        """Returns p(z), which learns with the networks: any Keras layer that is a `Prior`."""
        return MaskedAutoregressiveFlow(self.latent_dim, 2, 1, 64, self.seed)

    def build_encoder(self) -> keras.Model:
        """Returns images [B, 48, 48, C] -> location and raw scale [B, 2L]."""
        make, images = self.layers_of("encoder"), keras.Input(self.image_shape)
        layers = [make.conv(make.scaled(32 << level), 4, 2) for level in range(3)]
        hidden = sequential(images, [step for conv in layers for step in (conv, make.relu())])
        ending = [keras.layers.Flatten(dtype=make.dtype), make.dense(2 * self.latent_dim)]
        return keras.Model(images, sequential(hidden, [*ending, make.output("linear")]))

    def build_generator(self) -> keras.Model:
        """Returns codes [B, L] -> images [B, 48, 48, C] in [-1, 1]."""
        make, codes = self.layers_of("generator"), keras.Input([self.latent_dim])
        start = [make.dense(6 * 6 * make.scaled(128)), make.relu()]
        hidden = sequential(codes, [*start, keras.layers.Reshape([6, 6, make.scaled(128)])])
        for maps in (make.scaled(64), make.scaled(32)):
            hidden = sequential(hidden, [make.transposed_conv(maps, 4, 2), make.relu()])
        ending = [make.transposed_conv(self.image_shape[-1], 4, 2), make.output("tanh")]
        return keras.Model(codes, sequential(hidden, ending))

    def build_networks(self) -> None:
        """Creates the networks and the only player."""
        self.encoder, self.generator = self.encoder_network(), self.generator_network()
        networks = [self.encoder, self.generator, *self.prior_networks()]
        self.add_player("autoencoder", networks, self.config.learning_rate)

    def player_losses(
        self, images: tf.Tensor, noise: StepNoise, training: bool
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """The VAE's loss by a sampled KL, an error of edges, and one of the codes of samples."""
        posterior = self.infer(images, training)
        codes = posterior.from_noise(self.posterior_noise(noise))
        outputs = self.generator(codes, training=training)
        prior_codes = self.prior_codes(noise)
        cycled = self.infer(self.generator(prior_codes, training=training), training).loc
        terms = {
            "reconstruction_error": _mean_square(images - outputs),
            "kl": tf.reduce_mean(kl_to_prior(posterior, codes, self.prior)),
            "edge_error": _mean_square(_edges(images) - _edges(outputs)),
            "cycle_error": _mean_square(cycled - prior_codes),
        }
        loss = terms["reconstruction_error"] + terms["kl"]
        loss += self.config.edge_weight * terms["edge_error"]
        loss += self.config.cycle_weight * terms["cycle_error"]
        return {"autoencoder": loss}, terms


def _mean_square(errors: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.square(errors)) / tf.cast(tf.shape(errors)[0], errors.dtype)


def _edges(images: tf.Tensor) -> tf.Tensor:
    return tf.concat([*tf.image.image_gradients(images)], axis=-1)


tfdm.register_model("flow_vae", FlowVAE, FlowVAEConfig, "VAE with a flow prior on 48x48 images")

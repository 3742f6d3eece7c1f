"""What a model is made of: hyperparameters, prior, networks and players.

Shapes: B batch, H W C image axes, L latent dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import keras

from tfdm.distributions.priors import Prior, StandardNormal
from tfdm.errors import did_you_mean
from tfdm.networks import images as image_networks
from tfdm.networks.code import code_discriminator
from tfdm.networks.layers import LayerFactory
from tfdm.training.adam import ADAM_EPSILON, FusedAdam
from tfdm.training.config import ModelConfig
from tfdm.training.hyperparameters import describe_constructor
from tfdm.training.networks import (
    Shape,
    checked_network,
    deserialize_networks,
    serialize_networks,
)
from tfdm.training.players import Player


class ModelParts(keras.Model):
    """The construction of a model; `GenerativeModel` documents arguments and attributes."""

    config_class: ClassVar[type[ModelConfig]]
    generator_activation: ClassVar[str] = "tanh"

    config: ModelConfig
    image_shape: tuple[int, int, int]
    seed: int
    networks: Mapping[str, keras.layers.Layer]
    optimizers: dict[str, keras.optimizers.Optimizer]
    players: tuple[Player, ...] = ()
    _network_names: tuple[str, ...] = ()
    _prior: Prior | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Shows the hyperparameters in the signature and the documentation of the class."""
        super().__init_subclass__(**kwargs)
        if hasattr(cls, "config_class"):
            describe_constructor(cls)

    @property
    def latent_dim(self) -> int:
        """L, the dimension of the codes."""
        return self.config.latent_dim

    @property
    def prior(self) -> Prior:
        """p(z)."""
        if self._prior is None:
            self._prior = self.build_prior()
        return self._prior

    # --- What a model adds ----------------------------------------------------------------

    def build_networks(self) -> None:
        """Creates the networks, `self.generator` among them, and the players."""
        raise NotImplementedError

    def build_prior(self) -> Prior:
        """Returns p(z), the standard normal (Appendix K.4).

        A learned one is a Keras layer, built, and belongs to a player as a network does. It is
        made when `build_networks` first asks for `prior`, and may share networks made before.
        """
        return StandardNormal(self.latent_dim)

    def build_generator(self) -> keras.Model:
        """Returns codes [B, L] -> images [B, H, W, C] (Table 7, K.5.2)."""
        make = self.layers_of("generator")
        return image_networks.generator(
            make, self.latent_dim, self.image_shape, self.generator_activation
        )

    def build_discriminator(self) -> keras.Model:
        """Returns images [B, H, W, C] -> logits [B] (Table 6, K.5.2)."""
        return image_networks.discriminator(self.layers_of("discriminator"), self.image_shape)

    def build_code_discriminator(self) -> keras.Model:
        """Returns codes [B, L] -> logits [B] (K.5.3)."""
        return code_discriminator(self.layers_of("code_discriminator"), self.latent_dim)

    # --- Pieces for `build_networks` ------------------------------------------------------

    def layers_of(self, name: str) -> LayerFactory:
        """Returns the factory of the layers of the network `name`."""
        return LayerFactory(
            name,
            seed=self.seed,
            width=self.config.width,
            batch_norm_momentum=self.config.batch_norm_momentum,
            dtype=self.dtype_policy,
        )

    def network(
        self,
        name: str,
        build: Callable[[], keras.layers.Layer],
        takes: Sequence[Shape],
        gives: Shape,
    ) -> keras.layers.Layer:
        """Returns the network that the caller gave under this name, else a new one.

        Args:
          name: the key in `networks`.
          build: makes the model's own.
          takes: the shapes of the inputs, without the batch.
          gives: the shape of the output, without the batch.

        Raises:
          ValueError: the network has other shapes.
        """
        self._network_names = (*self._network_names, name)
        made = self.networks[name] if name in self.networks else build()
        return checked_network(name, made, takes, gives)

    def generator_network(self) -> keras.layers.Layer:
        """The generator."""
        takes = [(self.latent_dim,)]
        return self.network("generator", self.build_generator, takes, self.image_shape)

    def discriminator_network(self, name: str = "discriminator") -> keras.layers.Layer:
        """The discriminator of images."""
        return self.network(name, self.build_discriminator, [self.image_shape], ())

    def code_discriminator_network(self) -> keras.layers.Layer:
        """The discriminator of codes."""
        takes = [(self.latent_dim,)]
        return self.network("code_discriminator", self.build_code_discriminator, takes, ())

    def prior_networks(self) -> list[keras.layers.Layer]:
        """The prior where it is learned, for the player that moves it; else nothing."""
        return [self.prior] if isinstance(self.prior, keras.layers.Layer) else []

    def add_player(
        self,
        name: str,
        networks: Sequence[keras.layers.Layer],
        rate: float | None = None,
        *,
        optimizer: keras.optimizers.Optimizer | None = None,
    ) -> None:
        """Adds a player.

        Args:
          name: the key of its loss.
          networks: what it moves.
          rate: the learning rate of an Adam of its own (Appendix K), a number or a schedule.
          optimizer: what moves it instead.

        Raises:
          ValueError: rate and optimiser are both given, or neither is.
        """
        if (rate is None) == (optimizer is None):
            raise ValueError(f"player {name!r} has rate {rate} and optimizer {optimizer}: give one")
        if optimizer is None:
            optimizer = FusedAdam(
                learning_rate=rate,
                beta_1=self.config.adam_beta_1,
                beta_2=self.config.adam_beta_2,
                epsilon=ADAM_EPSILON,
                name=f"{name}_adam",
            )
        player = Player(name, tuple(networks), optimizer)
        optimizer.build(player.variables)
        self.optimizers = {**self.optimizers, name: optimizer}
        self.players = (*self.players, player)

    def check_parts(self) -> None:
        """Checks what `build_networks` made.

        Raises:
          ValueError: a given network has no place here, the prior is over other codes, or no
            player moves a trainable variable.
        """
        if self.prior.latent_dim != self.latent_dim:
            expected = f"expected latent_dim = {self.latent_dim}"
            raise ValueError(f"the prior has codes of {self.prior.latent_dim} numbers, {expected}")
        for name in self.networks:
            if name not in self._network_names:
                hint = did_you_mean(name, self._network_names)
                raise ValueError(f"{type(self).__name__} has no network {name!r}: {hint}")
        moved = {id(variable) for player in self.players for variable in player.variables}
        idle = [v.path for v in self.trainable_variables if id(v) not in moved]
        if idle:
            more = f" and {len(idle) - 3} more" if len(idle) > 3 else ""
            shown = f"{', '.join(idle[:3])}{more}"
            raise ValueError(f"no player moves {shown}: add a player, or freeze the network")

    # --- Keras ----------------------------------------------------------------------------

    def build(self, input_shape: Any = None) -> None:
        """Does nothing: the networks are built with the model."""

    def get_config(self) -> dict[str, Any]:
        """Returns what makes the model again."""
        config = {
            **super().get_config(),
            "config": self.config.to_dict(),
            "image_shape": list(self.image_shape),
            "seed": self.seed,
        }
        return config | ({"networks": serialize_networks(self.networks)} if self.networks else {})

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Makes the model that `get_config` described."""
        with keras.saving.custom_object_scope(custom_objects or {}):
            if config.get("networks"):
                config = {**config, "networks": deserialize_networks(config["networks"])}
            return cls(**config)

"""What a model is made of: hyperparameters, prior, networks and players.

Shapes: B batch, H W C image axes, L latent dimension.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Self

import keras

from tfdm.distributions.densities import Density
from tfdm.distributions.priors import Prior, StandardNormal
from tfdm.errors import did_you_mean
from tfdm.networks import images as image_networks
from tfdm.networks.code import code_discriminator
from tfdm.networks.layers import LayerFactory
from tfdm.training.config import ModelConfig
from tfdm.training.keras_support import EpochMeans
from tfdm.training.networks import Shape, checked_network, copy_network
from tfdm.training.players import ADAM_EPSILON, Player
from tfdm.training.state import listed

# Weights are float32 in both; float16 would need its losses scaled.
PRECISIONS = ("float32", "mixed_bfloat16")
# What `keras.Model` takes itself.
_KERAS_OPTIONS = ("name", "dtype", "trainable", "autocast", "activity_regularizer")


class ModelParts(keras.Model):
    """The construction of a model; `GenerativeModel` documents arguments and attributes."""

    config_class: ClassVar[type[ModelConfig]]
    generator_activation: ClassVar[str] = "tanh"

    config: ModelConfig
    players: tuple[Player, ...] = ()
    generator: keras.layers.Layer
    generator_average: keras.layers.Layer | None = None
    fitted_prior: Density | None = None
    _network_names: tuple[str, ...] = ()
    _prior: Prior | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Shows the hyperparameters in the signature and the documentation of the class."""
        super().__init_subclass__(**kwargs)
        if hasattr(cls, "config_class"):
            _describe_constructor(cls)

    def __init__(
        self,
        config: ModelConfig | Mapping[str, Any] | None = None,
        image_shape: tuple[int, int, int] = (28, 28, 3),
        seed: int = 0,
        *,
        networks: Mapping[str, keras.layers.Layer] | None = None,
        fitted_prior: Density | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{name: kwargs.pop(name) for name in _KERAS_OPTIONS if name in kwargs})
        if self.dtype_policy.name not in PRECISIONS:
            expected = " or ".join(PRECISIONS)
            raise ValueError(f"dtype is {self.dtype_policy.name}, expected {expected}")
        asked = self.config_class.of(config, **kwargs)
        height, width, channels = image_shape
        if min(height, width, channels) < 1:
            raise ValueError(f"image_shape is {tuple(image_shape)}, expected (H, W, C) from 1")
        self.image_shape = (height, width, channels)
        self.config = asked.for_images(self.image_shape)
        self.seed = int(seed)
        # Keras tracks them where they are used, not behind a proxy.
        self.networks = MappingProxyType(dict(networks or {}))
        self.batches_per_step = 1
        self.optimizers: dict[str, keras.optimizers.Optimizer] = {}
        self.step = self._counter("step")
        self.first_bad_step = self._counter("first_bad_step")
        self.first_bad_term = self._counter("first_bad_term")
        self._means = EpochMeans()
        self.build_networks()
        self._check_parts()
        self.input_spec = keras.InputSpec(shape=(None, self.latent_dim))  # of `call`
        if self.config.ema_decay > 0.0:
            self.generator_average = copy_network(self.generator, [(self.latent_dim,)])
            self.generator_average.trainable = False
        if fitted_prior is not None:
            self._check_latents(fitted_prior)
            # Last, so that the variables before it are those of the model without it.
            self.fitted_prior = fitted_prior
            for variable in fitted_prior.variables:
                variable.trainable = False
        self.built = True

    def _counter(self, name: str) -> keras.Variable:
        options = {"initializer": "zeros", "trainable": False, "aggregation": "only_first_replica"}
        return self.add_weight(name=name, shape=(), dtype="int64", **options)

    @property
    def latent_dim(self) -> int:
        """L, the dimension of the codes."""
        return self.config.latent_dim

    @property
    def prior(self) -> Prior:
        """p(z) of samples: `fitted_prior` where there is one, else `own_prior`."""
        return self.own_prior if self.fitted_prior is None else self.fitted_prior

    @property
    def own_prior(self) -> Prior:
        """The p(z) that the model is trained with."""
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
        made when `build_networks` first asks for it, and may share networks made before.
        """
        return StandardNormal(self.latent_dim)

    def build_generator(self) -> keras.Model:
        """Returns codes [B, L] -> images [B, H, W, C] (Table 7, K.5.2)."""
        sizes, make = (self.latent_dim, self.image_shape), self.layers_of("generator")
        return image_networks.generator(make, *sizes, self.generator_activation)

    def build_discriminator(self) -> keras.Model:
        """Returns images [B, H, W, C] -> logits [B] (Table 6, K.5.2)."""
        return image_networks.discriminator(self.layers_of("discriminator"), self.image_shape)

    def build_code_discriminator(self) -> keras.Model:
        """Returns codes [B, L] -> logits [B] (K.5.3)."""
        return code_discriminator(self.layers_of("code_discriminator"), self.latent_dim)

    # --- Pieces for `build_networks` ------------------------------------------------------

    def layers_of(self, name: str) -> LayerFactory:
        """Returns the factory of the layers of the network `name`."""
        width, momentum = self.config.width, self.config.batch_norm_momentum
        return LayerFactory(name, self.seed, width, momentum, self.dtype_policy)

    def network(
        self, name: str, build: Callable[[], Any], takes: Sequence[Shape], gives: Shape
    ) -> keras.layers.Layer:
        """Returns the network that the caller gave under this name, else what `build` makes.

        It takes and gives these shapes, without the batch; `ValueError` where they are others.
        """
        self._network_names = (*self._network_names, name)
        made = self.networks[name] if name in self.networks else build()
        return checked_network(name, made, takes, gives)

    def generator_network(self) -> keras.layers.Layer:
        """Codes [B, L] -> images [B, H, W, C]."""
        codes = (self.latent_dim,)
        return self.network("generator", self.build_generator, [codes], self.image_shape)

    def discriminator_network(self, name: str = "discriminator") -> keras.layers.Layer:
        """Images [B, H, W, C] -> logits [B], under this name."""
        return self.network(name, self.build_discriminator, [self.image_shape], ())

    def code_discriminator_network(self) -> keras.layers.Layer:
        """Codes [B, L] -> logits [B]."""
        takes = [(self.latent_dim,)]
        return self.network("code_discriminator", self.build_code_discriminator, takes, ())

    def prior_networks(self) -> list[keras.layers.Layer]:
        """The model's own prior where it is learned, for the player that moves it; else nothing."""
        return [self.own_prior] if isinstance(self.own_prior, keras.layers.Layer) else []

    def add_player(
        self,
        name: str,
        networks: Sequence[keras.layers.Layer],
        rate: float | None = None,
        *,
        optimizer: keras.optimizers.Optimizer | None = None,
    ) -> None:
        """Adds the player of the loss `name`, which moves `networks`.

        `rate` is that of an Adam of its own (Appendix K), a number or a schedule; give either it or
        another `optimizer`.
        """
        if (rate is None) == (optimizer is None):
            raise ValueError(f"player {name!r} has rate {rate} and optimizer {optimizer}: give one")
        if optimizer is None:
            betas = self.config.adam_beta_1, self.config.adam_beta_2
            own = {"epsilon": ADAM_EPSILON, "name": f"{name}_adam"}
            optimizer = keras.optimizers.Adam(rate, *betas, **own)
        player = Player(name, tuple(networks), optimizer)
        optimizer.build(player.variables)
        self.optimizers = {**self.optimizers, name: optimizer}
        self.players = (*self.players, player)

    def _check_latents(self, prior: Prior) -> None:
        if prior.latent_dim != self.latent_dim:
            raise ValueError(
                f"the prior has codes of {prior.latent_dim} numbers, "
                f"expected latent_dim = {self.latent_dim}"
            )

    def _check_parts(self) -> None:
        self._check_latents(self.prior)
        for name in self.networks:
            if name not in self._network_names:
                hint = did_you_mean(name, self._network_names)
                raise ValueError(f"{type(self).__name__} has no network {name!r}: {hint}")
        moved = {id(variable) for player in self.players for variable in player.variables}
        idle = [v.path for v in self.trainable_variables if id(v) not in moved]
        if idle:
            raise ValueError(f"no player moves {listed(idle)}: add a player, or freeze the network")

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
        if self.networks:
            config["networks"] = keras.saving.serialize_keras_object(dict(self.networks))
        if self.fitted_prior is not None:
            config["fitted_prior"] = keras.saving.serialize_keras_object(self.fitted_prior)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Makes the model that `get_config` described."""
        with keras.saving.custom_object_scope(custom_objects or {}):
            objects: dict[str, Any] = {
                name: keras.saving.deserialize_keras_object(config[name])
                for name in ("networks", "fitted_prior")
                if name in config
            }
            return cls(**{**config, **objects})


def _describe_constructor(model_class: Any) -> None:
    """Puts the hyperparameters in place of `**kwargs`, and into the documentation."""
    fields = dataclasses.fields(model_class.config_class)
    _, *parameters = inspect.signature(model_class.__init__).parameters.values()
    if parameters and parameters[-1].kind is inspect.Parameter.VAR_KEYWORD:
        given = {parameter.name for parameter in parameters}
        shown = [*((f.name, f.default, f.type) for f in fields), ("dtype", None, "Any")]
        first = next((i for i, p in enumerate(parameters) if p.kind is p.KEYWORD_ONLY), -1)
        parameters[first:] = [
            *(
                inspect.Parameter(
                    name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=of
                )
                for name, default, of in shown
                if name not in given
            ),
            *parameters[first:-1],
        ]
    model_class.__signature__ = inspect.Signature(parameters)
    text = inspect.cleandoc(model_class.__dict__.get("__doc__") or model_class.__name__)
    lines = [f"  {f.name}: {f.metadata.get('help', '')} ({f.default})" for f in fields]
    model_class.__doc__ = "\n".join([text, "", "Hyperparameters (default):", *lines])

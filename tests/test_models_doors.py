"""What a model of one's own replaces: networks, prior, posterior, optimisers, hyperparameters."""

from __future__ import annotations

import dataclasses
import inspect
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.model_cases import (
    BATCH_SIZE,
    IMAGE_SHAPE,
    LATENT_DIM,
    OPTIONS,
    FixedNoise,
    all_variables,
    assert_same,
    small_batches,
    small_images,
    small_model,
    values,
)
from tfdm.distributions.masked_autoregressive_flow import MaskedAutoregressiveFlow
from tfdm.distributions.priors import StandardNormal
from tfdm.experiments.export import export_model
from tfdm.fields import setting
from tfdm.models.aae import AAE
from tfdm.models.config import AAEConfig, VAEConfig
from tfdm.models.registry import MODELS
from tfdm.models.vae import VAE
from tfdm.training.networks import copy_network
from tfdm.training.state import capture_state, restore_state

every_model = pytest.mark.parametrize("name", sorted(MODELS))
SHAPE = (6, 10, 2)


# --- Networks -------------------------------------------------------------------------------


@keras.saving.register_keras_serializable(package="tests")
class OwnNetwork(keras.Model):
    """Inputs of any shapes -> [B, *gives]; subclassed, so that Keras does not know its layers."""

    def __init__(self, gives: list[int], activation: str = "linear", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.gives, self.activation = tuple(gives), activation
        self.hidden = keras.layers.Dense(8, "tanh", kernel_initializer=self._initial(1))
        self.norm = keras.layers.BatchNormalization()
        self.outputs_ = keras.layers.Dense(
            int(np.prod(gives)), activation, kernel_initializer=self._initial(2)
        )

    def call(self, inputs: Any, training: bool = False) -> tf.Tensor:
        inputs = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        flat = [keras.ops.reshape(x, [-1, int(np.prod(x.shape[1:]))]) for x in inputs]
        hidden = self.norm(self.hidden(keras.ops.concatenate(flat, 1)), training=training)
        return keras.ops.reshape(self.outputs_(hidden), [-1, *self.gives])

    def get_config(self) -> dict[str, Any]:
        config = {"gives": list(self.gives), "activation": self.activation}
        return {**super().get_config(), **config}

    @staticmethod
    def _initial(seed: int) -> keras.initializers.Initializer:
        return keras.initializers.GlorotUniform(seed=seed)


def dense(units: int) -> keras.layers.Dense:
    return keras.layers.Dense(units, kernel_initializer=keras.initializers.GlorotUniform(seed=1))


def own_networks(name: str, shape: tuple[int, int, int] = SHAPE) -> dict[str, Any]:
    """A network of one's own for every place of a model."""
    is_vae = name == "vae"
    networks = {
        "generator": OwnNetwork(shape, "linear" if is_vae else "tanh", name="generator"),
        "encoder": OwnNetwork([LATENT_DIM * (1 + is_vae)], name="encoder"),
        # [B, 1] instead of [B].
        "discriminator": OwnNetwork([1], name="discriminator"),
        "critic": OwnNetwork([1], name="critic"),
    }
    model = small_model(name)
    return {place: net for place, net in networks.items() if place in model._network_names}


@pytest.mark.parametrize(
    ("name", "shape"), [*((name, SHAPE) for name in sorted(MODELS)), ("aae_gan", (1, 1, 7))]
)
def test_own_networks_train_are_saved_and_exported(name, shape, tmp_path: Path):
    given = own_networks(name, shape)
    model = small_model(name, image_shape=shape, networks=given, ema_decay=0.5)
    assert model.generator is given["generator"] and dict(model.networks) == given
    before = values(model.trainable_variables)
    batches = small_batches(model, 2)
    model.compile()
    dataset = tf.data.Dataset.from_tensor_slices(batches[0]).batch(BATCH_SIZE)
    logs = model.fit(dataset, verbose=0).history
    assert all(np.isfinite(value) for [value] in logs.values())
    changed = [
        np.any(a != b) for a, b in zip(before, values(model.trainable_variables), strict=True)
    ]
    # A constant added to all scores of a critic moves nothing.
    assert np.mean(changed) > 0.8
    images = model.generate(3, seed=1)
    assert images.shape == [3, *shape] and np.min(images) >= 0.0 and np.max(images) <= 1.0
    assert model.sampler is not model.generator

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    assert_same(values(all_variables(loaded)), values(all_variables(model)))
    np.testing.assert_array_equal(loaded.generate(3, seed=1), images)
    for one in (loaded, model):
        one.train_step(tf.constant(batches[1]))
    assert_same(values(all_variables(loaded)), values(all_variables(model)))

    export_model(model, tmp_path)
    generator = tf.saved_model.load(tmp_path / "generator").signatures["serving_default"]
    noise = tf.ones([2, LATENT_DIM])
    np.testing.assert_allclose(generator(z=noise)["images"], model.generate(noise), atol=1e-6)
    if model.has_encoder:
        assert model.reconstruct(small_images(2, shape)).shape == [2, *shape]


def test_own_networks_of_the_wrong_kind_are_refused():
    def model(**networks: Any) -> Any:
        return VAE(latent_dim=4, image_shape=SHAPE, networks=networks)

    encoder = OwnNetwork([8])
    for wrong, message in (
        ({"encoder": OwnNetwork([4])}, r"network 'encoder' gives \[B, 4\], expected \[B, 8\]"),
        ({"encoder": lambda images: images}, "network 'encoder' is .*expected a Keras model"),
        (
            {"encoder": keras.Sequential([keras.Input([3]), dense(8)])},
            r"network 'encoder' does not take \[B, 6, 10, 2\]",
        ),
        (
            {"encoder": encoder, "generator": OwnNetwork([6, 10, 3])},
            r"network 'generator' gives \[B, 6, 10, 3\], expected \[B, 6, 10, 2\]",
        ),
        (
            {"encoder": encoder, "generator": OwnNetwork(SHAPE), "decoder": encoder},
            "VAE has no network 'decoder': did you mean encoder",
        ),
        ({"encoder": encoder}, r"image_shape is \(6, 10, 2\).*networks of one's own"),
    ):
        with pytest.raises(ValueError, match=message):
            model(**wrong)
    # A network that knows neither height nor width fits any.
    inputs = keras.Input([None, None, 2])
    pooled = keras.Model(inputs, dense(8)(keras.layers.GlobalAveragePooling2D()(inputs)))
    assert model(encoder=pooled, generator=OwnNetwork(SHAPE)).encode(small_images(2, SHAPE)).shape


@pytest.mark.parametrize(
    "network",
    [
        OwnNetwork([3]),
        keras.Sequential([keras.Input([4]), dense(3), keras.layers.Dropout(0.1, seed=1)]),
        keras.Sequential([dense(3)]),
        dense(3),
    ],
    ids=["subclassed", "sequential", "unbuilt", "layer"],
)
def test_any_network_is_copied(network):
    codes = tf.ones([2, 4])
    expected = network(codes)
    copy = copy_network(network, [(4,)])
    np.testing.assert_array_equal(copy(codes), expected)
    copy.weights[0].assign(copy.weights[0] + 1.0)
    np.testing.assert_array_equal(network(codes), expected)
    assert np.any(copy(codes) != expected)


def test_models_of_before_still_load():
    """Files of the version whose modules stood elsewhere; one of them has a moving average."""
    folder = Path(__file__).parent / "data"
    images = np.random.default_rng(0).integers(0, 256, (16, *IMAGE_SHAPE), dtype=np.uint8)[:4]
    with np.load(folder / "before_the_move.npz") as expected:
        for name in ("vae", "aae_gan"):
            model = keras.models.load_model(folder / f"{name}.keras")
            assert int(model.step.numpy()) == 2
            for what, value in (
                ("images", model.generate(4, seed=0)[:, ::5, ::5]),
                ("codes", model.encode(images)),
                ("loc", model.posterior(images).loc),
            ):
                np.testing.assert_allclose(value, expected[f"{name}_{what}"], atol=1e-5)


# --- Priors ---------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Shifted(StandardNormal):
    """N(1, 4 I)."""

    def log_prob(self, codes: tf.Tensor) -> tf.Tensor:
        return super().log_prob((codes - 1.0) / 2.0) - self.latent_dim * np.log(2.0)

    def from_noise(self, noise: tf.Tensor) -> tf.Tensor:
        return 2.0 * super().from_noise(noise) + 1.0

    entropy = None


@every_model
def test_another_prior_is_used_everywhere(name, rng, monkeypatch):
    model_class, options = MODELS[name].load(), {**OPTIONS.get(name, {}), "width": 1 / 16}
    if name == "vae":
        options["marginal_kl_weight"] = 1.0
    noise = tf.constant(rng.normal(size=[3, LATENT_DIM]), tf.float32)
    standard = model_class(latent_dim=LATENT_DIM, **options)
    codes = standard.sample_codes(3, seed=2)
    monkeypatch.setattr(model_class, "build_prior", lambda self: Shifted(self.latent_dim))
    model = model_class(latent_dim=LATENT_DIM, **options)
    np.testing.assert_array_equal(model.generate(noise), model.decode(2.0 * noise + 1.0))
    np.testing.assert_array_equal(model.sample_codes(3, seed=2), 2.0 * codes + 1.0)
    signatures = model.export_signatures()["generator"]
    made = signatures["serving_default"](noise), signatures["decode"](2.0 * noise + 1.0)
    np.testing.assert_allclose(*[images["images"] for images in made], atol=1e-6)

    # In training: as if the noise of the prior had been shifted.
    class ShiftedNoise(FixedNoise):
        def normal(self, name: str, shape: list[int]) -> tf.Tensor:
            is_prior = name == "prior" or name.endswith("_codes") or "_codes_" in name
            drawn = super().normal(name, shape)
            return 2.0 * drawn + 1.0 if is_prior else drawn

    [batch] = small_batches(model, 1)
    images = tf.constant(batch / 127.5 - 1.0, tf.float32)
    seed = int(rng.integers(1000))
    terms = model.update(images, FixedNoise(np.random.default_rng(seed)))
    expected = standard.update(images, ShiftedNoise(np.random.default_rng(seed)))
    for key in terms:
        if key not in ("bound", "kl", "autoencoder_loss"):
            assert float(terms[key]) == pytest.approx(float(expected[key]), rel=1e-5), key
    for key in {"bound", "kl"} & set(terms):
        assert abs(float(terms[key]) - float(expected[key])) > 0.1, key


@keras.saving.register_keras_serializable(package="tests")
class FlowVAE(VAE):
    """A VAE whose prior is learned."""

    def build_prior(self) -> MaskedAutoregressiveFlow:
        return MaskedAutoregressiveFlow(self.latent_dim, 2, 1, 8, seed=self.seed)


def flow_vae(**options: Any) -> FlowVAE:
    return FlowVAE(latent_dim=LATENT_DIM, width=1 / 16, seed=3, **options)


def test_a_learned_prior_is_trained_saved_resumed_and_exported(tmp_path: Path, rng):
    model = flow_vae()
    assert model.players[0].name == "autoencoder"
    flow = {id(v) for v in model.prior.trainable_variables}
    assert flow and flow <= {id(v) for v in model.players[0].variables}
    before = values(model.prior.trainable_variables)
    batches = small_batches(model, 2)
    model.compile()
    model.fit(batches[0], batch_size=BATCH_SIZE, verbose=0)
    model.prior.initialize(rng.normal(1.0, 2.0, size=[50, LATENT_DIM]))
    after = values(model.prior.trainable_variables)
    assert any(np.any(a != b) for a, b in zip(before, after, strict=True))

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    resumed = flow_vae()
    restore_state(resumed, capture_state(model))
    noise = tf.constant(rng.normal(size=[5, LATENT_DIM]), tf.float32)
    images = model.generate(noise)
    assert np.abs(images - model.decode(noise)).max() > 1e-4
    for again in (loaded, resumed):
        assert_same(values(all_variables(again)), values(all_variables(model)))
        np.testing.assert_array_equal(again.generate(noise), images)
    export_model(model, tmp_path)
    generator = tf.saved_model.load(tmp_path / "generator").signatures
    np.testing.assert_allclose(generator["serving_default"](z=noise)["images"], images, atol=1e-5)
    decoded = generator["decode"](codes=model.prior.from_noise(noise))["images"]
    np.testing.assert_allclose(decoded, images, atol=1e-5)
    for one in (model, loaded):
        one.train_step(tf.constant(batches[1]))
    assert_same(values(all_variables(loaded)), values(all_variables(model)))


def test_the_kl_from_a_learned_prior_is_estimated_at_the_code(rng):
    model, noise = flow_vae(beta=0.5), FixedNoise(rng)
    [batch] = small_batches(model, 1)
    images = tf.constant(batch / 127.5 - 1.0, tf.float32)
    losses, terms = model.losses(images, noise, True)
    posterior = model.infer(images, training=True)
    codes = posterior.from_noise(noise.drawn["posterior"])
    kl = np.mean(posterior.log_prob(codes) - model.prior.log_prob(codes))
    assert float(terms["kl"]) == pytest.approx(kl, rel=1e-4)
    expected = 0.5 * kl - float(terms["log_likelihood"])
    assert float(losses["autoencoder"]) == pytest.approx(expected, rel=1e-5)


# --- Posteriors, players, hyperparameters ---------------------------------------------------


def test_the_noise_of_an_implicit_encoder_has_its_own_dimension(rng):
    class Noisy(AAE):
        noise_dim = 9

    model = Noisy(latent_dim=3, width=1 / 16, encoder="implicit")
    assert model.encoder.inputs[1].shape == (None, 9)
    images = small_images(4)
    assert model.posterior(images).sample([2]).shape == [2, 4, 3]
    noise = FixedNoise(rng)
    model.update(tf.constant(small_images(BATCH_SIZE) / 127.5 - 1.0, tf.float32), noise)
    assert noise.drawn["posterior"].shape == (BATCH_SIZE, 9)
    assert noise.drawn["prior"].shape == (BATCH_SIZE, 3)
    encoder = model.export_signatures()["encoder"]["serving_default"]
    assert encoder(tf.zeros([2, *IMAGE_SHAPE]))["z"].shape == [2, 3]


class OnePlayer(VAE):
    """A VAE whose player is given otherwise."""

    options: dict[str, Any] = {}
    moves: tuple[str, ...] = ("encoder", "generator", "likelihood")

    def add_player(self, name: str, networks: Any, rate: Any = None, **_: Any) -> None:
        super().add_player(name, [getattr(self, part) for part in self.moves], **self.options)


def test_a_player_takes_an_optimizer_of_its_own(tmp_path: Path):
    class Momentum(OnePlayer):
        @property
        def options(self) -> dict[str, Any]:
            return {"optimizer": keras.optimizers.SGD(1e-5, momentum=0.5)}

    model = Momentum(latent_dim=3, width=1 / 16)
    assert isinstance(model.optimizers["autoencoder"], keras.optimizers.SGD)
    before = values(model.trainable_variables)
    model.train_step(tf.constant(small_batches(model, 1)[0]))
    assert any(
        np.any(a != b) for a, b in zip(before, values(model.trainable_variables), strict=True)
    )
    restore_state(Momentum(latent_dim=3, width=1 / 16, seed=1), capture_state(model))

    class Neither(OnePlayer):
        options = {}

    with pytest.raises(ValueError, match="player 'autoencoder' has rate None and optimizer None"):
        Neither(latent_dim=3, width=1 / 16)

    class Forgotten(OnePlayer):
        options, moves = {"rate": 1e-3}, ("encoder",)

    with pytest.raises(ValueError, match="no player moves .*kernel.* more: add a player"):
        Forgotten(latent_dim=3, width=1 / 16)


@dataclasses.dataclass(frozen=True)
class OwnConfig(VAEConfig):
    """Hyperparameters of a model of one's own."""

    units: tuple[int, ...] = setting((8, 4), "units of the hidden layers", minimum=1)
    noise_dim: int | None = setting(None, "dimension of the noise", kind=int)


class OwnModel(VAE):
    """A model of one's own."""

    config: OwnConfig
    config_class = OwnConfig


def test_hyperparameters_are_keywords_that_help_and_editors_know():
    model = OwnModel(latent_dim=3, units=[5, 6, 7], width=1 / 16, name="mine")
    assert model.config == OwnConfig(latent_dim=3, units=(5, 6, 7), width=1 / 16)
    assert model.name == "mine" and model.noise_dim == 3
    again = OwnModel.from_config(json.loads(json.dumps(model.get_config())))
    assert again.config == model.config
    # A keyword replaces a field of an object.
    assert OwnModel(OwnConfig(units=(2,), width=1 / 16), latent_dim=6).config.units == (2,)

    parameters = inspect.signature(OwnModel).parameters
    fields = dataclasses.fields(OwnConfig)
    assert list(parameters)[:5] == ["config", "image_shape", "seed", "networks", "dtype"]
    assert list(parameters)[5:] == [field.name for field in fields]
    assert parameters["units"].default == (8, 4)
    for field in fields:
        assert f"  {field.name}: {field.metadata['help']} ({field.default})" in OwnModel.__doc__
    assert OwnModel.__doc__.startswith("A model of one's own.")
    assert "  units:" not in VAE.__doc__ and "units" not in inspect.signature(VAE).parameters
    with pytest.raises(ValueError, match="config is a AAEConfig, expected a OwnConfig"):
        OwnModel(AAEConfig())

"""What a model of one's own replaces: prior, posterior, optimisers, hyperparameters."""

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
    values,
)
from tfdm.distributions.masked_autoregressive_flow import MaskedAutoregressiveFlow
from tfdm.distributions.posteriors import GaussianPosterior
from tfdm.distributions.priors import StandardNormal
from tfdm.experiments.export import export_model
from tfdm.fields import setting
from tfdm.models.aae import AAE
from tfdm.models.config import AAEConfig, VAEConfig
from tfdm.models.registry import MODELS
from tfdm.models.vae import VAE
from tfdm.training.state import capture_state, restore_state

every_model = pytest.mark.parametrize("name", sorted(MODELS))


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
    options = {"latent_dim": LATENT_DIM, "width": 1 / 16, **OPTIONS.get(name, {})}
    model_class = MODELS[name].load()
    if name == "vae":
        options["marginal_kl_weight"] = 1.0
    if name == "avb":  # Else all losses hold log p(z) itself.
        options["log_prior_in_adversary"] = False
    standard = model_class(**options)
    noise = tf.constant(rng.normal(size=[3, standard.latent_dim]), tf.float32)
    codes = standard.sample_codes(3, seed=2)
    monkeypatch.setattr(model_class, "build_prior", lambda self: Shifted(self.latent_dim))
    model = model_class(**options)
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


class PosteriorOfAnInput(keras.layers.Layer):
    """p(z) = q(z|u) of a learned image u: a VampPrior of one component, by the model's encoder."""

    def __init__(self, encoder: keras.Model, latent_dim: int) -> None:
        super().__init__(dtype="float32")
        self.encoder, self.latent_dim = encoder, latent_dim
        # An image of zeros lies where the rectifiers have no slope.
        noise = keras.initializers.RandomNormal(0.0, 0.5, seed=1)
        self.image = self.add_weight(shape=(1, *IMAGE_SHAPE), initializer=noise, name="image")
        self.built = True

    def posterior(self) -> GaussianPosterior:
        parameters = self.encoder(tf.tanh(self.image.value), training=False)
        return GaussianPosterior.from_parameters(parameters)

    def log_prob(self, codes: tf.Tensor) -> tf.Tensor:
        return self.posterior().log_prob(codes[..., tf.newaxis, :])[..., 0]

    def from_noise(self, noise: tf.Tensor) -> tf.Tensor:
        return self.posterior().from_noise(noise[:, tf.newaxis])[:, 0]


@keras.saving.register_keras_serializable(package="tests")
class VampVAE(VAE):
    """A VAE whose prior shares its encoder."""

    def build_prior(self) -> PosteriorOfAnInput:
        return PosteriorOfAnInput(self.encoder, self.latent_dim)


def learned(model_class: type = FlowVAE, **options: Any) -> Any:
    return model_class(latent_dim=LATENT_DIM, width=1 / 16, seed=3, **options)


@pytest.mark.parametrize("model_class", [FlowVAE, VampVAE])
def test_a_learned_prior_is_trained_saved_resumed_and_exported(model_class, tmp_path: Path, rng):
    model = learned(model_class)
    owned = [id(v) for v in model.players[0].variables]
    assert {id(v) for v in model.prior.trainable_variables} <= set(owned)
    assert len(owned) == len(set(owned))
    shared = {id(v) for v in model.encoder.trainable_variables}
    own = [v for v in model.prior.trainable_variables if id(v) not in shared]
    before = values(own)
    batches = small_batches(model, 2)
    model.compile()
    model.fit(batches[0], batch_size=BATCH_SIZE, verbose=0)
    assert any(np.any(a != b) for a, b in zip(before, values(own), strict=True))
    if model_class is FlowVAE:
        model.prior.initialize(rng.normal(1.0, 2.0, size=[50, LATENT_DIM]))

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    resumed = learned(model_class)
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
    model, noise = learned(beta=0.5), FixedNoise(rng)
    [batch] = small_batches(model, 1)
    images = tf.constant(batch / 127.5 - 1.0, tf.float32)
    losses, terms = model.player_losses(images, noise, True)
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

    class Narrow(VAE):
        def build_prior(self) -> StandardNormal:
            return StandardNormal(2)

    with pytest.raises(ValueError, match="codes of 2 numbers, expected latent_dim = 3"):
        Narrow(latent_dim=3, width=1 / 16)

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
    names = [field.name for field in fields]
    assert list(parameters) == [
        "config",
        "image_shape",
        "seed",
        *names,
        "dtype",
        "networks",
        "fitted_prior",
    ]
    assert names[0] == "latent_dim"  # early in `help`
    assert parameters["units"].default == (8, 4)
    for field in fields:
        assert f"  {field.name}: {field.metadata['help']} ({field.default})" in OwnModel.__doc__
    assert OwnModel.__doc__.startswith("A model of one's own.")
    assert "  units:" not in VAE.__doc__ and "units" not in inspect.signature(VAE).parameters
    with pytest.raises(ValueError, match="config is a AAEConfig, expected a OwnConfig"):
        OwnModel(AAEConfig())

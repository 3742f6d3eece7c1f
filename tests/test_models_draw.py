"""DRAW against NumPy, quadrature, importance sampling and a VAE of its one-step cells.

On images of 2x2 the grid is one cell: a convolution is its kernel's centre, and a code of two
latents can be integrated over.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from tests.model_cases import FixedNoise, small_images, stir
from tests.tiny_training import run, tiny_dataset
from tfdm.distributions import stepwise
from tfdm.errors import UserError
from tfdm.experiments.config import RunConfig
from tfdm.experiments.load import load_run
from tfdm.models.config import DRAWConfig
from tfdm.models.draw import DRAW
from tfdm.models.vae import VAE

PRIORS = pytest.mark.parametrize("prior", ["standard_normal", "autoregressive"])
LIKELIHOODS = pytest.mark.parametrize("likelihood", ["bernoulli", "quantized_normal"])
TINY = {"image_shape": (2, 2, 1), "num_steps": 2, "latent_maps": 1, "hidden_maps": 3}


def tiny(rng: np.random.Generator, **options: Any) -> DRAW:
    """A small model whose weights are not special, on images of one cell unless told otherwise."""
    model = DRAW(**{**TINY, "kernel_size": 3, "seed": 3, **options})
    stir(model, rng)
    # So that neither density is near N(0, I).
    for name, layer in (("encoder", "posterior_maps"), ("generator", "prior_maps")):
        if hasattr(getattr(model, name), layer):
            kernel = getattr(getattr(model, name), layer).kernel
            kernel.assign(3.0 * kernel.numpy())
    return model


def images_of(model: DRAW, number: int, seed: int = 5) -> tuple[np.ndarray, tf.Tensor]:
    """Levels 0..255 and the same in [-1, 1]."""
    levels = small_images(number, model.image_shape, seed)
    return levels, tf.constant(levels / 127.5 - 1.0, tf.float32)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def log_normal(x: np.ndarray, loc: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return -0.5 * ((x - loc) / scale) ** 2 - np.log(scale) - 0.5 * math.log(2 * math.pi)


# --- The algorithm --------------------------------------------------------------------------


class NumPyDRAW:
    """Gregor et al. (2016) on images of one cell, in float64, written again from the paper."""

    def __init__(self, model: DRAW) -> None:
        self.model = model

    def affine(self, network: str, layer: str, inputs: list[np.ndarray]) -> np.ndarray:
        weights = getattr(getattr(self.model, network), layer)
        kernel = weights.kernel.numpy().astype(np.float64)[1, 1]
        return np.concatenate(inputs, axis=1) @ kernel + weights.bias.numpy()

    def lstm(self, network: str, inputs: list[np.ndarray], memory: np.ndarray) -> Any:
        enter, forget, candidate, leave = np.split(self.affine(network, "gates", inputs), 4, axis=1)
        memory = sigmoid(forget + 1.0) * memory + sigmoid(enter) * np.tanh(candidate)
        return sigmoid(leave) * np.tanh(memory), memory

    def gaussian(self, network: str, layer: str, hidden: np.ndarray) -> Any:
        loc, raw = np.split(self.affine(network, layer, [hidden]), 2, axis=1)
        return loc, np.logaddexp(0.0, raw + math.log(math.e - 1.0)) + 1e-4

    def __call__(self, images: np.ndarray, noise: np.ndarray, learned: bool) -> Any:
        """Flat images in [-1, 1] and noise by step -> the last canvas and the KL of each step."""
        zeros = np.zeros([len(images), self.model.sizes.hidden_maps])
        hidden_e = memory_e = hidden_d = memory_d = zeros
        canvas, kls = np.zeros_like(images), []
        for epsilon in noise:
            mean = 2.0 * sigmoid(canvas) - 1.0
            # Maps of 2x2 pixels: each pixel with all its channels, image beside error.
            pairs = np.stack([images, images - mean], axis=-1).reshape(len(images), -1)
            hidden_e, memory_e = self.lstm("encoder", [pairs, hidden_d, hidden_e], memory_e)
            loc, scale = self.gaussian("encoder", "posterior_maps", hidden_e)
            p_loc, p_scale = 0.0, 1.0
            if learned:
                p_loc, p_scale = self.gaussian("generator", "prior_maps", hidden_d)
            terms = np.log(p_scale / scale) - 0.5
            terms += (scale**2 + (loc - p_loc) ** 2) / (2.0 * p_scale**2)
            kls.append(terms.sum(1).mean())
            codes = loc + scale * epsilon
            hidden_d, memory_d = self.lstm("generator", [codes, mean, hidden_d], memory_d)
            canvas = canvas + self.affine("generator", "canvas_maps", [hidden_d])
        return canvas, kls


@PRIORS
@LIKELIHOODS
def test_losses_and_terms_are_those_of_the_algorithm(rng, prior, likelihood):
    model = tiny(rng, num_steps=3, latent_maps=2, prior=prior, likelihood=likelihood)
    levels, images = images_of(model, 8)
    noise = FixedNoise(rng)
    losses, terms = model.player_losses(images, noise, training=True)
    by_step = np.split(noise.drawn["posterior"].astype(np.float64), 3, axis=1)
    flat = images.numpy().astype(np.float64).reshape(8, 4)
    canvas, kls = NumPyDRAW(model)(flat, np.stack(by_step), prior == "autoregressive")

    levels = levels.reshape(8, 4).astype(np.float64)
    if likelihood == "bernoulli":
        log_likelihood = levels / 255.0 * canvas - np.logaddexp(0.0, canvas)
    else:
        x = (levels + noise.drawn["dequantization"].reshape(8, 4)) / 256.0
        scale = model.likelihood.scale.numpy().astype(np.float64)
        log_likelihood = log_normal(x, sigmoid(canvas), scale) - math.log(256.0)
    log_likelihood = log_likelihood.sum(1).mean()
    bound = log_likelihood - sum(kls)
    expected = {"log_likelihood": log_likelihood, "kl": sum(kls), "bound": bound}
    expected |= {f"kl_step_0{step}": kl for step, kl in enumerate(kls, start=1)}
    if likelihood == "quantized_normal":
        expected["bits_per_dimension"] = -bound / (4 * math.log(2.0))
    assert set(terms) == set(expected) and set(losses) == {"autoencoder"}
    for name, value in expected.items():
        assert float(terms[name]) == pytest.approx(value, rel=2e-5, abs=2e-5), name
    assert float(losses["autoencoder"]) == pytest.approx(-bound, rel=2e-5)
    assert min(kls) > 0.01 and abs(canvas).mean() > 0.05


class OneStepEncoder(keras.layers.Layer):
    """The encoder of a DRAW of one step, as a VAE's encoder: [B, 2L], means first."""

    def __init__(self, model: DRAW) -> None:
        super().__init__()
        self.cell, self.empty = model.encoder, model.generator.start
        self.outputs_each = model.latent_dim
        self.built = True

    def call(self, images: tf.Tensor) -> tf.Tensor:
        num = tf.shape(images)[0]
        state = self.cell.step(images, self.empty(num), self.cell.start(num))
        parts = tf.split(self.cell.posterior_maps(state.hidden), 2, axis=-1)
        return tf.concat([tf.reshape(part, [-1, self.outputs_each]) for part in parts], axis=-1)


@LIKELIHOODS
def test_one_step_is_a_vae_of_its_cells(rng, likelihood):
    shape = (6, 4, 3)
    model = tiny(rng, image_shape=shape, num_steps=1, latent_maps=2, likelihood=likelihood)
    networks = {"encoder": OneStepEncoder(model), "generator": model.generator}
    vae = VAE(
        latent_dim=model.latent_dim, image_shape=shape, networks=networks, likelihood=likelihood
    )
    vae.likelihood.set_weights(model.likelihood.get_weights())
    _, images = images_of(model, 8)
    noise = FixedNoise(rng)
    losses, terms = model.player_losses(images, noise, training=True)
    expected, expected_terms = vae.player_losses(images, noise, training=True)
    gradients = []
    for one in (model, vae):
        with tf.GradientTape() as tape:
            loss = one.player_losses(images, noise, training=True)[0]["autoencoder"]
        variables = [*model.encoder.trainable_variables, *model.generator.trainable_variables]
        gradients.append(tape.gradient(loss, variables))
    assert float(losses["autoencoder"]) == pytest.approx(float(expected["autoencoder"]), rel=1e-6)
    for name, value in expected_terms.items():
        assert float(terms[name]) == pytest.approx(float(value), rel=1e-5), name
    for actual, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(actual, other, rtol=1e-4, atol=1e-4)
    codes = model.encode(images_of(model, 3)[0], seed=2)
    np.testing.assert_allclose(codes, vae.encode(images_of(model, 3)[0], seed=2), atol=1e-5)


# --- Densities ------------------------------------------------------------------------------


def quadrature(half_width: float = 9.0, points: int = 181) -> tuple[tf.Tensor, float]:
    """A grid over two latents, float64 [points², 2], and the logarithm of a cell's area."""
    axis = np.linspace(-half_width, half_width, points)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    return tf.constant(grid), 2.0 * math.log(axis[1] - axis[0])


def log_joint(model: DRAW, level: np.ndarray, codes: tf.Tensor) -> np.ndarray:
    """log p(x, z) of one image and codes [n, L]."""
    canvas = model.generator(tf.cast(codes, tf.float32))
    copies = np.repeat(level, len(codes), axis=0)
    log_likelihood = model.likelihood.log_prob(canvas, copies).numpy().astype(np.float64)
    return log_likelihood + model.prior.log_prob(codes).numpy()


@PRIORS
def test_bound_importance_sampling_and_quadrature_agree(rng, prior):
    """log p(x) = bound + KL[q(z|x) ‖ p(z|x)], and log p(x) = log E_q exp(log weight)."""
    model = tiny(rng, prior=prior)
    level, _ = images_of(model, 1)
    grid, log_area = quadrature()
    log_q = model.posterior(np.repeat(level, len(grid), axis=0)).log_prob(grid).numpy()
    joint = log_joint(model, level, grid)
    log_evidence = np.logaddexp.reduce(joint) + log_area
    assert np.logaddexp.reduce(log_q) + log_area == pytest.approx(0.0, abs=1e-5)
    gap = np.sum(np.exp(log_q + log_area) * (log_q - (joint - log_evidence)))
    assert gap > 1e-3

    number = 20_000
    copies = np.repeat(level, number, axis=0)
    posterior = model.posterior(copies)
    codes = posterior.sample(seed=4)
    weights = log_joint(model, level, codes) - posterior.log_prob(codes).numpy()
    ratios = np.exp(weights - log_evidence)
    assert ratios.mean() == pytest.approx(1.0, abs=5 * ratios.std() / math.sqrt(number))
    assert ratios.std() / math.sqrt(number) < 0.05

    noise = FixedNoise(rng, number)
    images = tf.constant(copies / 127.5 - 1.0, tf.float32)
    bound = float(model.player_losses(images, noise, training=True)[1]["bound"])
    error = weights.std() / math.sqrt(number)
    assert bound == pytest.approx(log_evidence - gap, abs=5 * error)
    assert weights.mean() == pytest.approx(log_evidence - gap, abs=5 * error)


@pytest.mark.parametrize("block_rows", [12, 256])
def test_log_prob_is_the_sum_of_the_steps_and_takes_codes_of_other_images(
    rng, block_rows, monkeypatch
):
    monkeypatch.setattr(stepwise, "BLOCK_ROWS", block_rows)
    model = tiny(rng, image_shape=(4, 6, 3), num_steps=3, latent_maps=2)
    levels, images = images_of(model, 4)
    posterior = model.posterior(levels)
    codes = posterior.sample([2], seed=1)
    assert codes.shape == [2, 4, model.latent_dim] == [2, 4, 3 * 6 * 2]
    parts = np.split(codes[0].numpy(), 3, axis=1)
    given = model.steps(images, lambda step, loc, scale: tf.constant(parts[step]))
    terms = [
        log_normal(part.astype(np.float64), loc.numpy(), scale.numpy()).sum(1)
        for part, (_, (loc, scale), _) in zip(parts, given, strict=True)
    ]
    np.testing.assert_allclose(posterior.log_prob(codes)[0], sum(terms), rtol=1e-5)
    double = posterior.log_prob(tf.cast(codes, tf.float64))
    assert double.dtype == tf.float64
    np.testing.assert_allclose(double[0], sum(terms), rtol=1e-6)

    pairs = np.stack([np.roll(codes[0], shift, axis=0) for shift in range(4)])
    log_probs = posterior.log_prob(pairs).numpy()
    for row in range(4):
        one = slice(row, row + 1)
        alone = model.posterior(levels[one]).log_prob(pairs[:, one])
        np.testing.assert_allclose(log_probs[:, one], alone, rtol=1e-4)
    assert np.all(np.ptp(log_probs, axis=0) > 0.1)


def test_learned_prior_integrates_to_one_and_has_the_moments_of_its_samples(rng):
    model = tiny(rng, prior="autoregressive")
    assert model.prior is model.generator
    grid, log_area = quadrature()
    masses = np.exp(model.prior.log_prob(grid).numpy() + log_area)
    assert masses.sum() == pytest.approx(1.0, abs=1e-5)
    mean = masses @ grid.numpy()
    covariance = (grid.numpy() - mean).T @ ((grid.numpy() - mean) * masses[:, None])
    assert np.abs(mean).max() > 0.03 and abs(covariance[0, 1]) > 1e-3

    number = 40_000
    noise = rng.normal(size=[number, 2])
    samples = model.prior.from_noise(noise).numpy().astype(np.float64)
    error = samples.std(0) / math.sqrt(number)
    assert np.all(np.abs(samples.mean(0) - mean) < 5 * error)
    products = (samples - mean)[:, :, None] * (samples - mean)[:, None]
    assert np.all(np.abs(products.mean(0) - covariance) < 5 * products.std(0) / math.sqrt(number))
    leading = model.prior.log_prob(grid[:6].numpy().reshape(2, 3, 2))
    np.testing.assert_allclose(leading, model.prior.log_prob(grid[:6]).numpy().reshape(2, 3))
    standard = tiny(rng, prior="standard_normal")
    assert not hasattr(standard.generator, "prior_maps")


def test_samples_and_prior_are_those_of_the_moving_average(rng):
    model = tiny(rng, prior="autoregressive", ema_decay=0.5)
    assert model.prior is model.generator_average
    noise = tf.constant(rng.normal(size=[3, 2]), tf.float32)
    expected = model.to_unit_range(
        model.generator_average(model.generator_average.from_noise(noise))
    )
    np.testing.assert_array_equal(model.generate(noise), expected)


# --- Codes, canvases, sizes -----------------------------------------------------------------


def test_canvases_grow_step_by_step(rng):
    model = tiny(rng, image_shape=(4, 4, 3), num_steps=3, latent_maps=2)
    codes = tf.constant(rng.normal(size=[5, model.latent_dim]), tf.float32)
    canvases = model.canvases(codes)
    assert canvases.shape == [5, 3, 4, 4, 3]
    assert np.min(canvases) >= 0.0 and np.max(canvases) <= 1.0
    np.testing.assert_array_equal(canvases[:, -1], model.decode(codes))
    later = codes.numpy()
    later[:, model.sizes.step_dim :] += 1.0
    changed = model.canvases(later)
    np.testing.assert_array_equal(changed[:, 0], canvases[:, 0])
    assert np.all(np.abs(changed[:, 1:] - canvases[:, 1:]).max(axis=(0, 2, 3, 4)) > 1e-3)


def test_sizes_follow_from_the_images_and_width_scales_hidden_maps_alone():
    model = DRAW(image_shape=(32, 32, 3), width=1 / 32)
    assert model.latent_dim == model.config.latent_dim == 49_152
    assert model.config == DRAWConfig(
        latent_dim=49_152, num_steps=16, latent_maps=12, hidden_maps=160, width=1 / 32
    )
    assert (model.sizes.hidden_maps, model.sizes.kernel_size) == (5, 5)
    small = DRAWConfig().for_images((28, 28, 3))
    assert (small.num_steps, small.latent_maps, small.latent_dim) == (8, 2, 8 * 14 * 14 * 2)
    assert DRAWConfig(latent_dim=8 * 7 * 14, latent_maps=1).for_images((14, 28, 3)).num_steps == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latent_dim": 5}, r"latent_dim is 5, expected 2 = 2 steps x 1 x 1 x 1 maps: leave it"),
        ({"image_shape": (5, 4, 1)}, r"image_shape is \(5, 4, 1\), expected even sides"),
        ({"num_steps": 0}, "num_steps is 0, expected at least 1"),
        ({"prior": "flow"}, "expected one of standard_normal, autoregressive"),
        ({"networks": {"encoder": keras.layers.Flatten()}}, "DRAW has no network 'encoder'"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        DRAW(**{**TINY, **options})


# --- Runs -----------------------------------------------------------------------------------


def test_a_run_records_its_sizes_resumes_and_shows_the_canvases(tmp_path: Path):
    sizes = {"num_steps": 2, "latent_maps": 1, "hidden_maps": 2, "kernel_size": 1}
    fields = {"model": "draw", "hyperparameters": DRAWConfig(**sizes)}
    folder = run(tmp_path, **fields, steps=3).folder
    recorded = folder.read_config()
    assert recorded["latent_dim"] == 2 * 14 * 14 and recorded["num_steps"] == 2
    assert run(tmp_path, **fields, steps=4).steps == 4
    assert folder.read_config() == {**recorded, "steps": 4}
    loaded = load_run(tmp_path, dataset=tiny_dataset())
    assert loaded.model.latent_dim == 2 * 14 * 14 and loaded.step == 4
    with PIL.Image.open(folder.canvases / "step_000004.png") as grid:
        assert grid.size == (3 * (2 * 30 + 2), 3 * (8 * 30 + 2))
    for path, changes, message in (
        (tmp_path, {"latent_dim": 5}, "latent_dim: 392 -> 5"),
        (tmp_path / "new", {"latent_dim": 5}, "latent_dim is 5, expected 392"),
        (tmp_path, {"num_steps": None}, "num_steps: 2 -> 8"),
    ):
        other = {**fields, "hyperparameters": DRAWConfig(**{**sizes, **changes})}
        with pytest.raises(UserError, match=message):
            run(path, **other, steps=4)


def test_presets_leave_a_latent_dim_alone_that_follows():
    config = RunConfig.of({"model": "draw", "dataset": "color_mnist", "preset": "quick"})
    assert config.hyperparameters == DRAWConfig()

"""The VAE's learned priors: VampPrior and flow, against independent computations."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from scipy.special import logsumexp

import tfdm
from tests import tiny_training
from tests.model_cases import (
    BATCH_SIZE,
    FixedNoise,
    all_variables,
    assert_same,
    small_batches,
    small_model,
    stir,
    values,
)
from tfdm.experiments.export import export_model
from tfdm.training.players import player_gradients
from tfdm.training.state import capture_state, restore_state

PRIORS = pytest.mark.parametrize("prior", ["vamp", "flow"])
PLAYERS = pytest.mark.parametrize("player", ["autoencoder", "prior"])
NUM_INPUTS = 3


def vae(prior: str, latent_dim: int = 2, **options: Any) -> Any:
    sizes = {"num_pseudo_inputs": NUM_INPUTS, "flow_width": 8}
    return small_model("vae", prior=prior, latent_dim=latent_dim, **sizes, **options)


def images_of(model: Any) -> tf.Tensor:
    [batch] = small_batches(model, 1)
    return tf.constant(batch / 127.5 - 1.0, tf.float32)


def own_variables(model: Any) -> list[Any]:
    """The variables of the prior that are not the encoder's."""
    shared = {id(v) for v in model.encoder.trainable_variables}
    return [v for v in model.prior.trainable_variables if id(v) not in shared]


def products(codes: np.ndarray) -> np.ndarray:
    """The squares and the product of two coordinates."""
    return np.stack([codes[:, 0] ** 2, codes[:, 1] ** 2, codes[:, 0] * codes[:, 1]], axis=1)


def test_vamp_density_is_the_direct_mixture(rng):
    model = vae("vamp", latent_dim=4)
    stir(model, rng)
    pseudo = np.tanh(model.prior.pseudo_inputs.raw.numpy())
    raw = model.encoder.predict(pseudo, verbose=0).astype(np.float64)
    loc, scale = raw[:, :4], np.log1p(np.exp(raw[:, 4:] + np.log(np.e - 1.0))) + 1e-4
    codes = (loc[0] + 2.0 * rng.normal(size=[6, 4])).astype(np.float32)
    squares = ((codes[:, None] - loc) / scale) ** 2
    each = -0.5 * squares.sum(-1) - np.log(scale).sum(-1) - 2.0 * np.log(2.0 * np.pi)
    expected = logsumexp(each, axis=1) - np.log(NUM_INPUTS)
    np.testing.assert_allclose(model.prior.log_prob(codes), expected, rtol=1e-4, atol=1e-4)
    leading = model.prior.log_prob(codes.reshape(2, 3, 4))
    np.testing.assert_allclose(leading, expected.reshape(2, 3), rtol=1e-4, atol=1e-4)


@PRIORS
def test_density_integrates_to_one_and_has_the_moments_of_the_samples(prior, rng):
    model = vae(prior)
    if prior == "flow":
        for variable in own_variables(model):
            variable.assign(variable.numpy() + 0.2 * rng.normal(size=variable.shape))
    else:
        # Components far apart, of scales and places that differ.
        raw = rng.normal(size=[NUM_INPUTS, 4]) * [2.0, 2.0, 0.5, 0.5]
        table = tf.constant(raw, tf.float32)
        model.prior.encoder = lambda images, training: table
    axis = np.linspace(-14.0, 14.0, 1401)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    blocks = np.array_split(grid.astype(np.float32), 20)
    log_prob = np.concatenate([model.prior.log_prob(block).numpy() for block in blocks])
    masses = np.exp(log_prob.astype(np.float64)) * (axis[1] - axis[0]) ** 2
    assert masses.sum() == pytest.approx(1.0, abs=1e-3)
    mean = masses @ grid
    number = 40_000
    codes = model.sample_codes(number, seed=1).numpy().astype(np.float64)
    for features in (lambda z: z, lambda z: products(z - mean)):
        found, expected = features(codes), masses @ features(grid)
        error = found.std(axis=0) / np.sqrt(number)
        assert np.all(np.abs(found.mean(axis=0) - expected) < 4.5 * error)
    # The differential entropy, from the density and from the samples.
    found = -model.prior.log_prob(codes.astype(np.float32)).numpy().astype(np.float64)
    error = found.std() / np.sqrt(number)
    assert abs(found.mean() + masses @ log_prob) < 4.5 * error


@PRIORS
@PLAYERS
def test_gradients_keep_to_the_players(prior, player, rng):
    model = vae(prior, prior_player=player)
    stir(model, rng)
    owners = {p.name: {id(v) for v in p.variables} for p in model.players}
    assert list(owners) == (
        ["autoencoder"] if player == "autoencoder" else ["autoencoder", "prior"]
    )
    own = own_variables(model)
    assert own
    if player == "prior":
        assert owners["prior"] == {id(v) for v in own}
        assert not owners["prior"] & owners["autoencoder"]
    else:
        assert {id(v) for v in own} <= owners["autoencoder"]
    images, noise = images_of(model), FixedNoise(rng)
    start = values(model.variables)
    with tf.GradientTape(persistent=True) as tape:
        losses, terms = model.player_losses(images, noise, training=True)
    for variable, value in zip(model.variables, start, strict=True):
        variable.assign(value)  # the moving averages, which the pass has changed
    gradients = player_gradients(tape, model.players, losses)
    with tf.GradientTape() as tape:
        posterior = model.infer(images, training=True)
        codes = posterior.from_noise(noise.drawn["posterior"])
        kl = tf.reduce_mean(posterior.log_prob(codes) - model.prior.log_prob(codes))
    assert float(terms["kl"]) == pytest.approx(float(kl), rel=1e-4, abs=1e-4)
    for variable, expected in zip(own, tape.gradient(kl, own), strict=True):
        [owner] = [p for p in model.players if id(variable) in owners[p.name]]
        index = [id(v) for v in owner.variables].index(id(variable))
        actual, size = gradients[owner.name][index], np.abs(expected).max()
        np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4 * size + 1e-7)


@PRIORS
@PLAYERS
def test_saved_resumed_and_exported_it_goes_on_bit_for_bit(prior, player, tmp_path: Path, rng):
    model = vae(prior, prior_player=player, ema_decay=0.5)
    before = values(own_variables(model))
    batches = small_batches(model, 2)
    model.compile()
    model.fit(batches[0], batch_size=BATCH_SIZE, verbose=0)
    pairs = zip(before, values(own_variables(model)), strict=True)
    assert any(np.any(old != new) for old, new in pairs)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    resumed = vae(prior, prior_player=player, ema_decay=0.5)
    restore_state(resumed, capture_state(model))
    noise = tf.constant(rng.normal(size=[5, 2]), tf.float32)
    images = model.generate(noise)
    for again in (loaded, resumed):
        assert_same(values(all_variables(again)), values(all_variables(model)))
        np.testing.assert_array_equal(again.generate(noise), images)
    export_model(model, tmp_path)
    generator = tf.saved_model.load(tmp_path / "generator").signatures["serving_default"]
    np.testing.assert_allclose(generator(z=noise)["images"], images, atol=1e-5)
    for one in (model, loaded, resumed):
        one.train_step(tf.constant(batches[1]))
    for again in (loaded, resumed):
        assert_same(values(all_variables(again)), values(all_variables(model)))


@PRIORS
def test_xla_takes_the_same_step(prior):
    plain = vae(prior, prior_player="prior")
    [batch] = small_batches(plain, 1)
    expected = plain.train_step(tf.constant(batch))
    compiled = vae(prior, prior_player="prior")
    step = tf.function(compiled.train_step, autograph=False, jit_compile=True)
    terms = step(tf.constant(batch))
    assert set(terms) == set(expected)
    for name, value in expected.items():
        near = pytest.approx(float(value), rel=1e-3, abs=1e-4)
        assert float(terms[name]) == near, name


@pytest.mark.slow
@PRIORS
def test_two_replicas_take_the_same_step(prior):
    # A process of their own: `fit` on replicas has hung after a step that XLA compiled.
    code = f"""
import numpy as np, tensorflow as tf
from tests.conftest import _configure_tensorflow
_configure_tensorflow(False)
from tests.model_cases import small_batches, two_replicas
from tests.test_models_vae_priors import vae
single = vae({prior!r}, prior_player="prior")
[batch] = small_batches(single, 1)
expected = single.train_step(tf.constant(batch))
with two_replicas().scope():
    mirrored = vae({prior!r}, prior_player="prior")
    mirrored.compile()
dataset = tf.data.Dataset.from_tensors(batch)
history = mirrored.fit(dataset, shuffle=False, verbose=0).history
assert set(history) == set(expected)
for name, value in expected.items():
    np.testing.assert_allclose(history[name][0], value, rtol=1e-3, atol=1e-4, err_msg=name)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@PRIORS
def test_a_run_is_estimated_against_its_prior(prior, tmp_path: Path, rng):
    images = tiny_training.tiny_dataset()
    sizes = {"latent_dim": 2, "width": 1 / 8, "num_pseudo_inputs": NUM_INPUTS, "flow_width": 8}
    options = {"steps": 1, "batch_size": 8, "prior": prior, "progress": False, **sizes}
    tfdm.train("vae", images, output_dir=tmp_path / "run", **options)
    run = tfdm.load_run(tmp_path / "run", dataset=images)
    stir(run.model, rng)
    last = [v for v in run.model.encoder.trainable_variables if tuple(v.shape) == (4,)][-1]
    last.assign([2.0, -2.0, -1.0, -1.0])
    result = tfdm.estimate_kl(run, fields={"monte_carlo": {"num_samples": 3000}}, progress=False)
    posterior = run.model.posterior(run.dataset.split("train")[:])
    rows = rng.integers(len(posterior.loc), size=3000)
    loc, scale = posterior.loc.numpy(), posterior.scale.numpy()
    codes = (loc[rows] + scale[rows] * rng.normal(size=[3000, 2])).astype(np.float32)
    each = scipy.stats.norm.logpdf(codes[:, None], loc, scale).sum(-1)
    log_prior = run.model.prior.log_prob(codes).numpy()
    standard = scipy.stats.norm.logpdf(codes).sum(-1)
    average = each[np.arange(3000), rows] - log_prior
    marginal = logsumexp(each, axis=1) - np.log(len(loc)) - log_prior
    estimate = result.estimates["monte_carlo"]
    assert result.bounds.average_kl_standard_error > 0.0
    for found, found_error, log_ratios in (
        (result.bounds.average_kl, result.bounds.average_kl_standard_error, average),
        (estimate.kl, estimate.standard_error, marginal),
    ):
        error = np.hypot(found_error, log_ratios.std() / np.sqrt(3000))
        assert abs(found - log_ratios.mean()) < 4.5 * error
        # N(0, I) would be another answer.
        assert abs(np.mean(log_prior - standard)) > 10 * error


@PRIORS
def test_the_first_step_that_is_not_finite_is_told(prior):
    model = vae(prior)
    own_variables(model)[0].assign(own_variables(model)[0] * np.nan)
    [batch] = small_batches(model, 1)
    model.train_step(tf.constant(batch))
    step, _ = model.divergence()
    assert step == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prior": "autoregressive"}, "expected one of standard_normal, vamp, flow"),
        ({"num_pseudo_inputs": 0}, "num_pseudo_inputs"),
        ({"prior_player": "encoder"}, "expected one of autoencoder, prior"),
    ],
)
def test_bad_fields_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        small_model("vae", **options)

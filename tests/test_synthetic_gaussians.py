"""The synthetic Gaussians: closed forms, gradients, independence of repetitions, exact resume."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tfdm.estimators import synthetic
from tfdm.estimators.config import SETTINGS, SyntheticConfig
from tfdm.estimators.synthetic import (
    AffineGaussian,
    SyntheticExperiment,
    kl_between,
    random_gaussian,
    summarize,
)
from tfdm.estimators.synthetic_plots import plot_synthetic

ERRORS = 4.0
TINY = SyntheticConfig(
    steps=20, num_seeds=2, num_layers=2, width=16, batch_size=64, log_every=5, num_samples=256,
    discriminator_learning_rate=1e-3,
)  # fmt: skip


@pytest.mark.parametrize("dim", [1, 3])
def test_kl_agrees_with_sampling(dim: int, rng: np.random.Generator) -> None:
    first, second = random_gaussian(dim, 1.0, rng), random_gaussian(dim, 1.0, rng)
    densities = [stats.multivariate_normal(g.bias, g.covariance) for g in (first, second)]
    samples = densities[0].rvs(100_000, random_state=rng).reshape(-1, dim)
    log_ratio = densities[0].logpdf(samples) - densities[1].logpdf(samples)
    error = log_ratio.std() / math.sqrt(len(samples))
    assert abs(kl_between(first, second) - log_ratio.mean()) < ERRORS * error
    assert kl_between(first, first) == pytest.approx(0.0, abs=1e-12)


def test_kl_in_one_dimension_is_its_formula() -> None:
    first = AffineGaussian(np.array([[3.0], [4.0]]), np.array([1.0]))  # N(1, 25)
    second = AffineGaussian(np.array([[2.0]]), np.array([-1.0]))  # N(−1, 4)
    expected = 0.5 * (25 / 4 + 4 / 4 - 1 - math.log(25 / 4))
    assert kl_between(first, second) == pytest.approx(expected, rel=1e-12)
    broken = AffineGaussian(np.array([[np.nan]]), np.array([0.0]))
    assert math.isnan(kl_between(first, broken))
    assert math.isnan(kl_between(AffineGaussian(np.zeros((2, 1)), np.zeros(1)), first))


@pytest.mark.parametrize(("dim", "expected"), [(10, 0.69), (100, 5.7)])
def test_initial_divergences_are_known(dim: int, expected: float, rng: np.random.Generator) -> None:
    kls = [
        kl_between(random_gaussian(dim, 1.0, rng), random_gaussian(dim, 1.0, rng))
        for _ in range(12)
    ]
    error = np.std(kls, ddof=1) / math.sqrt(len(kls))
    assert abs(np.mean(kls) - expected) < ERRORS * error + 0.05


def test_generator_gradient_is_that_of_the_true_kl(monkeypatch: pytest.MonkeyPatch) -> None:
    config = dataclasses.replace(TINY, num_seeds=1, batch_size=200_000)
    experiment = SyntheticExperiment("learning", 1, config)
    [data] = experiment._data
    theta = [experiment._weights, experiment._bias]
    model = AffineGaussian(theta[0].numpy()[0].astype(float), theta[1].numpy()[0, 0].astype(float))
    sds = [math.sqrt(g.covariance[0, 0]) for g in (data, model)]

    def exact_logits(samples: tf.Tensor) -> tf.Tensor:
        """The optimal classifier, held fixed: it does not follow θ."""
        z = [(samples[..., 0] - g.bias[0]) / sd for g, sd in zip((data, model), sds, strict=True)]
        return -0.5 * z[0] ** 2 + 0.5 * z[1] ** 2 - math.log(sds[0] / sds[1])

    monkeypatch.setattr(experiment, "_logits", exact_logits)
    found: list[np.ndarray] = []
    monkeypatch.setattr(
        experiment.optimizers["generator"], "apply", lambda g, _: found.extend(x.numpy() for x in g)
    )
    experiment._generator_step(tf.constant(0, tf.int64))
    h = 1e-5
    shifted = [AffineGaussian(model.weights, model.bias + s * h) for s in (1, -1)]
    of_bias = (kl_between(shifted[0], data) - kl_between(shifted[1], data)) / (2 * h)
    direction = np.zeros_like(model.weights)
    direction[0, 0] = h
    shifted = [AffineGaussian(model.weights + s * direction, model.bias) for s in (1, -1)]
    of_weight = (kl_between(shifted[0], data) - kl_between(shifted[1], data)) / (2 * h)
    # The spread of one sample's gradient is of the order of the gradient of its logit.
    scale = (1 / sds[0] + 1 / sds[1]) * 4 / math.sqrt(200_000)
    assert abs(found[1][0, 0, 0] - of_bias) < ERRORS * scale
    assert abs(found[0][0, 0, 0] - of_weight) < ERRORS * scale


def test_estimation_finds_the_divergence_in_one_dimension() -> None:
    config = dataclasses.replace(
        TINY, num_seeds=3, width=32, batch_size=256, num_samples=20_000,
        discriminator_learning_rate=2e-3, parameter_scale=1.0,
    )  # fmt: skip
    experiment = SyntheticExperiment("estimation", 1, config)
    experiment.take_steps(0, 1500)
    measured = experiment.measure(1500)
    np.testing.assert_allclose(measured["true_kl"], experiment.initial_kl, rtol=1e-5)
    # The classifier's own error comes on top: a stated bias.
    allowed = ERRORS * measured["standard_error"] + 0.08 + 0.1 * measured["true_kl"]
    np.testing.assert_array_less(np.abs(measured["estimate"] - measured["true_kl"]), allowed)


def test_learning_lowers_the_true_divergence() -> None:
    config = dataclasses.replace(
        TINY, num_seeds=2, width=32, batch_size=128, generator_learning_rate=3e-3
    )
    experiment = SyntheticExperiment("learning", 4, config)
    experiment.take_steps(0, 1200)
    assert np.all(experiment.true_kl() < 0.5 * experiment.initial_kl)


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_repetition_depends_on_its_own_seed(setting: str) -> None:
    alone = SyntheticExperiment(setting, 3, dataclasses.replace(TINY, num_seeds=1, seed=1))
    both = SyntheticExperiment(setting, 3, dataclasses.replace(TINY, num_seeds=2))
    for experiment in (alone, both):
        experiment.take_steps(0, 5)
    one, two = alone.measure(5), both.measure(5)
    for key in one:
        np.testing.assert_allclose(one[key][0], two[key][1], rtol=1e-3)
        assert one[key][0] != two[key][0]


@pytest.mark.parametrize("setting", SETTINGS)
def test_one_product_for_all_or_one_for_each_are_the_same(
    setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []
    for width in (1, 10**9):
        monkeypatch.setattr(synthetic, "LOOP_WIDTH", width)
        experiment = SyntheticExperiment(setting, 3, TINY)
        experiment.take_steps(0, 5)
        measured.append(experiment.measure(5))
    for key in measured[0]:
        np.testing.assert_allclose(measured[0][key], measured[1][key], rtol=1e-3)


def test_one_repetition_may_diverge_alone() -> None:
    experiment = SyntheticExperiment("learning", 2, TINY)
    weights = experiment._weights.numpy()
    weights[0] = np.nan
    experiment._weights.assign(weights)
    experiment.take_steps(0, 3)
    measured = experiment.measure(3)
    for key in ("true_kl", "estimate"):
        assert np.isnan(measured[key][0])
        assert np.isfinite(measured[key][1])
    summary = summarize([measured], "estimate")
    assert summary["mean"] == [pytest.approx(measured["estimate"][1])]
    assert summary["finite"] == [1]


def test_mean_and_spread_are_over_the_repetitions(rng: np.random.Generator) -> None:
    values = rng.normal(size=(4, 6))
    summary = summarize([{"estimate": row} for row in values], "estimate")
    np.testing.assert_allclose(summary["mean"], values.mean(axis=1))
    np.testing.assert_allclose(summary["spread"], values.std(axis=1, ddof=1))


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="setting is 'both', expected one of estimation, learning"):
        SyntheticExperiment("both", 1, TINY)
    with pytest.raises(ValueError, match="dim is 0, expected 1 or more"):
        SyntheticExperiment("learning", 0, TINY)


def test_plot_shows_a_diverged_series() -> None:
    series = {"mean": [1.0, None, None], "spread": [0.1, None, None]}
    record = {"steps": [0, 5, 10], "initial_kl": [1.0], "true_kl": series, "estimate": series}
    picture = plot_synthetic({"2": {"learning": record}}, "learning", "title")
    assert picture.startswith(b"\x89PNG")

"""`posterior_bounds` against TFP's KL, eq. 5 by numerical integration, and the paper's tables."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.kl_cases import CORRELATED, GaussianPrior, TensorPrior, gaussian_kl, marginal_kl
from tfdm.distributions.priors import StandardNormal
from tfdm.estimators import posterior_bounds


def _posteriors(
    rng: np.random.Generator, num_data: int, latent_dim: int
) -> tuple[np.ndarray, np.ndarray]:
    loc = rng.normal(size=(num_data, latent_dim))
    scale = np.exp(rng.normal(-1.0, 1.0, size=(num_data, latent_dim)))
    return loc, scale


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (300, 50)])
def test_agrees_with_tfp(rng: np.random.Generator, shape: tuple[int, int]) -> None:
    loc, scale = _posteriors(rng, *shape)
    tfd = tfp.distributions
    standard = tfd.Normal(np.float64(0.0), np.float64(1.0))
    expected = tfd.kl_divergence(tfd.Normal(loc, scale), standard).numpy()

    bounds = posterior_bounds(loc, scale)

    per_latent = expected.mean(axis=0)
    np.testing.assert_allclose(bounds.average_kl_per_latent, per_latent, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(bounds.average_kl, expected.sum(axis=1).mean(), rtol=1e-12)
    np.testing.assert_allclose(bounds.average_kl_per_dimension, expected.mean(), rtol=1e-12)
    assert (bounds.num_data, bounds.latent_dim) == shape
    assert bounds.log_num_data == math.log(shape[0])
    assert bounds.minimum_marginal_kl == bounds.average_kl - math.log(shape[0])


def test_overlapping_posteriors_lie_between_the_bounds(rng: np.random.Generator) -> None:
    loc, scale = rng.normal(0.3, 0.8, size=5), rng.uniform(0.3, 0.6, size=5)
    bounds = posterior_bounds(loc[:, None], scale[:, None])
    kl = marginal_kl(loc, scale)
    # I[z; x] is neither 0 nor log N here: both bounds hold with room.
    assert bounds.minimum_marginal_kl + 0.05 < kl < bounds.average_kl - 0.05


def test_separated_posteriors_attain_the_lower_bound_and_equal_ones_the_upper() -> None:
    loc, scale = np.array([-4.0, -1.0, 0.5, 3.0]), np.array([0.05, 0.1, 0.02, 0.2])
    bounds = posterior_bounds(loc[:, None], scale[:, None])
    np.testing.assert_allclose(marginal_kl(loc, scale), bounds.minimum_marginal_kl, atol=1e-7)
    loc, scale = np.full(3, 0.7), np.full(3, 0.4)
    bounds = posterior_bounds(loc[:, None], scale[:, None])
    np.testing.assert_allclose(marginal_kl(loc, scale), bounds.average_kl, atol=1e-7)
    assert posterior_bounds(np.zeros((4, 3)), np.ones((4, 3))).average_kl == 0.0


def test_blocks_add_up(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    loc, scale = _posteriors(rng, 23, 4)
    whole = posterior_bounds(loc, scale)
    monkeypatch.setattr("tfdm.estimators.bounds._BLOCK", 20)  # blocks of five rows
    assert posterior_bounds(loc, scale).average_kl == pytest.approx(whole.average_kl, rel=1e-14)


def test_another_prior_is_sampled(rng: np.random.Generator, seed: int) -> None:
    loc, scale = _posteriors(rng, 30, 2)
    covariances = [np.diag(row**2) for row in scale]
    pairs = zip(loc, covariances, strict=True)
    expected = np.mean([gaussian_kl(mean, covariance, CORRELATED) for mean, covariance in pairs])
    bounds = posterior_bounds(loc, scale, CORRELATED, seed=seed)
    assert bounds.average_kl_standard_error is not None
    error = 4 * bounds.average_kl_standard_error
    assert 0 < error < 0.1
    assert abs(bounds.average_kl - expected) < error
    assert bounds.minimum_marginal_kl == bounds.average_kl - math.log(30)
    assert bounds.average_kl_per_latent is None
    assert bounds.active_latents == 2
    # The same samples, twice as far; a factor of two keeps float32's rounding.
    double = GaussianPrior(2 * CORRELATED.loc, 2 * CORRELATED.cholesky)
    moved = posterior_bounds(2 * loc, 2 * scale, double, seed=seed)
    assert moved.average_kl == pytest.approx(bounds.average_kl, rel=1e-9)


class _Wide(StandardNormal):
    def log_prob(self, codes: tf.Tensor) -> tf.Tensor:
        return super().log_prob(codes / 2) - self.latent_dim * math.log(2)


def test_a_standard_normal_prior_is_the_closed_form(rng: np.random.Generator) -> None:
    loc, scale = (array.astype(np.float32) for array in _posteriors(rng, 50, 8))
    expected = posterior_bounds(loc.astype(np.float64), scale.astype(np.float64))
    bounds = posterior_bounds(loc, scale, StandardNormal(8))  # float32 is computed in float64
    assert bounds.average_kl == expected.average_kl
    assert bounds.average_kl_standard_error is None
    # A subclass may be of another distribution, and tensors are asked with float32 tensors.
    wide = posterior_bounds(loc, scale, _Wide(8), seed=1)
    expected_kl = expected.average_kl + 8 * math.log(2) - 0.375 * np.sum(loc**2 + scale**2) / 50
    assert wide.average_kl_standard_error is not None
    assert abs(wide.average_kl - expected_kl) < 4 * wide.average_kl_standard_error
    other = posterior_bounds(loc[:, :2], scale[:, :2], TensorPrior())
    error = other.average_kl - posterior_bounds(loc[:, :2], scale[:, :2]).average_kl
    assert other.average_kl_standard_error is not None
    assert abs(error) < 4 * other.average_kl_standard_error
    with pytest.raises(ValueError, match="the prior is a int without latent_dim"):
        posterior_bounds(loc, scale, 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the prior has latent_dim 2, expected 8"):
        posterior_bounds(loc, scale, CORRELATED)


@pytest.mark.parametrize(
    ("loc", "scale", "message"),
    [
        (np.zeros(3), np.ones(3), r"loc has shape \(3,\) and scale \(3,\), expected \[N, L\]"),
        (np.zeros((2, 3)), np.ones((3, 2)), r"loc has shape \(2, 3\) and scale \(3, 2\)"),
        (np.zeros((0, 3)), np.ones((0, 3)), r"expected \[N, L\] for both with N >= 1"),
        (np.zeros((3, 0)), np.ones((3, 0)), r"L >= 1"),
        (np.zeros((2, 2)), np.array([[1, 1], [1, 0.0]]), r"scale\[1, 1\] is 0\.0, expected a v"),
        (np.array([[0.0, np.nan]]), np.ones((1, 2)), r"loc\[0, 1\] is nan, expected a finite"),
        (np.array([[-np.inf]]), np.ones((1, 1)), r"loc\[0, 0\] is -inf, expected a finite value"),
        (np.zeros((1, 1)), np.array([[np.inf]]), r"scale\[0, 0\] is inf, expected a finite value"),
    ],
)
def test_bad_arrays_are_named(loc: np.ndarray, scale: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        posterior_bounds(loc, scale)

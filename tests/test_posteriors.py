"""The marginal KL from densities alone, against the Gaussian route and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from tfdm.estimators import monte_carlo_kl, posterior_monte_carlo_kl

ERRORS = 4.0


class _AutoRegressive:
    """q(z_1|x) = N(x, s²), q(z_2|z_1, x) = N(a z_1, s²): a correlated Gaussian."""

    num_latents = 2

    def __init__(self, x: np.ndarray, slope: float, scale: float) -> None:
        self.x, self.slope, self.scale, self.num_data = x, slope, scale, len(x)

    def sample(self, rows: np.ndarray, seed: list[int]) -> np.ndarray:
        epsilon = np.random.default_rng([*seed, 1]).normal(size=(2, len(rows)))
        first = self.x[rows] + self.scale * epsilon[0]
        return np.stack([first, self.slope * first + self.scale * epsilon[1]], axis=1)

    def log_prob(self, codes: np.ndarray, rows: np.ndarray) -> np.ndarray:
        first = stats.norm.logpdf(codes[:, :1], self.x[rows], self.scale)
        return first + stats.norm.logpdf(codes[:, 1:], self.slope * codes[:, :1], self.scale)


def test_an_auto_regressive_posterior_agrees_with_the_closed_form(
    rng: np.random.Generator, seed: int
) -> None:
    # All x alike: q(z) is one Gaussian, with covariance s² [[1, a], [a, 1 + a²]].
    slope, scale, x = 0.8, 0.5, 0.3
    posteriors = _AutoRegressive(np.full(30, x), slope, scale)
    estimate = posterior_monte_carlo_kl(posteriors, 20_000, seed, components=7)
    trace = scale**2 * (2 + slope**2)
    expected = 0.5 * (trace + x**2 * (1 + slope**2) - 2 - 4 * math.log(scale))
    assert abs(estimate.kl - expected) < ERRORS * estimate.standard_error
    assert abs(estimate.average_kl - expected) < ERRORS * estimate.standard_error
    assert estimate.mutual_information == pytest.approx(0.0, abs=1e-9)


def test_eq_5_holds_and_independent_latents_give_the_gaussian_route(
    rng: np.random.Generator, seed: int
) -> None:
    posteriors = _AutoRegressive(rng.normal(size=40), 0.0, 0.3)
    estimate = posterior_monte_carlo_kl(posteriors, 20_000, seed)
    loc = np.stack([posteriors.x, np.zeros(40)], axis=1)
    other = monte_carlo_kl(loc, np.full_like(loc, 0.3), 50_000, seed)
    error = math.hypot(estimate.standard_error, other.standard_error)
    assert abs(estimate.kl - other.kl) < ERRORS * error
    parts = estimate.kl + estimate.mutual_information
    assert parts == pytest.approx(estimate.average_kl, abs=1e-9)
    assert abs(estimate.average_kl - other.average_kl) < 0.1


def test_far_apart_posteriors_are_saturated(seed: int) -> None:
    posteriors = _AutoRegressive(np.arange(20) * 3.0, 0.0, 0.01)
    estimate = posterior_monte_carlo_kl(posteriors, 2000, seed, components=6)
    assert estimate.mutual_information == pytest.approx(math.log(20), abs=1e-9)
    assert estimate.saturated


def test_bad_input_is_named() -> None:
    posteriors = _AutoRegressive(np.zeros(3), 0.0, 1.0)
    with pytest.raises(ValueError, match="num_samples is 1"):
        posterior_monte_carlo_kl(posteriors, 1)
    posteriors.scale = math.nan
    with pytest.raises(ValueError, match="NaN"):
        posterior_monte_carlo_kl(posteriors, 10)

"""Posteriors by capability, and the marginal KL from densities alone, against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow_probability as tfp

from tests.kl_cases import CORRELATED, FullCovariance, GaussianPrior, gaussian_kl
from tfdm.distributions.posteriors import GaussianPosterior
from tfdm.estimators import FixedCodes, GaussianCodes, monte_carlo_kl, posterior_monte_carlo_kl
from tfdm.estimators.posteriors import (
    DataPosteriors,
    codes_to_fit,
    draw,
    gaussian_parameters,
    make_posteriors,
)

ERRORS = 4.0
CHOLESKY = np.array([[0.5, 0.0], [0.4, 0.6]])


@pytest.mark.parametrize("prior", [None, CORRELATED])
def test_equal_posteriors_have_the_closed_form(prior: GaussianPrior | None, seed: int) -> None:
    posterior = FullCovariance(np.tile([0.3, -0.2], (30, 1)), CHOLESKY)
    estimate = posterior_monte_carlo_kl(
        posterior, 6000, seed, prior=prior, block_pairs=300, progress=False
    )
    expected = gaussian_kl([0.3, -0.2], CHOLESKY @ CHOLESKY.T, prior)
    assert abs(estimate.kl - expected) < ERRORS * estimate.standard_error
    assert abs(estimate.average_kl - expected) < ERRORS * estimate.standard_error
    assert estimate.mutual_information == pytest.approx(0.0, abs=1e-9)
    assert (estimate.num_samples, estimate.num_data, estimate.latent_dim) == (6000, 30, 2)
    assert posterior.largest == 300  # pairs that were asked for at once


def test_independent_latents_give_the_gaussian_route(rng: np.random.Generator, seed: int) -> None:
    loc = rng.normal(size=(40, 2))
    posterior = FullCovariance(loc, 0.3 * np.eye(2))
    estimate = posterior_monte_carlo_kl(posterior, 8000, seed, progress=False)
    other = monte_carlo_kl(loc, np.full_like(loc, 0.3), 50_000, seed, progress=False)
    error = math.hypot(estimate.standard_error, other.standard_error)
    assert abs(estimate.kl - other.kl) < ERRORS * error
    parts = estimate.kl + estimate.mutual_information
    assert parts == pytest.approx(estimate.average_kl, abs=1e-9)
    assert abs(estimate.average_kl - other.average_kl) < 0.1
    # Twice as far from a prior twice as far: a factor of two keeps float32's rounding.
    near, far = (
        posterior_monte_carlo_kl(
            FullCovariance(factor * loc, 0.3 * factor * np.eye(2)), 8000, seed,
            prior=GaussianPrior([5.0 * factor] * 2, factor * np.eye(2)), progress=False,
        )
        for factor in (1.0, 2.0)
    )  # fmt: skip
    assert far.kl == pytest.approx(near.kl, rel=1e-9)


def test_far_apart_posteriors_are_saturated(seed: int) -> None:
    posterior = FullCovariance(3.0 * np.arange(20)[:, None] * np.ones(2), 0.01 * np.eye(2))
    estimate = posterior_monte_carlo_kl(posterior, 2000, seed, block_pairs=6, progress=False)
    assert estimate.mutual_information == pytest.approx(math.log(20), abs=1e-9)
    assert estimate.saturated


def test_bad_input_is_named() -> None:
    posterior = FullCovariance(np.zeros((3, 2)), np.eye(2))
    with pytest.raises(ValueError, match="num_samples is 1"):
        posterior_monte_carlo_kl(posterior, 1)
    posterior.log_prob = lambda codes: np.full(codes.shape[:-1], np.nan)  # type: ignore
    with pytest.raises(ValueError, match="NaN"):
        posterior_monte_carlo_kl(posterior, 10)
    posterior.sample = lambda seed: np.zeros(3)  # type: ignore
    with pytest.raises(ValueError, match=r"shape \(3,\), expected \[B, L\]"):
        posterior_monte_carlo_kl(posterior, 10)


class _SampleOnly:
    def __init__(self, codes: np.ndarray) -> None:
        self.sample = lambda seed: codes + seed % 2


def test_posteriors_are_asked_for_what_they_can(rng: np.random.Generator) -> None:
    loc, scale = rng.normal(size=(1200, 2)), rng.uniform(0.5, 1.0, size=(1200, 2))
    asked: list[int] = []
    gaussian = make_posteriors(
        lambda rows: GaussianPosterior(loc[rows], scale[rows]), 1200, asked.append
    )
    assert isinstance(gaussian, GaussianCodes)
    np.testing.assert_array_equal(gaussian.loc, loc)
    np.testing.assert_array_equal(gaussian.scale, scale)
    assert asked == [500, 1000, 1200]
    density = make_posteriors(lambda rows: FullCovariance(loc[rows], CHOLESKY), 1200)
    assert isinstance(density, DataPosteriors)
    codes = make_posteriors(lambda rows: _SampleOnly(loc[rows]), 1200)
    assert isinstance(codes, FixedCodes)
    for posteriors in (gaussian, density, codes):
        assert (posteriors.num_data, posteriors.latent_dim) == (1200, 2)
    # A matrix in the place of the deviations is not a diagonal Gaussian.
    matrices = GaussianPosterior(loc, np.zeros((1200, 2, 2)))
    assert gaussian_parameters(matrices) is None


def test_loc_and_scale_alone_do_not_make_a_gaussian(rng: np.random.Generator) -> None:
    loc, scale = rng.normal(size=(9, 2)), np.full((9, 2), 0.4)
    tfd = tfp.distributions
    same = FullCovariance(loc, 0.4 * np.eye(2))
    same.loc, same.scale = loc, scale  # type: ignore[attr-defined]
    other = tfd.Laplace(loc, scale)
    joint = FullCovariance(loc, CHOLESKY)
    joint.loc, joint.scale = loc, scale  # type: ignore[attr-defined]
    assert gaussian_parameters(same) is not None
    for posterior in (joint, other):
        assert gaussian_parameters(posterior) is None
    with pytest.raises(ValueError, match=r"log_prob has shape \(9, 2\), expected \(9,\)"):
        draw(other, 0)


def test_a_subset_has_distinct_data_points(rng: np.random.Generator, seed: int) -> None:
    means = rng.normal(size=(700, 2))
    posteriors = DataPosteriors(lambda rows: FullCovariance(means[rows], CHOLESKY), 700, 2)
    subset = posteriors.subset(256, seed)
    [(rows, part)] = subset.blocks()
    assert (subset.num_data, len(rows)) == (256, 256)
    assert len(np.unique(part.means, axis=0)) == 256
    assert {tuple(mean) for mean in part.means} <= {tuple(mean) for mean in means}
    assert posteriors.subset(700, seed) is posteriors


def test_a_gaussian_is_drawn_in_float64_with_its_density(seed: int) -> None:
    loc, scale = np.full((4, 2), 3.0, np.float32), np.full((4, 2), 1e-4, np.float32)
    codes, log_prob = draw(GaussianPosterior(loc, scale), seed)
    noise = (codes - loc) / scale.astype(np.float64)
    expected = -0.5 * np.sum(noise**2 + np.log(2 * np.pi), axis=1) - 2 * np.log(scale[0, 0])
    np.testing.assert_allclose(log_prob, expected, rtol=1e-6)


def test_codes_to_fit_are_held_out_where_they_cannot_be_drawn_anew(seed: int) -> None:
    gaussian = GaussianCodes(np.zeros((3, 2)), np.ones((3, 2)))
    assert codes_to_fit(gaussian, gaussian, seed) == (gaussian, None)
    density = DataPosteriors.whole(FullCovariance(np.zeros((300, 2)), CHOLESKY))
    fitted, held_out = codes_to_fit(density, None, seed)
    assert isinstance(fitted, FixedCodes)
    assert isinstance(held_out, FixedCodes)
    assert len(fitted.codes) == len(held_out.codes) == 50_100  # whole rounds of 300
    assert not np.intersect1d(fitted.codes, held_out.codes).size
    codes = FixedCodes(np.arange(20.0)[:, None])
    assert codes_to_fit(codes, codes, seed) == (codes, codes)
    fitted, held_out = codes_to_fit(codes, None, seed)
    assert isinstance(held_out, FixedCodes)
    np.testing.assert_array_equal(held_out.codes[:, 0], [4, 9, 14, 19])
    assert isinstance(fitted, FixedCodes)
    assert not np.intersect1d(fitted.codes, held_out.codes).size

"""`monte_carlo_kl` and the mixture density against quadrature, closed forms and float64."""

from __future__ import annotations

import math
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

from tests.kl_cases import CORRELATED, GaussianPrior, gaussian_kl, marginal_kl
from tfdm.estimators import MixtureDensity, monte_carlo_kl, posterior_bounds

# Chance of a false alarm in a test of this many standard errors: 6e-5.
ERRORS = 4.0


def _log_q(points: np.ndarray, loc: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Log-density [B] of the mixture at points [B, L], in float64, by its definition."""
    components = stats.norm.logpdf(points[:, None, :], loc, scale).sum(axis=2)
    return special.logsumexp(components, axis=1) - math.log(len(loc))


def _posteriors(
    rng: np.random.Generator, shape: tuple[int, int], scale: float
) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(size=shape), scale * np.exp(rng.normal(0.0, 0.3, size=shape))


def test_one_dimension_agrees_with_quadrature(rng: np.random.Generator, seed: int) -> None:
    loc, scale = _posteriors(rng, (7, 1), 0.4)

    expected = marginal_kl(loc[:, 0], scale[:, 0])
    estimate = monte_carlo_kl(loc, scale, 100_000, seed)
    assert abs(estimate.kl - expected) < ERRORS * estimate.standard_error
    assert estimate.kl_per_dimension == estimate.kl
    information = estimate.average_kl - expected
    error = abs(estimate.mutual_information - information)
    assert error < ERRORS * estimate.mutual_information_standard_error
    assert not estimate.saturated


@pytest.mark.parametrize("num_data", [1, 50])
def test_identical_posteriors_have_the_average_kl(num_data: int, seed: int) -> None:
    loc, scale = np.full((num_data, 3), 0.7), np.full((num_data, 3), 0.4)
    estimate = monte_carlo_kl(loc, scale, 50_000, seed)
    assert abs(estimate.kl - estimate.average_kl) < ERRORS * estimate.standard_error
    assert estimate.mutual_information == pytest.approx(0.0, abs=1e-5)
    assert (estimate.log_num_data, estimate.saturated) == (math.log(num_data), False)


@pytest.mark.parametrize("scale", [0.05, 1e-3], ids=["fast", "exact"])
def test_distant_posteriors_saturate(rng: np.random.Generator, seed: int, scale: float) -> None:
    loc = rng.permutation(np.arange(40.0))[:, None] - 20.0
    estimate = monte_carlo_kl(loc, np.full_like(loc, scale), 20_000, seed)
    assert estimate.mutual_information == pytest.approx(math.log(40), abs=1e-3)
    assert estimate.saturated
    expected = estimate.average_kl - math.log(40)
    assert abs(estimate.kl - expected) < ERRORS * estimate.standard_error


@pytest.mark.parametrize(
    ("scale", "exact"), [(0.5, False), (0.03, True), (1e-3, True)], ids=["0.5", "0.03", "0.001"]
)
@pytest.mark.parametrize("left_out", [False, True], ids=["whole", "leave_one_out"])
def test_density_in_float64(
    rng: np.random.Generator, scale: float, exact: bool, left_out: bool
) -> None:
    # More components than one block, points beside their own and others.
    loc, scales = _posteriors(rng, (2500, 20), scale)
    loc[1::2] = loc[::2] + 0.5 * scales[::2]  # neighbours that overlap
    rows = rng.integers(len(loc), size=600)
    points = loc[rows] + scales[rows] * rng.normal(size=(600, 20))
    mixture = MixtureDensity(loc, scales)
    assert mixture.exact == exact
    expected = np.empty(600)
    for i, row in enumerate(rows):
        keep = np.arange(len(loc)) != row if left_out else slice(None)
        expected[i] = _log_q(points[i : i + 1], loc[keep], scales[keep])[0]
    actual = mixture.log_prob(points, rows if left_out else None)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-9 if exact else 1e-3)


def _against_the_others(
    centers: np.ndarray, widths: np.ndarray, others: list[tuple[np.ndarray, np.ndarray]]
) -> float:
    """The mean over n of E[log mixture(others[n]) − log p] under N(centers[n], widths[n]²)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    total = 0.0
    for center, width, (loc, scale) in zip(centers, widths, others, strict=True):
        points = center + width * nodes[:, None]
        log_ratio = _log_q(points, loc, scale) - stats.norm.logpdf(points[:, 0])
        total += weights @ log_ratio / math.sqrt(2 * math.pi)
    return total / len(centers)


def test_leave_one_out_removes_the_own_component(rng: np.random.Generator, seed: int) -> None:
    loc, scale = _posteriors(rng, (6, 1), 0.4)
    rest = [(np.delete(loc, n, 0), np.delete(scale, n, 0)) for n in range(6)]
    expected = _against_the_others(loc, scale, rest)
    estimate = monte_carlo_kl(loc, scale, 100_000, seed, leave_one_out=True)
    assert abs(estimate.kl - expected) < ERRORS * estimate.standard_error + 1e-3
    assert estimate.variant == "leave_one_out"
    far = monte_carlo_kl(100.0 * np.arange(6.0)[:, None], np.ones((6, 1)), 500, leave_one_out=True)
    assert far.mutual_information > math.log(6)
    assert not far.saturated


def test_held_out_codes_meet_the_mixture_of_the_others(rng: np.random.Generator, seed: int) -> None:
    loc, scale = _posteriors(rng, (6, 1), 0.4)
    others = _posteriors(rng, (3, 1), 0.6)
    expected = _against_the_others(*others, [(loc, scale)] * 3)
    estimate = monte_carlo_kl(loc, scale, 100_000, seed, held_out=others)
    assert abs(estimate.kl - expected) < ERRORS * estimate.standard_error + 1e-3
    assert estimate.average_kl == pytest.approx(posterior_bounds(*others).average_kl)
    assert (estimate.variant, estimate.num_data) == ("held_out", 6)


def test_another_prior_moves_it_by_a_known_amount(rng: np.random.Generator, seed: int) -> None:
    loc, scale = _posteriors(rng, (6, 2), 0.4)
    # E_q[log N(z; 0, I) − log p(z)] by the second moments of the mixture.
    posteriors = [(mean, np.diag(width**2)) for mean, width in zip(loc, scale, strict=True)]
    known = np.mean([gaussian_kl(*q, CORRELATED) - gaussian_kl(*q) for q in posteriors])
    standard = monte_carlo_kl(loc, scale, 50_000, seed, progress=False)
    estimate = monte_carlo_kl(loc, scale, 50_000, seed, prior=CORRELATED, progress=False)
    error = math.hypot(standard.standard_error, estimate.standard_error)
    assert abs(estimate.kl - standard.kl - known) < ERRORS * error
    assert estimate.mutual_information == standard.mutual_information
    assert estimate.average_kl == pytest.approx(estimate.kl + estimate.mutual_information)
    moved = monte_carlo_kl(
        loc + 2.0, scale, 50_000, seed, prior=CORRELATED.shifted(2.0), progress=False
    )
    assert moved.kl == pytest.approx(estimate.kl, abs=1e-3)
    # N(0, I) as an object of another class: sampled, and the same but for codes in float32.
    same = GaussianPrior(np.zeros(2), np.eye(2))
    again = monte_carlo_kl(loc, scale, 50_000, seed, prior=same, progress=False)
    assert again.kl == pytest.approx(standard.kl, rel=1e-7)
    assert abs(again.average_kl - standard.average_kl) < ERRORS * 2 * again.standard_error


def test_samples_depend_on_the_seed_and_their_index(rng: np.random.Generator) -> None:
    loc, scale = _posteriors(rng, (9, 2), 0.4)
    done = []
    first = monte_carlo_kl(loc, scale, 10_000, 3, progress=lambda *at: done.append(at))
    assert monte_carlo_kl(loc, scale, 10_000, 3) == first
    assert monte_carlo_kl(loc, scale, 10_000, 4).kl != first.kl
    assert done == [(4096, 10_000), (8192, 10_000), (10_000, 10_000)]
    low, high = first.interval
    assert (low + high) / 2 == pytest.approx(first.kl)
    assert (high - low) / first.standard_error == pytest.approx(3.92, abs=1e-3)


@pytest.mark.parametrize(
    ("loc", "scale", "options", "message"),
    [
        (np.zeros((2, 3)), np.ones((3, 2)), {}, r"loc has shape \(2, 3\)"),
        (np.zeros((2, 1)), np.array([[1.0], [0.0]]), {}, r"scale\[1, 0\] is 0\.0"),
        (np.zeros((2, 1)), np.ones((2, 1)), {"num_samples": 1}, "num_samples is 1"),
        (np.zeros((2, 1)), np.ones((2, 1)), {"seed": -1}, "seed is -1"),
        (np.zeros((1, 1)), np.ones((1, 1)), {"leave_one_out": True}, "two posteriors or more"),
        (np.zeros((2, 1)), np.ones((2, 1)), {"held_out": (np.zeros((2, 3)), np.ones((2, 3)))},
         "held_out has latent_dim 3, expected 1"),
        (np.ones((2, 1)), np.full((2, 1), 1e-20), {}, "beyond float32"),
    ],
)  # fmt: skip
def test_bad_input_is_named(loc, scale, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        monte_carlo_kl(loc, scale, **options)


def test_a_stopped_estimate_goes_on(rng: np.random.Generator, tmp_path: pathlib.Path) -> None:
    loc, scale = _posteriors(rng, (9, 2), 0.4)
    state = tmp_path / "state.json"
    whole = monte_carlo_kl(loc, scale, 50_000, 3)

    def stop(done: int, total: int) -> None:
        if done > 40_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        monte_carlo_kl(loc, scale, 50_000, 3, state_path=state, progress=stop)
    calls: list[int] = []
    resumed = monte_carlo_kl(
        loc, scale, 50_000, 3, state_path=state, progress=lambda done, _: calls.append(done)
    )
    assert resumed == whole
    assert calls == [36_864, 40_960, 45_056, 49_152, 50_000]
    # What is done is not done again, and the state of one call is none of another's.
    assert monte_carlo_kl(loc, scale, 50_000, 3, state_path=state) == whole
    for options in ({"loc": loc + 0.1}, {"prior": CORRELATED}):
        call = {"loc": loc, "scale": scale, "num_samples": 50_000, "seed": 3, **options}
        assert monte_carlo_kl(**call, state_path=state) == monte_carlo_kl(**call)
    state.write_text("{")
    assert monte_carlo_kl(loc, scale, 50_000, 3, state_path=state) == whole


@pytest.mark.parametrize("left_out", [False, True], ids=["whole", "leave_one_out"])
def test_two_devices_are_as_one(rng: np.random.Generator, seed: int, left_out: bool) -> None:
    loc, scale = _posteriors(rng, (5000, 3), 0.4)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    one = monte_carlo_kl(loc, scale, 4999, seed, leave_one_out=left_out)
    two = monte_carlo_kl(loc, scale, 4999, seed, leave_one_out=left_out, strategy=strategy)
    assert two.kl == pytest.approx(one.kl, abs=1e-5)
    assert two.standard_error == pytest.approx(one.standard_error, rel=1e-4)


def test_a_reference_does_not_change_the_density(rng: np.random.Generator) -> None:
    loc, scale = _posteriors(rng, (300, 4), 0.4)
    points = loc + scale * rng.normal(size=loc.shape)
    mixture = MixtureDensity(loc, scale)
    expected = mixture.log_prob(points)
    for shift in (0.0, -300.0, 300.0, 5.0):
        reference = stats.norm.logpdf(points, loc, scale).sum(axis=1) + shift
        actual = mixture.log_prob(points, reference=reference)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-3)

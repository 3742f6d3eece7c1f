"""The importance-weighted bound against the exact likelihood of a linear-Gaussian model."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special, stats

from tfdm.estimators import importance_weighted_bound

ERRORS = 4.0
# z ~ N(0, 1), x|z ~ N(z, s²): p(x) = N(0, 1 + s²), q(z|x) = N(m(x), v) with wrong m and v.
S = 0.7


def _log_weights(x: np.ndarray, factor: float, scale: float, seed: int):
    def log_weights(start: int, stop: int, k: int) -> np.ndarray:
        part = x[start:stop]
        mean = factor * part / (1 + S**2)
        z = mean + scale * np.random.default_rng([seed, start, k]).normal(size=stop - start)
        joint = stats.norm.logpdf(part, z, S) + stats.norm.logpdf(z)
        return joint - stats.norm.logpdf(z, mean, scale)

    return log_weights


def test_the_exact_posterior_gives_the_likelihood(rng, seed):
    x = math.sqrt(1 + S**2) * rng.normal(size=50)
    scale = S / math.sqrt(1 + S**2)
    bound = importance_weighted_bound(_log_weights(x, 1.0, scale, seed), 50, 3, batch_size=7)
    expected = stats.norm.logpdf(x, 0, math.sqrt(1 + S**2)).mean()
    assert bound.log_likelihood == pytest.approx(expected, abs=1e-12)
    assert bound.elbo == pytest.approx(expected, abs=1e-12)
    assert bound.effective_samples == pytest.approx(3.0)


def test_many_samples_reach_the_likelihood(rng, seed):
    x = math.sqrt(1 + S**2) * rng.normal(size=200)
    factor, scale = 0.8, 0.6
    exact = stats.norm.logpdf(x, 0, math.sqrt(1 + S**2))
    # ELBO = log p(x) − KL[q(z|x) ‖ p(z|x)].
    variance, shift = S**2 / (1 + S**2), (1 - factor) * x / (1 + S**2)
    kl = 0.5 * ((scale**2 + shift**2) / variance - 1 - math.log(scale**2 / variance))
    weights = _log_weights(x, factor, scale, seed)
    bound = importance_weighted_bound(weights, 200, 400, batch_size=64, progress=False)
    all_weights = np.stack(
        [
            np.concatenate([weights(i, min(i + 64, 200), k) for i in range(0, 200, 64)])
            for k in range(400)
        ]
    )
    error = all_weights.std(axis=0).max() / math.sqrt(200 * 400)
    assert abs(bound.elbo - (exact - kl).mean()) < ERRORS * error
    expected = (special.logsumexp(all_weights, axis=0) - math.log(400)).mean()
    assert bound.log_likelihood == pytest.approx(expected, abs=1e-10)
    # The gap that is left is half the weights' relative variance over K (Domke & Sheldon 2018).
    variance = np.exp(all_weights - exact).var(axis=0) / 400
    error = math.sqrt(variance.mean() / 200)
    assert abs(bound.log_likelihood - exact.mean() + variance.mean() / 2) < ERRORS * error
    assert 1.0 < bound.effective_samples < 400.0


@pytest.mark.parametrize(
    ("num_data", "num_samples", "weight", "message"),
    [(1, 5, 0.0, "num_data is 1"), (5, 0, 0.0, "num_samples is 0"), (5, 5, np.nan, "NaN")],
)
def test_bad_numbers_are_named(num_data, num_samples, weight, message):
    with pytest.raises(ValueError, match=message):
        importance_weighted_bound(lambda a, b, k: np.full(b - a, weight), num_data, num_samples)

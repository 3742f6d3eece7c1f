"""The marginal KL of any posterior whose density can be evaluated, on a subset of the data.

For auto-regressive posteriors and the like there is neither a closed form of the average KL nor a
matrix product for the mixture: both come from log q(z|x) itself, evaluated for every pair of a
sample and a data point. That costs S·N evaluations, so the mixture is one of a stated subset of
the data, and log N is that of the subset.

Shapes: N data points of the subset, L latent dimensions, S samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tfdm.estimators.bounds import is_saturated
from tfdm.estimators.monte_carlo import MonteCarloKL
from tfdm.statistics import RunningMean

FloatArray = npt.NDArray[np.float64]


class Posteriors(Protocol):
    """q(z|x_n) of N data points, by their densities."""

    @property
    def num_data(self) -> int:
        """N."""

    @property
    def num_latents(self) -> int:
        """L."""

    def sample(self, rows: npt.NDArray[np.intp], seed: list[int]) -> npt.ArrayLike:
        """Returns z ~ q(z|x_n) for each n of `rows` [B], [B, L]; a function of `seed`."""

    def log_prob(self, codes: FloatArray, rows: npt.NDArray[np.intp]) -> npt.ArrayLike:
        """Returns log q(z_b|x_n), [B, C], for all codes [B, L] and all n of `rows` [C]."""


def posterior_monte_carlo_kl(
    posteriors: Posteriors,
    num_samples: int,
    seed: int = 0,
    *,
    batch_size: int = 256,
    components: int = 256,
    progress: Callable[[int, int], None] | None = None,
) -> MonteCarloKL:
    """Estimates KL[q(z) ‖ p(z)] and the average KL from densities alone (Algorithm 1).

    The average KL is the mean of log q(z|x) − log p(z) over the same samples.

    Args:
      posteriors: of the subset of the data that q(z) is the mixture of.
      num_samples: S, at least 2.
      seed: of the samples; a batch is a function of (seed, its index).
      batch_size: samples that are evaluated at once.
      components: data points that are evaluated at once.
      progress: called with (samples done, S) after every batch.

    Raises:
      ValueError: a number is too small, an array has the wrong shape, or a density is NaN or +inf.
    """
    num_data, num_latents = posteriors.num_data, posteriors.num_latents
    for name, value, least in (
        ("num_samples", num_samples, 2),
        ("seed", seed, 0),
        ("batch_size", batch_size, 1),
        ("components", components, 1),
        ("num_data", num_data, 1),
    ):
        if value < least:
            raise ValueError(f"{name} is {value}, expected {least} or more")
    kl, information, conditional = RunningMean(), RunningMean(), RunningMean()
    for index, start in enumerate(range(0, num_samples, batch_size)):
        size = min(batch_size, num_samples - start)
        # Two streams: a posterior that seeds its noise as we do must not repeat the rows' bits.
        rows = np.random.default_rng([seed, 1, index]).integers(num_data, size=batch_size)[:size]
        codes = np.asarray(posteriors.sample(rows, [seed, 2, index]), np.float64)
        if codes.shape != (size, num_latents):
            raise ValueError(f"codes have shape {codes.shape}, expected {(size, num_latents)}")
        log_q = np.full(size, -np.inf)
        own = np.empty(size)
        for first in range(0, num_data, components):
            block = np.arange(first, min(first + components, num_data))
            logits = _log_prob(posteriors, codes, block)
            log_q = np.logaddexp(log_q, np.logaddexp.reduce(logits, axis=1))
            inside = (rows >= first) & (rows < first + components)
            own[inside] = logits[inside, rows[inside] - first]
        log_q -= math.log(num_data)
        log_prior = -0.5 * (np.sum(codes**2, axis=1) + num_latents * math.log(2 * math.pi))
        kl.add(log_q - log_prior)
        information.add(own - log_q)
        conditional.add(own - log_prior)
        if progress is not None:
            progress(kl.count, num_samples)
    return MonteCarloKL(
        kl=kl.mean,
        kl_per_dimension=kl.mean / num_latents,
        standard_error=kl.standard_error,
        interval=kl.interval,
        mutual_information=information.mean,
        mutual_information_standard_error=information.standard_error,
        log_num_data=math.log(num_data),
        saturated=is_saturated(information.mean, num_data),
        average_kl=conditional.mean,
        num_samples=num_samples,
        num_data=num_data,
        num_latents=num_latents,
        variant="whole",
    )


def _log_prob(posteriors: Posteriors, codes: FloatArray, rows: npt.NDArray[np.intp]) -> FloatArray:
    logits = np.asarray(posteriors.log_prob(codes, rows), np.float64)
    if logits.shape != (len(codes), len(rows)):
        raise ValueError(f"log_prob has shape {logits.shape}, expected {(len(codes), len(rows))}")
    if np.isnan(logits).any() or np.isposinf(logits).any():
        raise ValueError("log_prob is NaN or +inf, expected log-densities")
    return logits

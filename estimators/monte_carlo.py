"""KL[q(z) ‖ p(z)] by Monte Carlo, with every posterior in the mixture (Algorithm 1, A.2).

The aggregate posterior of N data points is the mixture q(z) = 1/N Σ_n q(z|x_n). A sample draws n,
then z ~ q(z|x_n), and contributes log q(z) − log p(z) with p(z) = N(0, I); Algorithm 1 forgets the
− log N of the mixture. With S samples that is S·N densities of L dimensions, so it is the matrix
product [z², z, 1]·[−1/(2σ²), μ/σ², c]ᵀ that decides the cost. In float32 it cancels where scales
are small: its error is measured first, and where it is too large the product only chooses the
components that matter, which are then evaluated anew in float64.

With posteriors that hardly overlap the value can only repeat average KL − log N, whatever the
encoder would do to more data. Two variants tell: `leave_one_out` takes x_n out of the mixture, and
`held_out` draws z from posteriors of other data. Both are cross terms E_{q'}[log q(z) − log p(z)],
at most KL[q' ‖ p], and far below it where q does not know the places of q'.

Shapes: N data points, L latent dimensions, S samples. Everything in nats.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tfdm.estimators.bounds import is_saturated, posterior_bounds
from tfdm.estimators.mixture import MixtureDensity
from tfdm.statistics import RunningMean, digest, load_moments, save_moments

if TYPE_CHECKING:
    import tensorflow as tf

# Samples whose noise comes from one generator: part of what a seed means.
_BLOCK = 4096
# Blocks between two writes of the state.
_SAVE_EVERY = 8

FloatArray = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class MonteCarloKL:
    """An estimate of KL[q(z) ‖ p(z)] from samples of q(z), in nats.

    Attributes:
      kl: the estimate, the mean of log q(z) − log p(z).
      kl_per_dimension: `kl` / L.
      standard_error: of `kl`.
      interval: 95 % confidence interval of `kl`.
      mutual_information: I[z; x], the mean of log q(z|x) − log q(z); at most log N, save for the
        sampling error and in the two variants.
      mutual_information_standard_error: of `mutual_information`; zero when it is saturated, where
        average KL − `mutual_information` is the sharper estimate of the same KL (eq. 5).
      log_num_data: log N.
      saturated: whether the mutual information is above 95 % of log N. The posteriors then hardly
        overlap, and the estimate can only repeat average KL − log N. False in the two variants,
        which log N does not bound.
      average_kl: mean over x of KL[q(z|x) ‖ p(z)] in closed form, of the x that z is drawn from.
      num_samples: S.
      num_data: N, the posteriors in the mixture.
      num_latents: L.
      variant: `whole`, `leave_one_out` or `held_out`. In the latter two `kl` is
        E_{q'}[log q(z) − log p(z)], where q lacks the x that z came from.
    """

    kl: float
    kl_per_dimension: float
    standard_error: float
    interval: tuple[float, float]
    mutual_information: float
    mutual_information_standard_error: float
    log_num_data: float
    saturated: bool
    average_kl: float
    num_samples: int
    num_data: int
    num_latents: int
    variant: str


def monte_carlo_kl(
    loc: npt.ArrayLike,
    scale: npt.ArrayLike,
    num_samples: int = 1_000_000,
    seed: int = 0,
    *,
    leave_one_out: bool = False,
    held_out: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    strategy: tf.distribute.Strategy | None = None,
    state_path: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> MonteCarloKL:
    """Estimates KL[q(z) ‖ p(z)] for diagonal Gaussian posteriors (Algorithm 1).

    Memory is bounded whatever S is. Within 1e-3 nats of the same samples in float64.

    Args:
      loc: [N, L], the means of q(z|x_n), finite.
      scale: [N, L], the standard deviations, finite and > 0.
      num_samples: S, at least 2; the paper has 10⁶.
      seed: of the samples; sample i is the same whatever S is.
      leave_one_out: z from x_n, the mixture without x_n; needs N ≥ 2.
      held_out: means and standard deviations [M, L] of other data; z is drawn from these.
      strategy: whose devices share the work; by default the current one.
      state_path: a file that keeps the sums on the way, so that a call that was stopped goes on
        where it was, to the same value. One of another call is started anew.
      progress: called with (samples done, S) after every block.

    Raises:
      ValueError: the arrays or numbers are not as described.
    """
    bounds = posterior_bounds(loc, scale)
    loc, scale = np.asarray(loc, np.float64), np.asarray(scale, np.float64)
    num_data, num_latents = loc.shape
    if num_samples < 2:
        raise ValueError(f"num_samples is {num_samples}, expected 2 or more")
    if seed < 0:
        raise ValueError(f"seed is {seed}, expected 0 or more")
    if leave_one_out and num_data < 2:
        raise ValueError(f"leave_one_out needs two posteriors or more, has {num_data}")
    if leave_one_out and held_out is not None:
        raise ValueError("leave_one_out and held_out exclude each other, expected one of them")
    source, average_kl = (loc, scale), bounds.average_kl
    if held_out is not None:
        average_kl = posterior_bounds(*held_out).average_kl
        source = (np.asarray(held_out[0], np.float64), np.asarray(held_out[1], np.float64))
        if source[0].shape[1] != num_latents:
            raise ValueError(
                f"held_out has {source[0].shape[1]} latent dimensions, expected {num_latents}"
            )

    variant = "leave_one_out" if leave_one_out else "whole" if held_out is None else "held_out"
    state = None if state_path is None else Path(state_path)
    key = "" if state is None else digest(loc, scale, *source, variant, num_samples, seed)
    kl, information = load_moments(state, key) or (RunningMean(), RunningMean())
    mixture = MixtureDensity(loc, scale, strategy)
    for index in range(-(-kl.count // _BLOCK), -(-num_samples // _BLOCK)):
        rows, codes, log_posterior = _sample(*source, num_samples, seed, index)
        if leave_one_out:
            log_q = mixture.log_prob(codes, without=rows)
        else:
            # The density of a held-out posterior says nothing about those of the mixture.
            log_q = mixture.log_prob(codes, reference=log_posterior if held_out is None else None)
        log_prior = -0.5 * (np.sum(codes**2, axis=1) + num_latents * math.log(2 * math.pi))
        kl.add(log_q - log_prior)
        information.add(log_posterior - log_q)
        if state is not None and (index + 1) % _SAVE_EVERY == 0:
            save_moments(state, key, (kl, information))
        if progress is not None:
            progress(kl.count, num_samples)
    if state is not None:
        save_moments(state, key, (kl, information))

    return MonteCarloKL(
        kl=kl.mean,
        kl_per_dimension=kl.mean / num_latents,
        standard_error=kl.standard_error,
        interval=kl.interval,
        mutual_information=information.mean,
        mutual_information_standard_error=information.standard_error,
        log_num_data=bounds.log_num_data,
        saturated=variant == "whole" and is_saturated(information.mean, num_data),
        average_kl=average_kl,
        num_samples=num_samples,
        num_data=num_data,
        num_latents=num_latents,
        variant=variant,
    )


def _sample(
    loc: FloatArray, scale: FloatArray, num_samples: int, seed: int, index: int
) -> tuple[npt.NDArray[np.intp], FloatArray, FloatArray]:
    """Block `index` of (n, z ~ q(z|x_n), log q(z|x_n)), a function of (seed, index)."""
    num_data, num_latents = loc.shape
    rng = np.random.default_rng([seed, index])
    rows = rng.integers(num_data, size=_BLOCK)
    epsilon = rng.standard_normal((_BLOCK, num_latents))
    left = num_samples - index * _BLOCK
    rows, epsilon = rows[:left], epsilon[:left]
    scales = scale[rows]
    log_posterior = -0.5 * np.sum(epsilon**2, axis=1) - np.sum(np.log(scales), axis=1)
    log_posterior -= 0.5 * num_latents * math.log(2 * math.pi)
    return rows, loc[rows] + scales * epsilon, log_posterior

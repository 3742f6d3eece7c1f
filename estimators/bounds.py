"""What the posteriors alone say about the marginal KL.

Averaged over the data, the posterior's distance from the prior splits in two (eq. 5):

  E_x KL[q(z|x) ‖ p(z)] = KL[q(z) ‖ p(z)] + I[z; x].

The left side is known in closed form for diagonal Gaussians and p(z) = N(0, I), and the mean of
log q(z|x) − log p(z) over samples otherwise. Over N data points I is at most log N: the marginal KL
is at least the average KL − log N, and at most the average KL.

Shapes: N data points, L latent dimensions.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from tfdm.distributions.priors import Prior
from tfdm.estimators.codes import checked_gaussians, draw_gaussians
from tfdm.estimators.priors import checked_prior, log_prior
from tfdm.seeds import stream
from tfdm.statistics import FloatArray, RunningMean

# Samples of a block, and elements of a block of posteriors.
_SAMPLES = 4096
_BLOCK = 2**20
# Share of log N from which on the mutual information says no more than that N is finite.
_SATURATED = 0.95
# Variance of a latent's posterior mean from which on it is active (Burda et al. 2016).
_ACTIVE = 0.01


@dataclasses.dataclass(frozen=True, eq=False)
class PosteriorBounds:
    """The average KL of N posteriors and the bounds on the marginal KL from it (eq. 5), in nats."""

    num_data: int  # N
    latent_dim: int  # L
    average_kl: float  # the mean over x of KL[q(z|x) ‖ p(z)], an upper bound
    average_kl_standard_error: float | None  # `None` for a closed form
    average_kl_per_dimension: float  # average_kl / L
    average_kl_per_latent: FloatArray | None  # [L], the parts of a closed form, ≥ 0 up to rounding
    active_latents: int | None  # latents whose posterior mean has a variance above 0.01, if known
    log_num_data: float  # log N, the most that the code can tell about which x it came from
    minimum_marginal_kl: float  # average_kl − log N, a lower bound, says nothing below zero


def posterior_bounds(
    loc: npt.ArrayLike,
    scale: npt.ArrayLike,
    prior: Prior | None = None,
    *,
    num_samples: int = 100_000,
    seed: int = 0,
) -> PosteriorBounds:
    """Returns the average KL of diagonal Gaussian posteriors against p(z) and its bounds.

    Args:
      loc: [N, L], the means of q(z|x_n), finite.
      scale: [N, L], the standard deviations of q(z|x_n), finite and > 0.
      prior: p(z), by default N(0, I).
      num_samples: samples behind the average KL where it has no closed form.
      seed: of these samples.

    Raises:
      ValueError: the arrays are not as described, or the prior is of another dimension.
    """
    loc, scale = checked_gaussians(loc, scale)
    prior = checked_prior(prior, loc.shape[1])
    active = int(np.sum(np.var(loc, axis=0) > _ACTIVE))
    if prior is None:
        per_latent = _total_kl(loc, scale) / len(loc)
        kl = float(per_latent.sum())
        return _bounds(kl, None, len(loc), loc.shape[1], per_latent, active)
    sizes = (min(_SAMPLES, num_samples - start) for start in range(0, num_samples, _SAMPLES))
    draws = (
        draw_gaussians(loc, scale, size, stream(seed, "kl/average", index))[1:]
        for index, size in enumerate(sizes)
    )
    return dataclasses.replace(sampled_bounds(draws, len(loc), prior), active_latents=active)


def sampled_bounds(
    draws: Iterable[tuple[FloatArray, FloatArray]], num_data: int, prior: Prior | None = None
) -> PosteriorBounds:
    """Returns the average KL and its bounds from two samples or more.

    They come in blocks of z ~ q(z|x_n) [S, L] and log q(z|x_n) [S], with n drawn evenly.
    """
    kl, latent_dim = RunningMean(), 0
    for codes, log_posterior in draws:
        kl.add(log_posterior - log_prior(prior, codes))
        latent_dim = codes.shape[1]
    return _bounds(kl.mean, kl.standard_error, num_data, latent_dim)


def is_saturated(mutual_information: float, num_data: int) -> bool:
    """Says whether an estimate of I[z; x] is so near to its bound log N that it only repeats it."""
    return num_data > 1 and mutual_information > _SATURATED * math.log(num_data)


def _total_kl(loc: FloatArray, scale: FloatArray) -> FloatArray:
    """Σ_n KL[N(loc_n, scale_n²) ‖ N(0, 1)] [L]; a sum of sums rounds less and takes less memory."""
    total, rows = np.zeros(loc.shape[1]), max(1, _BLOCK // loc.shape[1])
    for start in range(0, len(loc), rows):
        block = slice(start, start + rows)
        kl = 0.5 * (loc[block] ** 2 + scale[block] ** 2 - 1.0) - np.log(scale[block])
        total += kl.sum(axis=0)
    return total


def _bounds(
    kl: float,
    standard_error: float | None,
    num_data: int,
    latent_dim: int,
    per_latent: FloatArray | None = None,
    active: int | None = None,
) -> PosteriorBounds:
    if not math.isfinite(kl):
        raise ValueError(
            f"the average KL is {kl}, expected a finite number: its terms overflow, see the sizes "
            "of means and standard deviations"
        )
    log_num_data = math.log(num_data)
    return PosteriorBounds(
        num_data=num_data,
        latent_dim=latent_dim,
        average_kl=kl,
        average_kl_standard_error=standard_error,
        average_kl_per_dimension=kl / latent_dim,
        average_kl_per_latent=per_latent,
        active_latents=active,
        log_num_data=log_num_data,
        minimum_marginal_kl=kl - log_num_data,
    )

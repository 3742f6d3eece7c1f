"""What the posteriors alone say about the marginal KL, without a single sample.

Averaged over the data, the posterior's distance from the prior splits in two (eq. 5):

  E_x KL[q(z|x) ‖ p(z)] = KL[q(z) ‖ p(z)] + I[z; x].

The left side is known in closed form for diagonal Gaussians, and over N data points the mutual
information I is at most log N. The marginal KL is therefore at least the average KL − log N, and
at most the average KL.

Shapes: N data points, L latent dimensions.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

# Elements of a block: keeps the temporary float64 arrays at some tens of MiB.
_BLOCK = 2**20
# Share of log N from which on the mutual information says no more than that N is finite.
_SATURATED = 0.95
# Variance of a latent's posterior mean from which on it is active (Burda et al. 2016).
_ACTIVE = 0.01


@dataclasses.dataclass(frozen=True, eq=False)
class PosteriorBounds:
    """The average KL of N posteriors and the bound on the marginal KL that follows (eq. 5).

    Attributes:
      num_data: N, how many posteriors were averaged.
      num_latents: L, the dimension of a latent code.
      average_kl: mean over x of KL[q(z|x) ‖ p(z)], in nats, ≥ 0; an upper bound on the
        marginal KL.
      average_kl_per_dimension: `average_kl` / L, in nats.
      average_kl_per_latent: float64 [L], the part of each latent dimension, in nats, each ≥ 0
        up to rounding; the parts add up to `average_kl`.
      active_latents: how many latents have posterior means whose variance over the data is above
        0.01, the active units of Burda et al. (2016).
      log_num_data: log N, in nats, the most that the code can tell about which x it came from.
      minimum_marginal_kl: `average_kl` − `log_num_data`, in nats, a lower bound on
        KL[q(z) ‖ p(z)]. Below zero it says nothing more than that a KL is not negative.
    """

    num_data: int
    num_latents: int
    average_kl: float
    average_kl_per_dimension: float
    average_kl_per_latent: npt.NDArray[np.float64]
    active_latents: int
    log_num_data: float
    minimum_marginal_kl: float


def posterior_bounds(loc: npt.ArrayLike, scale: npt.ArrayLike) -> PosteriorBounds:
    """Returns the average KL of diagonal Gaussian posteriors against p(z) = N(0, I) and its bounds.

    Computed in float64 whatever the input's precision.

    Args:
      loc: [N, L], the means of q(z|x_n), finite.
      scale: [N, L], the standard deviations of q(z|x_n), finite and > 0.

    Raises:
      ValueError: the arrays are not both [N, L] with N ≥ 1 and L ≥ 1, a value is not finite, or
        a scale is not positive.
    """
    loc, scale = np.asarray(loc), np.asarray(scale)
    if loc.ndim != 2 or loc.shape != scale.shape or 0 in loc.shape:
        raise ValueError(
            f"loc has shape {loc.shape} and scale {scale.shape}, "
            "expected [N, L] for both with N >= 1 and L >= 1"
        )
    num_data, num_latents = loc.shape
    total = np.zeros(num_latents)
    rows = max(1, _BLOCK // num_latents)
    for start in range(0, num_data, rows):
        block = slice(start, start + rows)
        loc_block = loc[block].astype(np.float64)
        scale_block = scale[block].astype(np.float64)
        _check(np.isfinite(loc_block), "loc", loc_block, start, "a finite value")
        _check(np.isfinite(scale_block), "scale", scale_block, start, "a finite value")
        _check(scale_block > 0, "scale", scale_block, start, "a value > 0")
        # KL[N(loc, scale²) ‖ N(0, 1)] of every element.
        kl = 0.5 * (loc_block**2 + scale_block**2 - 1.0) - np.log(scale_block)
        total += kl.sum(axis=0)

    per_latent = total / num_data
    average_kl = float(per_latent.sum())
    log_num_data = math.log(num_data)
    return PosteriorBounds(
        num_data=num_data,
        num_latents=num_latents,
        average_kl=average_kl,
        average_kl_per_dimension=average_kl / num_latents,
        average_kl_per_latent=per_latent,
        active_latents=int(np.sum(np.var(loc, axis=0, dtype=np.float64) > _ACTIVE)),
        log_num_data=log_num_data,
        minimum_marginal_kl=average_kl - log_num_data,
    )


def is_saturated(mutual_information: float, num_data: int) -> bool:
    """Says whether an estimate of I[z; x] is so near to its bound log N that it only repeats it.

    The marginal KL that belongs to it is then no more than average KL − log N (eq. 5).
    """
    return num_data > 1 and mutual_information > _SATURATED * math.log(num_data)


def _check(
    valid: npt.NDArray[np.bool_],
    name: str,
    values: npt.NDArray[np.float64],
    first_row: int,
    expected: str,
) -> None:
    """Raises `ValueError` with the first value of a block that is not valid."""
    if not valid.all():
        row, column = np.argwhere(~valid)[0]
        raise ValueError(
            f"{name}[{first_row + row}, {column}] is {values[row, column]}, expected {expected}"
        )

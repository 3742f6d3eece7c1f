"""KL[q(z) ‖ p(z)] by Monte Carlo, with every posterior in the mixture (Algorithm 1, A.2).

The aggregate posterior of N data points is the mixture q(z) = 1/N Σ_n q(z|x_n). A sample draws n,
then z ~ q(z|x_n), and contributes log q(z) − log p(z) with p(z) = N(0, I); Algorithm 1 forgets the
− log N of the mixture. With S samples that is S·N densities of L dimensions, so it is the matrix
product [z², z, 1]·[−1/(2σ²), μ/σ², c]ᵀ that decides the cost. In float32 it cancels where scales
are small: its error is measured first, and where it is too large the product only chooses the
components that matter, which are then evaluated anew in float64.

Shapes: N data points, L latent dimensions, S samples. Everything in nats.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from tfdm.estimators.bounds import posterior_bounds
from tfdm.estimators.mixture import MixtureDensity

# Samples whose noise comes from one generator: part of what a seed means.
_BLOCK = 4096
# Share of log N from which on the mutual information says no more than that N is finite.
_SATURATED = 0.95

FloatArray = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class MonteCarloKL:
    """An estimate of KL[q(z) ‖ p(z)] from samples of q(z), in nats.

    Attributes:
      kl: the estimate, the mean of log q(z) − log p(z).
      kl_per_dimension: `kl` / L.
      standard_error: of `kl`.
      interval: 95 % confidence interval of `kl`.
      mutual_information: I[z; x], the mean of log q(z|x) − log q(z); at most log N.
      mutual_information_standard_error: of `mutual_information`; zero when it is saturated, where
        average KL − `mutual_information` is the sharper estimate of the same KL (eq. 5).
      log_num_data: log N.
      saturated: whether the mutual information is above 95 % of log N. The posteriors then hardly
        overlap, and the estimate can only repeat average KL − log N whatever the encoder would do
        on more data.
      average_kl: mean over x of KL[q(z|x) ‖ p(z)], in closed form.
      num_samples: S.
      num_data: N.
      num_latents: L.
      leave_one_out: whether the mixture lacked the x that z came from. The KL is then that of the
        mixture of the other posteriors, as new data would see it, and `mutual_information` may
        exceed log N.
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
    leave_one_out: bool


def monte_carlo_kl(
    loc: npt.ArrayLike,
    scale: npt.ArrayLike,
    num_samples: int = 1_000_000,
    seed: int = 0,
    *,
    leave_one_out: bool = False,
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

    mixture = MixtureDensity(loc, scale)
    kl, information = _Moments(), _Moments()
    for rows, codes, log_posterior in _samples(loc, scale, num_samples, seed):
        log_q = mixture.log_prob(codes, without=rows if leave_one_out else None)
        log_prior = -0.5 * (np.sum(codes**2, axis=1) + num_latents * math.log(2 * math.pi))
        kl.add(log_q - log_prior)
        information.add(log_posterior - log_q)
        if progress is not None:
            progress(kl.count, num_samples)

    half_width = 1.959964 * kl.standard_error
    return MonteCarloKL(
        kl=kl.mean,
        kl_per_dimension=kl.mean / num_latents,
        standard_error=kl.standard_error,
        interval=(kl.mean - half_width, kl.mean + half_width),
        mutual_information=information.mean,
        mutual_information_standard_error=information.standard_error,
        log_num_data=bounds.log_num_data,
        saturated=num_data > 1 and information.mean > _SATURATED * bounds.log_num_data,
        average_kl=bounds.average_kl,
        num_samples=num_samples,
        num_data=num_data,
        num_latents=num_latents,
        leave_one_out=leave_one_out,
    )


def _samples(
    loc: FloatArray, scale: FloatArray, num_samples: int, seed: int
) -> Iterator[tuple[npt.NDArray[np.intp], FloatArray, FloatArray]]:
    """Yields blocks of (n, z ~ q(z|x_n), log q(z|x_n)); a block is a function of (seed, index)."""
    num_data, num_latents = loc.shape
    for index, start in enumerate(range(0, num_samples, _BLOCK)):
        rng = np.random.default_rng([seed, index])
        rows = rng.integers(num_data, size=_BLOCK)
        epsilon = rng.standard_normal((_BLOCK, num_latents))
        rows, epsilon = rows[: num_samples - start], epsilon[: num_samples - start]
        scales = scale[rows]
        log_posterior = -0.5 * np.sum(epsilon**2, axis=1) - np.sum(np.log(scales), axis=1)
        log_posterior -= 0.5 * num_latents * math.log(2 * math.pi)
        yield rows, loc[rows] + scales * epsilon, log_posterior


class _Moments:
    """The mean of a stream of blocks and its standard error (Chan et al., 1979)."""

    def __init__(self) -> None:
        self.count, self.mean, self._squares = 0, 0.0, 0.0

    def add(self, values: FloatArray) -> None:
        """Takes in a block of values [n]."""
        mean, count = float(values.mean()), self.count + values.size
        difference = mean - self.mean
        self._squares += float(np.sum((values - mean) ** 2))
        self._squares += difference**2 * self.count * values.size / count
        self.mean += difference * values.size / count
        self.count = count

    @property
    def standard_error(self) -> float:
        """Of the mean; needs two values."""
        return math.sqrt(self._squares / (self.count - 1) / self.count)

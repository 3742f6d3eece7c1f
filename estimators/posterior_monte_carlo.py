"""The marginal KL of any posterior whose density can be evaluated, on a subset of the data.

For auto-regressive posteriors and the like there is neither a closed form of the average KL nor a
matrix product for the mixture: both come from log q(z|x) itself, evaluated for every pair of a
sample and a data point. That costs S·N evaluations, so the mixture is one of a stated subset of
the data, and log N is that of the subset.

Shapes: N data points of the subset, L latent dimensions, S samples.
"""

from __future__ import annotations

import math

import numpy as np

from tfdm.distributions.posteriors import Posterior
from tfdm.distributions.priors import Prior
from tfdm.estimators.bounds import is_saturated
from tfdm.estimators.posteriors import DataPosteriors, FloatArray
from tfdm.estimators.priors import checked_log_prob, checked_prior, log_prior
from tfdm.estimators.records import MonteCarloKL
from tfdm.progress import ProgressOption, progress_bar
from tfdm.seeds import derive, stream
from tfdm.statistics import RunningMean


def posterior_monte_carlo_kl(
    posteriors: Posterior | DataPosteriors,
    num_samples: int,
    seed: int = 0,
    *,
    prior: Prior | None = None,
    block_pairs: int = 2**14,
    progress: ProgressOption = True,
) -> MonteCarloKL:
    """Estimates KL[q(z) ‖ p(z)] and the average KL from densities alone (Algorithm 1).

    The average KL is the mean of log q(z|x) − log p(z) over the same samples. Every data point
    gives as many samples as the others, or one more; the standard errors do not count on that and
    are rather too large.

    Args:
      posteriors: of the subset of the data that q(z) is the mixture of; an object with `sample` and
        `log_prob`.
      num_samples: S, at least 2.
      seed: of the samples.
      prior: p(z), by default N(0, I).
      block_pairs: pairs of a sample and a data point whose density is asked for at once.
      progress: whether a bar is shown, or a function of (samples done, S).

    Raises:
      ValueError: a number is too small, an array has the wrong shape, or a density is NaN or +inf.
    """
    if not isinstance(posteriors, DataPosteriors):
        posteriors = DataPosteriors.whole(posteriors)
    num_data, latent_dim = posteriors.num_data, posteriors.latent_dim
    prior = checked_prior(prior, latent_dim)
    for name, value, least in (
        ("num_samples", num_samples, 2),
        ("seed", seed, 0),
        ("block_pairs", block_pairs, 1),
    ):
        if value < least:
            raise ValueError(f"{name} is {value}, expected {least} or more")
    kl, information, conditional = RunningMean(), RunningMean(), RunningMean()
    with progress_bar("Monte Carlo KL", "sample", progress) as report:
        for index in range(-(-num_samples // num_data)):
            codes, own = posteriors.draw(derive(seed, "kl/posterior/round", index))
            left = num_samples - kl.count
            if left < num_data:
                rows = stream(seed, "kl/posterior/last").permutation(num_data)[:left]
                codes, own = codes[rows], own[rows]
            log_q = _log_mixture(posteriors, codes, block_pairs)
            of_prior = log_prior(prior, codes)
            kl.add(log_q - of_prior)
            information.add(own - log_q)
            conditional.add(own - of_prior)
            report(kl.count, num_samples)
    return MonteCarloKL(
        kl=kl.mean,
        kl_per_dimension=kl.mean / latent_dim,
        standard_error=kl.standard_error,
        interval=kl.interval,
        mutual_information=information.mean,
        mutual_information_standard_error=information.standard_error,
        log_num_data=math.log(num_data),
        saturated=is_saturated(information.mean, num_data),
        average_kl=conditional.mean,
        num_samples=num_samples,
        num_data=num_data,
        latent_dim=latent_dim,
        variant="whole",
    )


def _log_mixture(posteriors: DataPosteriors, codes: FloatArray, block_pairs: int) -> FloatArray:
    """Returns log 1/N Σ_n q(z|x_n) of codes [S, L], [S]."""
    total = np.full(len(codes), -np.inf)
    for rows, posterior in posteriors.blocks():
        size = max(1, block_pairs // len(rows))
        for start in range(0, len(codes), size):
            part = codes[start : start + size, None]
            pairs = np.broadcast_to(part, (len(part), len(rows), posteriors.latent_dim))
            values = posterior.log_prob(np.ascontiguousarray(pairs))
            log_prob = checked_log_prob(values, pairs.shape[:2], "log_prob")
            block = slice(start, start + size)
            total[block] = np.logaddexp(total[block], np.logaddexp.reduce(log_prob, axis=1))
    return total - math.log(posteriors.num_data)

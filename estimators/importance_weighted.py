"""The log-likelihood of held-out data by importance weighting (Burda et al. 2016, eq. 8).

    log p(x) ≥ E log 1/K Σ_k p(x|z_k) p(z_k) / q(z_k|x),  z_k ~ q(z|x)

K = 1 is the evidence lower bound (eq. 3 of the paper); the bound rises with K. A Bernoulli
likelihood of continuous pixels is no density of x (Appendix D): its values compare with one another
alone.

Shapes: N data points, K samples for each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tfdm.estimators.codes import require_at_least
from tfdm.estimators.priors import checked_log_prob
from tfdm.progress import ProgressOption, progress_bar
from tfdm.statistics import RunningMean


@dataclasses.dataclass(frozen=True)
class ImportanceWeightedBound:
    """An importance-weighted bound on the mean log-likelihood of data, in nats.

    `effective_samples` is the mean over x of (Σ w)² / Σ w², in [1, K]; near 1 a single weight
    decides and a larger K would still raise the bound.
    """

    log_likelihood: float  # the mean over x of the bound with K samples
    standard_error: float  # of log_likelihood, over x and the samples
    elbo: float  # the mean over x of the bound with one sample, from the same weights
    effective_samples: float
    num_samples: int  # K
    num_data: int  # N


def importance_weighted_bound(
    log_weights: Callable[[int, int, int], npt.ArrayLike],
    num_data: int,
    num_samples: int = 100,
    *,
    batch_size: int = 100,
    progress: ProgressOption = True,
) -> ImportanceWeightedBound:
    """Estimates the bound; memory grows with neither N nor K.

    Args:
      log_weights: (start, stop, k) -> log p(x|z_k) + log p(z_k) − log q(z_k|x), [stop − start],
        with one sample z_k ~ q(z|x) for each of the data points `start` to `stop`.
      num_data: N, at least 2.
      num_samples: K.
      batch_size: data points that are asked for at once.
      progress: whether a bar is shown, or a function of (data points done, N).

    Raises:
      ValueError: a number is too small, or a weight is NaN or +inf.
    """
    require_at_least(
        num_data=(num_data, 2), num_samples=(num_samples, 1), batch_size=(batch_size, 1)
    )
    bound, elbo, effective = RunningMean(), RunningMean(), RunningMean()
    with progress_bar("log-likelihood", "image", progress) as report:
        for start in range(0, num_data, batch_size):
            stop = min(start + batch_size, num_data)
            total = np.full(stop - start, -np.inf)
            squares, mean = total.copy(), np.zeros(stop - start)
            for k in range(num_samples):
                weights = checked_log_prob(log_weights(start, stop, k), total.shape, "log_weights")
                total = np.logaddexp(total, weights)
                squares = np.logaddexp(squares, 2.0 * weights)
                mean += weights / num_samples
            bound.add(total - np.log(num_samples))
            elbo.add(mean)
            effective.add(np.exp(2.0 * total - squares))
            report(stop, num_data)
    return ImportanceWeightedBound(
        log_likelihood=bound.mean,
        standard_error=bound.standard_error,
        elbo=elbo.mean,
        effective_samples=effective.mean,
        num_samples=num_samples,
        num_data=num_data,
    )

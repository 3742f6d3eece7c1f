"""KL[q(z) ‖ p(z)] by Monte Carlo, with every posterior in the mixture (Algorithm 1, A.2).

The aggregate posterior of N data points is the mixture q(z) = 1/N Σ_n q(z|x_n). A sample draws n,
then z ~ q(z|x_n), and contributes log q(z) − log p(z); Algorithm 1 forgets the − log N of the
mixture. With S samples that is S·N densities of L dimensions, for Gaussians a matrix product, see
`tfdm.estimators.mixture`. Other densities are evaluated for every pair of a sample and a data
point, so that their mixture is one of a stated subset of the data.

With posteriors that hardly overlap the value can only repeat average KL − log N, whatever the
encoder would do to more data. Two variants tell: `leave_one_out` takes x_n out of the mixture, and
`held_out` draws z from posteriors of other data. Both are cross terms E_{q'}[log q(z) − log p(z)],
at most KL[q' ‖ p], and far below it where q does not know the places of q'.

Shapes: N data points, L latent dimensions, S samples. Everything in nats.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tfdm.distributions.posteriors import Posterior
from tfdm.distributions.priors import Prior
from tfdm.estimators.bounds import is_saturated, posterior_bounds
from tfdm.estimators.codes import GaussianCodes, checked_gaussians, draw_gaussians, require_at_least
from tfdm.estimators.mixture import MixtureDensity
from tfdm.estimators.posteriors import DataPosteriors
from tfdm.estimators.priors import checked_log_prob, checked_prior, log_prior, prior_digest
from tfdm.estimators.records import MonteCarloKL, Task
from tfdm.progress import ProgressOption, progress_bar
from tfdm.seeds import stream
from tfdm.statistics import FloatArray, RunningMean, digest, load_moments, save_moments
from tfdm.training.strategy import make_strategy

if TYPE_CHECKING:
    import tensorflow as tf

# Samples whose noise comes from one generator: part of what a seed means.
_BLOCK = 4096
# Blocks between two writes of the state.
_SAVE_EVERY = 8
# Raised when the samples of a seed change, so that sums of other samples are not continued.
_FORMAT = 2


def monte_carlo_kl(
    loc: npt.ArrayLike,
    scale: npt.ArrayLike,
    num_samples: int = 1_000_000,
    seed: int = 0,
    *,
    prior: Prior | None = None,
    leave_one_out: bool = False,
    held_out: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    strategy: tf.distribute.Strategy | None = None,
    state_path: str | os.PathLike[str] | None = None,
    progress: ProgressOption = True,
) -> MonteCarloKL:
    """Estimates KL[q(z) ‖ p(z)] for diagonal Gaussian posteriors (Algorithm 1).

    Memory is bounded whatever S is. Within 1e-3 nats of the same samples in float64.

    Args:
      loc: [N, L], the means of q(z|x_n), finite.
      scale: [N, L], the standard deviations, finite and > 0.
      num_samples: S, at least 2; the paper has 10⁶.
      seed: of the samples; sample i is the same whatever S is.
      prior: p(z), by default N(0, I).
      leave_one_out: z from x_n, the mixture without x_n; needs N ≥ 2.
      held_out: means and standard deviations [M, L] of other data; z is drawn from these.
      strategy: whose devices share the work; by default the current one.
      state_path: a file that keeps the sums on the way, so that a call that was stopped resumes
        where it was, to the same value. One of another call is started anew.
      progress: whether a bar is shown, or a function of (samples done, S) after every block.

    Raises:
      ValueError: the arrays or numbers are not as described.
    """
    loc, scale = checked_gaussians(loc, scale)
    num_data, latent_dim = loc.shape
    prior = checked_prior(prior, latent_dim)
    require_at_least(num_samples=(num_samples, 2), seed=(seed, 0))
    if leave_one_out and num_data < 2:
        raise ValueError(f"leave_one_out needs two posteriors or more, has {num_data}")
    if leave_one_out and held_out is not None:
        raise ValueError("leave_one_out and held_out exclude each other, expected one of them")
    source = (
        (loc, scale)
        if held_out is None
        else checked_gaussians(*held_out, ("held_out[0]", "held_out[1]"))
    )
    if source[0].shape[1] != latent_dim:
        raise ValueError(f"held_out has latent_dim {source[0].shape[1]}, expected {latent_dim}")

    variant = "leave_one_out" if leave_one_out else "whole" if held_out is None else "held_out"
    state, key = None if state_path is None else Path(state_path), ""
    if state is not None:
        key = digest(_FORMAT, loc, scale, *source, variant, num_samples, seed, prior_digest(prior))
    kl, information = load_moments(state, key) or (RunningMean(), RunningMean())
    mixture = MixtureDensity(loc, scale, strategy)
    with progress_bar("Monte Carlo KL", "sample", progress) as report:
        for index in range(-(-kl.count // _BLOCK), -(-num_samples // _BLOCK)):
            drawn = draw_gaussians(*source, _BLOCK, stream(seed, "kl/monte_carlo", index))
            asked = slice(num_samples - index * _BLOCK)
            rows, codes, log_posterior = drawn[0][asked], drawn[1][asked], drawn[2][asked]
            # The density of a held-out posterior says nothing about those of the mixture.
            log_q = mixture.log_prob(
                codes,
                without=rows if leave_one_out else None,
                reference=log_posterior if variant == "whole" else None,
            )
            kl.add(log_q - log_prior(prior, codes))
            information.add(log_posterior - log_q)
            if state is not None and (index + 1) % _SAVE_EVERY == 0:
                save_moments(state, key, (kl, information))
            report(kl.count, num_samples)
    if state is not None:
        save_moments(state, key, (kl, information))
    closed_form = None if prior is not None else posterior_bounds(*source).average_kl
    average_kl = kl.mean + information.mean if closed_form is None else closed_form
    return _result(kl, information, average_kl, loc.shape, variant)


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

    Every data point gives as many samples as the others, or one more; the standard errors do not
    count on that and are rather too large. Other arguments are as of `monte_carlo_kl`.

    Args:
      posteriors: of the data that q(z) is the mixture of; an object with `sample` and `log_prob`.
      num_samples: S, at least 2; costs S·N densities.
      block_pairs: pairs of a sample and a data point whose density is asked for at once.

    Raises:
      ValueError: a number is too small, an array has the wrong shape, or a density is NaN or +inf.
    """
    if not isinstance(posteriors, DataPosteriors):
        posteriors = DataPosteriors.whole(posteriors)
    num_data, latent_dim = posteriors.num_data, posteriors.latent_dim
    prior = checked_prior(prior, latent_dim)
    require_at_least(num_samples=(num_samples, 2), seed=(seed, 0), block_pairs=(block_pairs, 1))
    kl, information, conditional = RunningMean(), RunningMean(), RunningMean()
    with progress_bar("Monte Carlo KL", "sample", progress) as report:
        for codes, own in posteriors.draws(num_samples, seed):
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
    return _result(kl, information, conditional.mean, (num_data, latent_dim), "whole")


def _log_mixture(posteriors: DataPosteriors, codes: FloatArray, block_pairs: int) -> FloatArray:
    """Returns log 1/N Σ_n q(z|x_n) of codes [S, L], [S]."""
    total = np.full(len(codes), -np.inf)
    for rows, posterior in posteriors.blocks():
        size = max(1, block_pairs // len(rows))
        for start in range(0, len(codes), size):
            block = slice(start, start + size)
            part = codes[block, None]
            pairs = np.broadcast_to(part, (len(part), len(rows), posteriors.latent_dim))
            values = posterior.log_prob(np.ascontiguousarray(pairs))
            log_prob = checked_log_prob(values, pairs.shape[:2], "log_prob")
            total[block] = np.logaddexp(total[block], np.logaddexp.reduce(log_prob, axis=1))
    return total - math.log(posteriors.num_data)


def _result(
    kl: RunningMean, information: RunningMean, average_kl: float, loc_shape: Any, variant: str
) -> MonteCarloKL:
    num_data, latent_dim = loc_shape
    return MonteCarloKL.of(
        kl,
        latent_dim,
        mutual_information=information.mean,
        mutual_information_standard_error=information.standard_error,
        log_num_data=math.log(num_data),
        saturated=variant == "whole" and is_saturated(information.mean, num_data),
        average_kl=average_kl,
        num_data=num_data,
        variant=variant,
    )


def monte_carlo(task: Task) -> MonteCarloKL:
    """The estimator `monte_carlo`: all Gaussian posteriors, or a subset of those of any density."""
    if not isinstance(task.posteriors, DataPosteriors):
        return _gaussian(task)
    posteriors = task.posteriors.subset(task.config.num_data, task.seed)
    most = task.config.max_pairs // posteriors.num_data
    num_samples = max(2, min(task.config.num_samples, most))
    return posterior_monte_carlo_kl(
        posteriors, num_samples, task.seed, prior=task.prior, progress=task.progress
    )


def leave_one_out(task: Task) -> MonteCarloKL:
    """The estimator `leave_one_out`."""
    return _gaussian(task, leave_one_out=True)


def held_out(task: Task) -> MonteCarloKL:
    """The estimator `held_out`."""
    if not isinstance(task.held_out, GaussianCodes):
        raise ValueError("held_out needs Gaussian posteriors of held-out data, there are none")
    return _gaussian(task, held_out=(task.held_out.loc, task.held_out.scale))


def _gaussian(task: Task, **variant: Any) -> MonteCarloKL:
    if not isinstance(task.posteriors, GaussianCodes):
        raise ValueError("the posteriors are not Gaussian, expected loc and scale")
    return monte_carlo_kl(
        task.posteriors.loc,
        task.posteriors.scale,
        task.config.num_samples,
        task.seed,
        prior=task.prior,
        strategy=make_strategy(task.strategy),
        state_path=task.state,
        progress=task.progress,
        **variant,
    )

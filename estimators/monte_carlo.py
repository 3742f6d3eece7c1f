"""KL[q(z) ‖ p(z)] by Monte Carlo, with every posterior in the mixture (Algorithm 1, A.2).

The aggregate posterior of N data points is the mixture q(z) = 1/N Σ_n q(z|x_n). A sample draws n,
then z ~ q(z|x_n), and contributes log q(z) − log p(z); Algorithm 1 forgets the − log N of the
mixture. With S samples that is S·N densities of L dimensions, so it is the matrix product
[z², z, 1]·[−1/(2σ²), μ/σ², c]ᵀ that decides the cost. In float32 it cancels where scales are small:
its error is measured first, and where it is too large the product only chooses the components that
matter, which are then evaluated anew in float64.

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

import numpy.typing as npt

from tfdm.distributions.priors import Prior
from tfdm.estimators.bounds import is_saturated, posterior_bounds
from tfdm.estimators.codes import GaussianCodes
from tfdm.estimators.gaussian import checked_gaussians, draw_gaussians
from tfdm.estimators.mixture import MixtureDensity
from tfdm.estimators.posterior_monte_carlo import posterior_monte_carlo_kl
from tfdm.estimators.posteriors import DataPosteriors
from tfdm.estimators.priors import checked_prior, log_prior, prior_digest
from tfdm.estimators.records import MonteCarloKL
from tfdm.estimators.registry import Task
from tfdm.progress import ProgressOption, progress_bar
from tfdm.seeds import stream
from tfdm.statistics import RunningMean, digest, load_moments, save_moments
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
      state_path: a file that keeps the sums on the way, so that a call that was stopped goes on
        where it was, to the same value. One of another call is started anew.
      progress: whether a bar is shown, or a function of (samples done, S) after every block.

    Raises:
      ValueError: the arrays or numbers are not as described.
    """
    loc, scale = checked_gaussians(loc, scale)
    num_data, latent_dim = loc.shape
    prior = checked_prior(prior, latent_dim)
    if num_samples < 2:
        raise ValueError(f"num_samples is {num_samples}, expected 2 or more")
    if seed < 0:
        raise ValueError(f"seed is {seed}, expected 0 or more")
    if leave_one_out and num_data < 2:
        raise ValueError(f"leave_one_out needs two posteriors or more, has {num_data}")
    if leave_one_out and held_out is not None:
        raise ValueError("leave_one_out and held_out exclude each other, expected one of them")
    source = (loc, scale) if held_out is None else checked_gaussians(*held_out)
    if source[0].shape[1] != latent_dim:
        raise ValueError(f"held_out has latent_dim {source[0].shape[1]}, expected {latent_dim}")

    variant = "leave_one_out" if leave_one_out else "whole" if held_out is None else "held_out"
    state, key = None if state_path is None else Path(state_path), ""
    if state is not None:
        call = (variant, num_samples, seed, prior_digest(prior))
        key = digest(_FORMAT, loc, scale, *source, *call)
    kl, information = load_moments(state, key) or (RunningMean(), RunningMean())
    mixture = MixtureDensity(loc, scale, strategy)
    with progress_bar("Monte Carlo KL", "sample", progress) as report:
        for index in range(-(-kl.count // _BLOCK), -(-num_samples // _BLOCK)):
            rng, left = stream(seed, "kl/monte_carlo", index), num_samples - index * _BLOCK
            rows, codes, log_posterior = draw_gaussians(*source, _BLOCK, rng, left)
            if leave_one_out:
                log_q = mixture.log_prob(codes, without=rows)
            else:
                # The density of a held-out posterior says nothing about those of the mixture.
                reference = log_posterior if held_out is None else None
                log_q = mixture.log_prob(codes, reference=reference)
            kl.add(log_q - log_prior(prior, codes))
            information.add(log_posterior - log_q)
            if state is not None and (index + 1) % _SAVE_EVERY == 0:
                save_moments(state, key, (kl, information))
            report(kl.count, num_samples)
    if state is not None:
        save_moments(state, key, (kl, information))

    closed_form = posterior_bounds(*source).average_kl if prior is None else None
    return MonteCarloKL(
        kl=kl.mean,
        kl_per_dimension=kl.mean / latent_dim,
        standard_error=kl.standard_error,
        interval=kl.interval,
        mutual_information=information.mean,
        mutual_information_standard_error=information.standard_error,
        log_num_data=math.log(num_data),
        saturated=variant == "whole" and is_saturated(information.mean, num_data),
        average_kl=kl.mean + information.mean if closed_form is None else closed_form,
        num_samples=num_samples,
        num_data=num_data,
        latent_dim=latent_dim,
        variant=variant,
    )


def monte_carlo(task: Task) -> MonteCarloKL:
    """The estimator `monte_carlo`: all Gaussian posteriors, or a subset of those of any density."""
    if isinstance(task.posteriors, DataPosteriors):
        config = task.config
        posteriors = task.posteriors.subset(config.num_data, task.seed)
        num_data = min(config.num_data, task.posteriors.num_data)
        return posterior_monte_carlo_kl(
            posteriors,
            max(2, min(config.num_samples, config.max_pairs // num_data)),
            task.seed,
            prior=task.prior,
            progress=task.progress,
        )
    return _gaussian(task)


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

"""KL[q(z) ‖ p(z)] by a density fitted to q(z) (Algorithm 3, A.4).

A density t is fitted to codes of q(z) by maximum likelihood, and the estimate is the mean of
log t(z) − log p(z) over codes that played no part in the fit. That is KL[q ‖ p] − KL[q ‖ t], in
expectation a lower bound for every t, the better the higher the likelihood of held-out codes.

Shapes: B batch, L latent dimension.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfdm.distributions.autoregressive_lstm import AutoregressiveLSTM
from tfdm.distributions.densities import Density
from tfdm.distributions.gaussian_mixture import DiagonalGaussianMixture
from tfdm.distributions.masked_autoregressive_flow import MaskedAutoregressiveFlow
from tfdm.distributions.priors import Prior
from tfdm.estimators.codes import CodeSampler, evaluation_blocks, in_blocks, selection_and_value
from tfdm.estimators.config import DensityFitConfig
from tfdm.estimators.fitting import fit
from tfdm.estimators.posteriors import codes_to_fit
from tfdm.estimators.priors import checked_prior, log_prior
from tfdm.estimators.records import DensityModelKL, Task
from tfdm.progress import ProgressOption, progress_bar
from tfdm.seeds import derive, stream
from tfdm.statistics import FloatArray, RunningMean

# Codes that a density starts from, held-out codes of an evaluation, and codes evaluated at once.
_START = 20_000
_HELD_OUT = 8192
_BLOCK = 2048
# The densities by the estimator's name, and the fields that are their sizes.
_DENSITIES: dict[str, tuple[Callable[..., Density], tuple[str, ...]]] = {
    "gmm": (DiagonalGaussianMixture, ("num_components",)),
    "maf": (MaskedAutoregressiveFlow, ("num_flows", "num_layers", "width")),
    "lstm": (AutoregressiveLSTM, ("num_layers", "units")),
}


def density_model_kl(
    codes: CodeSampler,
    density: Density,
    config: DensityFitConfig | None = None,
    seed: int = 0,
    *,
    prior: Prior | None = None,
    held_out: CodeSampler | None = None,
    state: Path | None = None,
    progress: ProgressOption = True,
) -> DensityModelKL:
    """Fits a density to q(z) and estimates KL[q(z) ‖ p(z)] by it (Algorithm 3).

    Other arguments are as of `density_ratio_kl`.

    Args:
      density: what is fitted; its weights are changed.
      config: the fit.
      held_out: codes that decide when to stop and give the value; by default fresh `codes`.

    Raises:
      ValueError: the latent dimensions differ, or no step gave a finite likelihood.
    """
    config = config or DensityFitConfig()
    for name, sampler in (("held_out", held_out), ("the density", density)):
        if sampler is not None and sampler.latent_dim != codes.latent_dim:
            raise ValueError(
                f"{name} has latent_dim {sampler.latent_dim}, expected {codes.latent_dim}"
            )
    prior = checked_prior(prior, codes.latent_dim)
    selection, value = selection_and_value(codes, held_out)
    start = codes.sample(_START, stream(seed, "kl/density/start"))
    density.initialize(start, derive(seed, "kl/density/initialize"))
    chosen_by = selection.sample(_HELD_OUT, stream(seed, "kl/density/held_out"))
    log_prob = tf.function(density.log_prob, autograph=False, reduce_retracing=True)
    evaluate = functools.partial(in_blocks, log_prob, size=_BLOCK)
    number = config.num_samples

    def batch(step: int) -> dict[str, FloatArray]:
        return {"codes": codes.sample(config.batch_size, stream(seed, "kl/density/batch", step))}

    with progress_bar("density", "step", progress) as report:
        outcome = fit(
            density.trainable_variables,
            lambda arrays, step: -tf.reduce_mean(density.log_prob(arrays["codes"])),
            batch,
            lambda: -float(np.mean(evaluate(chosen_by))),
            config,
            clip_norm=config.clip_norm,
            progress=report,
            state=state,
        )
    kl, likelihood, training = RunningMean(), RunningMean(), RunningMean()
    for fresh in evaluation_blocks(value, number, _BLOCK, seed, "kl/density/value"):
        log_density = evaluate(fresh)
        kl.add(log_density - log_prior(prior, fresh))
        likelihood.add(log_density)
    for trained_on in evaluation_blocks(codes, number, _BLOCK, seed, "kl/density/fitted"):
        training.add(evaluate(trained_on))
    return DensityModelKL.of(
        kl,
        codes.latent_dim,
        held_out_log_likelihood=likelihood.mean,
        held_out_log_likelihood_standard_error=likelihood.standard_error,
        training_log_likelihood=training.mean,
        steps=outcome.steps,
        best_step=outcome.best_step,
        stopped_early=outcome.stopped_early,
        diverged=outcome.diverged_at is not None,
        still_improving=outcome.still_improving,
    )


def gmm(task: Task) -> DensityModelKL:
    """The estimator `gmm`."""
    return fit_density("gmm", task)[1]


def maf(task: Task) -> DensityModelKL:
    """The estimator `maf`."""
    return fit_density("maf", task)[1]


def lstm(task: Task) -> DensityModelKL:
    """The estimator `lstm`."""
    return fit_density("lstm", task)[1]


def make_density(name: str, latent_dim: int, config: Any, seed: int) -> Density:
    """Returns the density of the estimator `name`, untrained, of the sizes in its fields."""
    density, sizes = _DENSITIES[name]
    weights_seed = derive(seed, "kl/density/weights")
    return density(latent_dim, *(getattr(config, size) for size in sizes), weights_seed)


def fit_density(name: str, task: Task) -> tuple[Density, DensityModelKL]:
    """Returns the density of the estimator `name` fitted to q(z), and the estimate by it.

    Raises as `density_model_kl`.
    """
    density = make_density(name, task.posteriors.latent_dim, task.config, task.seed)
    codes, held_out = codes_to_fit(task.posteriors, task.held_out, task.seed)
    estimate = density_model_kl(
        codes,
        density,
        task.config,
        task.seed,
        prior=task.prior,
        held_out=held_out,
        state=task.state,
        progress=task.progress,
    )
    return density, estimate

"""KL[q(z) ‖ p(z)] by a density fitted to q(z) (Algorithm 3, A.4).

A density t is fitted to codes of q(z) by maximum likelihood, and the estimate is the mean of
log t(z) − log p(z) over codes that played no part in the fit. That is KL[q ‖ p] − KL[q ‖ t]: in
expectation a lower bound for every t, and better the higher the likelihood of held-out codes. With
an estimate of the KL by other means, the difference is KL[q ‖ t], what t has not learned.

Shapes: B batch, L latent dimension.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfdm.estimators.codes import CodeSampler, evaluation_blocks, selection_and_value
from tfdm.estimators.config import DensityFitConfig
from tfdm.estimators.fitting import Fit, Progress, Schedule, fit
from tfdm.statistics import RunningMean

FloatArray = npt.NDArray[np.float64]

# Streams of a seed: the codes to start from, the batches, the looks, the value, training codes.
_START, _BATCHES, _LOOKS, _VALUE, _TRAINING = range(5)
_START_CODES = 20_000
_LOOK_CODES = 8192
_BLOCK = 2048


class TrainableDensity(Protocol):
    """A density over codes, as `tfdm.distributions.densities.Density`."""

    @property
    def num_latents(self) -> int:
        """L."""

    @property
    def trainable_variables(self) -> list:
        """What the fit moves."""

    def log_prob(self, codes: tf.Tensor) -> tf.Tensor:
        """Codes [B, L] -> log-densities [B]."""

    def initialize(self, codes: FloatArray, seed: int) -> None:
        """Starts from codes [S, L]."""


@dataclasses.dataclass(frozen=True)
class DensityModelKL:
    """An estimate of KL[q(z) ‖ p(z)] by a fitted density t, in nats.

    Attributes:
      kl: the mean of log t(z) − log p(z) over fresh codes; in expectation at most the KL.
      kl_per_dimension: `kl` / L.
      standard_error: of `kl`.
      interval: 95 % confidence interval of `kl`.
      held_out_log_likelihood: the mean of log t(z) over the same codes.
      held_out_log_likelihood_standard_error: of it.
      training_log_likelihood: the mean over as many codes of the sampler that was trained on.
      steps: the steps of the fit.
      best_step: the step whose weights were kept.
      stopped_early: whether the held-out likelihood ended the fit.
      diverged: whether a loss was not finite; the weights are then the best ones before that.
      num_samples: codes behind `kl`.
      num_latents: L.
    """

    kl: float
    kl_per_dimension: float
    standard_error: float
    interval: tuple[float, float]
    held_out_log_likelihood: float
    held_out_log_likelihood_standard_error: float
    training_log_likelihood: float
    steps: int
    best_step: int
    stopped_early: bool
    diverged: bool
    num_samples: int
    num_latents: int


def density_model_kl(
    codes: CodeSampler,
    density: TrainableDensity,
    config: DensityFitConfig | None = None,
    seed: int = 0,
    *,
    held_out: CodeSampler | None = None,
    progress: Progress | None = None,
) -> DensityModelKL:
    """Fits a density to q(z) and estimates KL[q(z) ‖ p(z)] by it (Algorithm 3).

    Args:
      codes: of q(z).
      density: what is fitted; its weights are changed.
      config: the fit.
      seed: of everything that is drawn.
      held_out: codes that decide when to stop and give the value; by default fresh `codes`.
      progress: called with (steps done, steps).

    Raises:
      ValueError: the latent dimensions differ, or no step gave a finite likelihood.
    """
    config = config or DensityFitConfig()
    for name, sampler in (("held_out", held_out), ("the density", density)):
        if sampler is not None and sampler.num_latents != codes.num_latents:
            raise ValueError(
                f"{name} has {sampler.num_latents} latent dimensions, expected {codes.num_latents}"
            )
    selection, value = selection_and_value(codes, held_out)
    outcome = fit_density(codes, density, config, seed, selection=selection, progress=progress)
    evaluate = _evaluator(density)
    kl, likelihood, training = RunningMean(), RunningMean(), RunningMean()
    number = config.num_samples
    for fresh in evaluation_blocks(value, number, [seed, _VALUE], _BLOCK):
        log_density = evaluate(fresh)
        log_prior = -0.5 * np.sum(fresh**2 + math.log(2 * math.pi), axis=1)
        kl.add(log_density - log_prior)
        likelihood.add(log_density)
    for trained_on in evaluation_blocks(codes, number, [seed, _TRAINING], _BLOCK):
        training.add(evaluate(trained_on))
    return DensityModelKL(
        kl=kl.mean,
        kl_per_dimension=kl.mean / codes.num_latents,
        standard_error=kl.standard_error,
        interval=kl.interval,
        held_out_log_likelihood=likelihood.mean,
        held_out_log_likelihood_standard_error=likelihood.standard_error,
        training_log_likelihood=training.mean,
        steps=outcome.steps,
        best_step=outcome.best_step,
        stopped_early=outcome.stopped_early,
        diverged=outcome.diverged_at is not None,
        num_samples=kl.count,
        num_latents=codes.num_latents,
    )


def fit_density(
    codes: CodeSampler,
    density: TrainableDensity,
    config: DensityFitConfig,
    seed: int = 0,
    *,
    selection: CodeSampler | None = None,
    progress: Progress | None = None,
) -> Fit:
    """Maximises E_q log t(z) from the moments of codes on (Algorithm 3, lines 2 to 5)."""
    density.initialize(codes.sample(_START_CODES, [seed, _START]), seed)
    evaluate = _evaluator(density)
    looked_at = (selection or codes).sample(_LOOK_CODES, [seed, _LOOKS])

    def batch(step: int) -> dict[str, FloatArray]:
        return {"codes": codes.sample(config.batch_size, [seed, _BATCHES, step])}

    def loss(arrays: Mapping[str, tf.Tensor], step: tf.Tensor) -> tf.Tensor:
        return -tf.reduce_mean(density.log_prob(arrays["codes"]))

    schedule = Schedule(
        steps=config.steps,
        learning_rate=config.learning_rate,
        adam_beta_1=config.adam_beta_1,
        adam_beta_2=config.adam_beta_2,
        evaluate_every=config.evaluate_every,
        patience=config.patience,
        keep_best=True,
        clip_norm=config.clip_norm,
    )
    return fit(
        density.trainable_variables,
        loss,
        batch,
        lambda: -float(np.mean(evaluate(looked_at))),
        schedule,
        progress,
    )


def _evaluator(density: TrainableDensity) -> Callable[[FloatArray], FloatArray]:
    """Returns codes [S, L] -> log-densities, float64 [S], traced once."""
    traced = tf.function(density.log_prob, autograph=False, reduce_retracing=True)

    def evaluate(codes: FloatArray) -> FloatArray:
        blocks = range(0, len(codes), _BLOCK)
        parts = [traced(tf.constant(codes[i : i + _BLOCK], tf.float32)).numpy() for i in blocks]
        return np.concatenate(parts).astype(np.float64)

    return evaluate

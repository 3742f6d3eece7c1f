"""KL[q(z) ‖ p(z)] by the density ratio trick (Algorithm 2), calibrated or telescoped on request.

A classifier between codes of q(z) and of p(z) has the logit log p(z) − log q(z) at its optimum
(label 1 is the prior), so the KL is the mean of −logit over codes of q(z). Nothing bounds it: a
classifier that is too sure overestimates, one that learned too little underestimates. With the
same T = −logit the bounds of Donsker and Varadhan and of Nguyen, Wainwright and Jordan,

    DV = E_q[T] − log E_p[e^T],   NWJ = E_q[T] − E_p[e^T] + 1   (T is theirs less one),

hold for any T, in expectation: an estimate far above them has exploded (Table 2's 25812). The
logarithm of a sample mean is biased, which lifts the estimate of DV where e^T varies much under p.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np

from tfdm.distributions.priors import Prior
from tfdm.estimators.code_classifier import CodeClassifier, cross_entropy, fit_classifier
from tfdm.estimators.codes import CodeSampler, GaussianCodes, evaluation_blocks, selection_and_value
from tfdm.estimators.config import DensityRatioConfig
from tfdm.estimators.fitting import Fit
from tfdm.estimators.posteriors import codes_to_fit
from tfdm.estimators.priors import PriorCodes, chain, checked_prior
from tfdm.estimators.records import DensityRatioKL, Task
from tfdm.progress import ProgressOption, progress_bar
from tfdm.seeds import derive, stream
from tfdm.statistics import FloatArray, LogMeanExp, RunningMean, fit_binary_temperature

# Codes of either side that a temperature is fitted on.
_CALIBRATION_CODES = 20_000
_BLOCK = 8192


@dataclasses.dataclass(frozen=True)
class DensityRatio:
    """log q(z) − log p(z) as a sum over classifiers, one for each gap of the chain from q to p."""

    classifiers: tuple[CodeClassifier, ...]  # K + 1 of them, from q's side to p's
    temperatures: tuple[float, ...]  # divide each one's logits; all 1 without calibration
    fits: tuple[Fit, ...]  # how each was trained

    def parts(self, codes: FloatArray) -> FloatArray:
        """Returns the log-ratio over each gap at codes [S, L], float64 [K + 1, S]."""
        pairs = zip(self.classifiers, self.temperatures, strict=True)
        return np.stack(
            [-classifier.logits(codes) / temperature for classifier, temperature in pairs]
        )

    def log_ratio(self, codes: FloatArray) -> FloatArray:
        """Returns log q(z) − log p(z) at codes [S, L], float64 [S]."""
        return self.parts(np.asarray(codes, np.float64)).sum(axis=0)


def fit_density_ratio(
    codes: CodeSampler,
    config: DensityRatioConfig,
    seed: int = 0,
    *,
    prior: Prior | None = None,
    selection: CodeSampler | None = None,
    state: Path | None = None,
    progress: ProgressOption = True,
) -> DensityRatio:
    """Trains the classifiers, and with `config.calibrate` their temperatures.

    Takes what `density_ratio_kl` does, and `selection`, codes of q(z) for early stopping and the
    temperatures, by default fresh codes of the same. `ValueError` where the latent dimensions
    differ, or the first steps diverge.
    """
    if selection is not None and selection.latent_dim != codes.latent_dim:
        raise ValueError(
            f"selection has latent_dim {selection.latent_dim}, expected {codes.latent_dim}"
        )
    bridges = (config.num_bridges, config.bridge_power, checked_prior(prior, codes.latent_dim))
    members, others = chain(codes, *bridges), chain(selection or codes, *bridges)
    pairs = list(itertools.pairwise(zip(members, others, strict=True)))
    classifiers, fits, temperatures = [], [], []
    with progress_bar("density ratio", "step", progress) as report:
        for gap, ((posterior, unseen), (prior_side, unseen_prior)) in enumerate(pairs):
            key = derive(seed, "kl/ratio/gap", gap)
            folder = None if state is None else state / f"gap_{gap:02d}"

            def show(done: int, total: int, before: int = gap) -> None:
                report(before * total + done, len(pairs) * total)

            classifier, outcome = fit_classifier(
                posterior, prior_side, config, key, unseen, show, folder
            )
            classifiers.append(classifier)
            fits.append(outcome)
            sides = [
                classifier.logits(side.sample(_CALIBRATION_CODES, stream(key, "kl/ratio/" + name)))
                for side, name in ((unseen_prior, "prior"), (unseen, "posterior"))
                if config.calibrate
            ]
            temperatures.append(fit_binary_temperature(*sides) if sides else 1.0)
    return DensityRatio(tuple(classifiers), tuple(temperatures), tuple(fits))


def density_ratio_kl(
    codes: CodeSampler,
    config: DensityRatioConfig | None = None,
    seed: int = 0,
    *,
    prior: Prior | None = None,
    held_out: CodeSampler | None = None,
    others: CodeSampler | None = None,
    state: Path | None = None,
    progress: ProgressOption = True,
) -> DensityRatioKL:
    """Estimates KL[q(z) ‖ p(z)] by classifiers of codes.

    Args:
      codes: of q(z).
      config: the classifiers and their training.
      seed: of everything that is drawn.
      prior: p(z), by default N(0, I).
      held_out: codes that training does not see; by default fresh codes of `codes`.
      others: codes of other data, for `kl_held_out_images`.
      state: a folder of this call alone, from which an interrupted fit is resumed.
      progress: whether a bar is shown, or a function of (steps done, steps) over all classifiers.

    Raises:
      ValueError: the latent dimensions differ, fixed codes lack held-out ones, or the first steps
        diverge.
    """
    config = config or DensityRatioConfig()
    selection, value = selection_and_value(codes, held_out)
    ratio = fit_density_ratio(
        codes, config, seed, prior=prior, selection=selection, state=state, progress=progress
    )
    result = evaluate_density_ratio(ratio, value, config.num_samples, seed, prior)
    if others is None:
        return result
    seed = derive(seed, "kl/ratio/held_out")
    of_others = evaluate_density_ratio(ratio, others, config.num_samples, seed, prior)
    return dataclasses.replace(result, kl_held_out_images=of_others.kl)


def evaluate_density_ratio(
    ratio: DensityRatio,
    codes: CodeSampler,
    num_samples: int,
    seed: int = 0,
    prior: Prior | None = None,
) -> DensityRatioKL:
    """Returns the estimate of a fitted ratio on codes that nothing was fitted on."""
    kl, raw, weights = RunningMean(), RunningMean(), LogMeanExp()
    gaps = np.zeros(len(ratio.classifiers))
    uncalibrated = dataclasses.replace(ratio, temperatures=(1.0,) * len(gaps))
    entropy, right = 0.0, 0.0
    prior_codes = PriorCodes(codes.latent_dim, checked_prior(prior, codes.latent_dim))
    blocks = evaluation_blocks(codes, num_samples, _BLOCK, seed, "kl/ratio/value/posterior")
    for index, posterior in enumerate(blocks):
        size = len(posterior)
        parts = ratio.parts(posterior)
        log_ratio = parts.sum(axis=0)
        of_prior = ratio.log_ratio(
            prior_codes.sample(size, stream(seed, "kl/ratio/value/prior", index))
        )
        kl.add(log_ratio)
        raw.add(uncalibrated.log_ratio(posterior))
        weights.add(of_prior)
        gaps += parts.sum(axis=1)
        entropy += size * cross_entropy(-of_prior, -log_ratio)
        right += size + 0.5 * float(np.sum(np.sign(log_ratio)) - np.sum(np.sign(of_prior)))
    relative, mean = weights.relative_error, weights.mean
    return DensityRatioKL.of(
        kl,
        codes.latent_dim,
        kl_uncalibrated=raw.mean,
        donsker_varadhan=kl.mean - weights.log_mean,
        donsker_varadhan_standard_error=math.hypot(kl.standard_error, relative),
        nwj=kl.mean - mean + 1.0,
        nwj_standard_error=math.hypot(kl.standard_error, relative * mean),
        cross_entropy=entropy / kl.count,
        accuracy=right / (2 * kl.count),
        temperatures=ratio.temperatures,
        kl_of_gaps=tuple(float(part) for part in gaps / kl.count),
        steps=tuple(outcome.steps for outcome in ratio.fits),
        diverged=any(outcome.diverged_at is not None for outcome in ratio.fits),
        num_bridges=len(gaps) - 1,
        still_improving=any(outcome.still_improving for outcome in ratio.fits),
    )


def density_ratio(task: Task) -> DensityRatioKL:
    """The estimator `density_ratio`, evaluated also on Gaussian posteriors of held-out data."""
    codes, held_out = codes_to_fit(task.posteriors, task.held_out, task.seed)
    return density_ratio_kl(
        codes,
        task.config,
        task.seed,
        prior=task.prior,
        held_out=held_out,
        others=task.held_out if isinstance(task.held_out, GaussianCodes) else None,
        state=task.state,
        progress=task.progress,
    )

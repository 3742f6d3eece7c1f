"""What the estimators of KL[q(z) ‖ p(z)] return, in nats, and how it stands in `kl.json`.

Shapes: N data points, L latent dimensions, S samples.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from tfdm.runs.atomic import json_ready


@dataclasses.dataclass(frozen=True)
class MonteCarloKL:
    """An estimate of KL[q(z) ‖ p(z)] from samples of q(z), in nats.

    Attributes:
      kl: the estimate, the mean of log q(z) − log p(z).
      kl_per_dimension: `kl` / L.
      standard_error: of `kl`.
      interval: 95 % confidence interval of `kl`.
      mutual_information: I[z; x], the mean of log q(z|x) − log q(z); at most log N, save for the
        sampling error and in the two variants.
      mutual_information_standard_error: of `mutual_information`; zero when it is saturated, where
        average KL − `mutual_information` is the sharper estimate of the same KL (eq. 5).
      log_num_data: log N.
      saturated: whether the mutual information is above 95 % of log N. The posteriors then hardly
        overlap, and the estimate can only repeat average KL − log N. False in the two variants,
        which log N does not bound.
      average_kl: mean over x of KL[q(z|x) ‖ p(z)], of the x that z is drawn from: a closed form for
        Gaussian posteriors and p(z) = N(0, I), else the mean over the same samples.
      num_samples: S.
      num_data: N, the posteriors in the mixture.
      latent_dim: L.
      variant: `whole`, `leave_one_out` or `held_out`. In the latter two `kl` is
        E_{q'}[log q(z) − log p(z)], where q lacks the x that z came from.
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
    latent_dim: int
    variant: str


@dataclasses.dataclass(frozen=True)
class DensityRatioKL:
    """An estimate of KL[q(z) ‖ p(z)] by classifiers of codes, in nats.

    Attributes:
      kl: the estimate, the mean of log q(z) − log p(z) over fresh codes of q(z).
      kl_per_dimension: `kl` / L.
      standard_error: of `kl`, for these classifiers.
      interval: 95 % confidence interval of the mean; it knows nothing of the classifiers' error.
      kl_uncalibrated: the same with all temperatures 1.
      donsker_varadhan: the lower bound DV, −inf where e^T overflows.
      donsker_varadhan_standard_error: of it, by the delta method.
      nwj: the lower bound NWJ, −inf where e^T overflows.
      nwj_standard_error: of it.
      cross_entropy: of the sum of the logits on fresh codes of q and p; 2 log 2 for logits of zero.
      accuracy: share of these codes on the right side.
      temperatures: those of the classifiers.
      kl_of_gaps: the share of each gap in `kl`, from q's side to p's.
      steps: the steps that the classifiers took.
      diverged: whether a loss was not finite; its classifier is then the best one before that.
      num_samples: codes of q behind `kl`, and of p behind the bounds.
      latent_dim: L.
      num_bridges: K.
      kl_held_out_images: the mean over codes of data that nothing was trained on, where there are
        such data.
    """

    kl: float
    kl_per_dimension: float
    standard_error: float
    interval: tuple[float, float]
    kl_uncalibrated: float
    donsker_varadhan: float
    donsker_varadhan_standard_error: float
    nwj: float
    nwj_standard_error: float
    cross_entropy: float
    accuracy: float
    temperatures: tuple[float, ...]
    kl_of_gaps: tuple[float, ...]
    steps: tuple[int, ...]
    diverged: bool
    num_samples: int
    latent_dim: int
    num_bridges: int
    kl_held_out_images: float | None = None


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
      latent_dim: L.
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
    latent_dim: int


@dataclasses.dataclass(frozen=True)
class NoEstimate:
    """An estimator that gave no value.

    Attributes:
      kl: `None`.
      reason: why.
    """

    reason: str
    kl: None = None


Estimate = MonteCarloKL | DensityRatioKL | DensityModelKL | NoEstimate


def to_record(result: Any) -> dict[str, Any]:
    """Returns a result dataclass in the types of JSON; `latent_dim` is called `num_latents`."""
    fields = json_ready(dataclasses.asdict(result))
    return {"num_latents" if key == "latent_dim" else key: fields[key] for key in fields}

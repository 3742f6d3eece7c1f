"""What an estimator of KL[q(z) ‖ p(z)] is given, and what it returns, in nats.

Shapes: N data points, L latent dimensions, S samples.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tfdm.distributions.priors import Prior
from tfdm.estimators.posteriors import Posteriors
from tfdm.progress import ProgressOption
from tfdm.runs.atomic import json_ready
from tfdm.statistics import RunningMean


@dataclasses.dataclass(frozen=True)
class Task:
    """What an estimator of the registry is given."""

    posteriors: Posteriors  # q(z|x) of the data whose mixture is q(z)
    config: Any  # the estimator's own fields, an object of its `config` class
    held_out: Posteriors | None = None  # q(z|x) of other data, where there are any
    prior: Prior | None = None  # p(z), `None` for N(0, I)
    seed: int = 0  # of everything that it draws
    strategy: str = "auto"  # the name of the strategy, for estimators that use several devices
    state: Path | None = None  # a path of its own for what is done so far, `None` for nowhere
    progress: ProgressOption = False


@dataclasses.dataclass(frozen=True)
class KLEstimate:
    """An estimate of KL[q(z) ‖ p(z)], the mean over codes of q(z) of some log q(z) − log p(z)."""

    kl: float
    kl_per_dimension: float  # kl / L
    standard_error: float  # of kl, as if the log-ratio were exact
    interval: tuple[float, float]  # 95 % confidence interval of kl, by that error
    num_samples: int  # S, codes of q(z) behind kl
    latent_dim: int  # L

    @classmethod
    def of(cls, kl: RunningMean, latent_dim: int, **fields: Any) -> Self:
        """Returns the estimate of a mean, with the other fields of its class."""
        return cls(
            kl=kl.mean,
            kl_per_dimension=kl.mean / latent_dim,
            standard_error=kl.standard_error,
            interval=kl.interval,
            num_samples=kl.count,
            latent_dim=latent_dim,
            **fields,
        )


@dataclasses.dataclass(frozen=True)
class MonteCarloKL(KLEstimate):
    """An estimate from the densities of posteriors.

    The posteriors hardly overlap where it is `saturated`, the mutual information above 95 % of
    log N: it can then only repeat average KL − log N, and average KL − `mutual_information` is the
    sharper estimate of the same KL (eq. 5). `variant` is `whole`, `leave_one_out` or `held_out`. In
    the latter two `kl` is E_{q'}[log q(z) − log p(z)], where q lacks the x that z came from, and
    log N bounds nothing.
    """

    # I[z; x], the mean of log q(z|x) − log q(z), and its error, zero when it is saturated
    mutual_information: float
    mutual_information_standard_error: float
    log_num_data: float
    saturated: bool
    # mean of KL[q(z|x) ‖ p(z)] over the x that z is drawn from, in closed form for Gaussians and
    # N(0, I), else over the same samples
    average_kl: float
    num_data: int  # N, the posteriors in the mixture
    variant: str


@dataclasses.dataclass(frozen=True)
class DensityRatioKL(KLEstimate):
    """An estimate by classifiers of codes, from q's side to p's; its error is not in `interval`."""

    kl_uncalibrated: float  # with all temperatures 1
    donsker_varadhan: float  # a lower bound, −inf where e^T overflows
    donsker_varadhan_standard_error: float  # by the delta method
    nwj: float  # a lower bound, −inf where e^T overflows
    nwj_standard_error: float
    cross_entropy: float  # on fresh codes of q and p; 2 log 2 for logits of zero
    accuracy: float  # share of these codes on the right side
    temperatures: tuple[float, ...]  # of the classifiers
    kl_of_gaps: tuple[float, ...]  # the share of each classifier in kl
    steps: tuple[int, ...]  # that they took
    diverged: bool  # a loss was not finite; its classifier is the best one before that
    num_bridges: int
    still_improving: bool = False  # a classifier was best at its last evaluation, the step limit
    kl_held_out_images: float | None = None  # over codes of other data, where there are any


@dataclasses.dataclass(frozen=True)
class DensityModelKL(KLEstimate):
    """An estimate by a fitted density t; in expectation at most the KL."""

    held_out_log_likelihood: float  # the mean of log t(z) over the same codes
    held_out_log_likelihood_standard_error: float
    training_log_likelihood: float  # over as many codes of the sampler that was trained on
    steps: int
    best_step: int  # whose weights were kept
    stopped_early: bool  # by the held-out likelihood
    diverged: bool  # a loss was not finite; the weights are the best ones before that
    still_improving: bool = False  # the last evaluation was the best, at the step limit


@dataclasses.dataclass(frozen=True)
class NoEstimate:
    """An estimator that gave no value; it has not `failed` where the posteriors do not suit it."""

    reason: str
    failed: bool = True
    kl: None = None


# Records of another format were made by other estimators: what they hold is estimated again.
RECORD_FORMAT = 2

Estimate = MonteCarloKL | DensityRatioKL | DensityModelKL | NoEstimate


def to_record(result: Any) -> dict[str, Any]:
    """Returns a result dataclass in the types of JSON; `latent_dim` is called `num_latents`."""
    fields = json_ready(dataclasses.asdict(result))
    return {"num_latents" if key == "latent_dim" else key: fields[key] for key in fields}


def from_record(record: Mapping[str, Any]) -> Estimate:
    """Returns the estimate that a record of `kl.json` holds; what is no number there is NaN.

    Raises:
      ValueError: the record holds no estimate.
    """
    for result in (MonteCarloKL, DensityRatioKL, DensityModelKL):
        values: dict[str, Any] = {}
        for field in dataclasses.fields(result):
            value = record.get("num_latents" if field.name == "latent_dim" else field.name, ...)
            value = math.nan if value is None and field.type == "float" else value
            values[field.name] = tuple(value) if isinstance(value, list) else value
        if ... not in values.values():
            return result(**values)
    raise ValueError(f"the record has {', '.join(record)}, expected the fields of an estimate")

"""The estimators of `tfdm-estimate-kl` by name: what configures each and how it is called."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfdm.errors import UserError
from tfdm.estimators import config as configs

if TYPE_CHECKING:
    from tfdm.estimators.codes import CodeSampler
    from tfdm.experiments.kl_sources import Source

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Task:
    """What an estimator is given.

    Attributes:
      source: the posteriors.
      config: the estimator's own fields, an object of its `config` class.
      seed: of everything that it draws.
      strategy: the name of the strategy, for estimators that use several devices.
      state: where it may keep what it has done so far.
      progress: called with (done, total).
    """

    source: Source
    config: Any
    seed: int
    strategy: str
    state: Path
    progress: Progress


@dataclasses.dataclass(frozen=True)
class Estimator:
    """One estimator of the command.

    Attributes:
      name: its name on the command line and in `kl.json`.
      summary: one line for the help.
      config: the class of its fields, a dataclass without TensorFlow.
      run: returns its record for `kl.json`.
      needs_density: whether it needs log q(z|x).
    """

    name: str
    summary: str
    config: type
    run: Callable[[Task], dict[str, Any]]
    needs_density: bool = False


def _monte_carlo(task: Task, **variant: Any) -> dict[str, Any]:
    from tfdm.estimators import monte_carlo_kl
    from tfdm.training.strategy import make_strategy

    train = task.source.train
    estimate = monte_carlo_kl(
        train.loc,
        train.scale,
        task.config.num_samples,
        task.seed,
        strategy=make_strategy(task.strategy),
        state_path=task.state,
        progress=task.progress,
        **variant,
    )
    return dataclasses.asdict(estimate)


def _leave_one_out(task: Task) -> dict[str, Any]:
    return _monte_carlo(task, leave_one_out=True)


def _held_out(task: Task) -> dict[str, Any]:
    held_out = task.source.held_out
    if held_out is None:
        raise UserError("the file has no held_out_loc and held_out_scale: held_out needs them")
    return _monte_carlo(task, held_out=(held_out.loc, held_out.scale))


def _codes(task: Task) -> tuple[CodeSampler, CodeSampler | None]:
    """Returns codes of q(z), and of held-out images where the encoder has no density.

    A density gives fresh codes at will, so that nothing need be held out.
    """
    from tfdm.estimators import FixedCodes, GaussianCodes

    train, held_out = task.source.train, task.source.held_out
    if train.scale is not None:
        return GaussianCodes(train.loc, train.scale), None
    return FixedCodes(train.loc), FixedCodes(held_out.loc) if held_out is not None else None


def _held_out_codes(task: Task) -> CodeSampler | None:
    from tfdm.estimators import FixedCodes, GaussianCodes

    held_out = task.source.held_out
    if held_out is None:
        return None
    if held_out.scale is None:
        return FixedCodes(held_out.loc)
    return GaussianCodes(held_out.loc, held_out.scale)


def _density_ratio(task: Task) -> dict[str, Any]:
    from tfdm.estimators import fit_density_ratio
    from tfdm.estimators.codes import selection_and_value
    from tfdm.estimators.density_ratio import evaluate_density_ratio

    codes, held_out = _codes(task)
    selection, value = selection_and_value(codes, held_out)
    ratio = fit_density_ratio(
        codes, task.config, task.seed, selection=selection, progress=task.progress
    )
    number = task.config.num_samples
    result = evaluate_density_ratio(ratio, value, number, task.seed)
    record = dataclasses.asdict(result)
    others = _held_out_codes(task)
    if others is not None and held_out is None:
        other = evaluate_density_ratio(ratio, others, number, task.seed)
        record["kl_held_out_images"] = other.kl
    return record


def _fitted(task: Task, density: Any) -> dict[str, Any]:
    from tfdm.estimators import density_model_kl

    codes, held_out = _codes(task)
    result = density_model_kl(
        codes, density, task.config, task.seed, held_out=held_out, progress=task.progress
    )
    return dataclasses.asdict(result)


def _gmm(task: Task) -> dict[str, Any]:
    from tfdm.distributions.gaussian_mixture import DiagonalGaussianMixture

    latents = task.source.train.loc.shape[1]
    return _fitted(task, DiagonalGaussianMixture(latents, task.config.num_components, task.seed))


def _maf(task: Task) -> dict[str, Any]:
    from tfdm.distributions.masked_autoregressive_flow import MaskedAutoregressiveFlow

    c, latents = task.config, task.source.train.loc.shape[1]
    density = MaskedAutoregressiveFlow(latents, c.num_flows, c.num_layers, c.width, task.seed)
    return _fitted(task, density)


def _lstm(task: Task) -> dict[str, Any]:
    from tfdm.distributions.autoregressive_lstm import AutoregressiveLSTM

    c, latents = task.config, task.source.train.loc.shape[1]
    return _fitted(task, AutoregressiveLSTM(latents, c.num_layers, c.units, task.seed))


ESTIMATORS: dict[str, Estimator] = {
    estimator.name: estimator
    for estimator in (
        Estimator(
            "monte_carlo",
            "every posterior in the mixture (Algorithm 1)",
            configs.MonteCarloConfig,
            _monte_carlo,
            needs_density=True,
        ),
        Estimator(
            "leave_one_out",
            "the same, without the posterior that z came from",
            configs.MonteCarloConfig,
            _leave_one_out,
            needs_density=True,
        ),
        Estimator(
            "held_out",
            "the same, with z from the posteriors of held-out images",
            configs.MonteCarloConfig,
            _held_out,
            needs_density=True,
        ),
        Estimator(
            "density_ratio",
            "a classifier of codes (Algorithm 2), calibrated or telescoped",
            configs.DensityRatioConfig,
            _density_ratio,
        ),
        Estimator(
            "gmm",
            "a diagonal Gaussian mixture fitted to q(z) (Algorithm 3)",
            configs.GaussianMixtureConfig,
            _gmm,
        ),
        Estimator(
            "maf",
            "a masked autoregressive flow fitted to q(z) (Algorithm 3)",
            configs.FlowConfig,
            _maf,
        ),
        Estimator(
            "lstm",
            "a Gaussian auto-regressive LSTM fitted to q(z) (Algorithm 3)",
            configs.LSTMConfig,
            _lstm,
        ),
    )
}

"""The estimators of `tfdm-estimate-kl` by name: what configures each and how it is called."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfdm.errors import UserError
from tfdm.estimators import config as configs

if TYPE_CHECKING:
    from tfdm.cli.kl_sources import Source

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
    )
}

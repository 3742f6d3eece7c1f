"""The estimators of KL[q(z) ‖ p(z)] by name; imports no TensorFlow.

An estimator is a function of a `Task` in a file of its own, and a line here.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfdm.estimators.config import (
    CrossTermConfig,
    DensityRatioConfig,
    FlowConfig,
    GaussianMixtureConfig,
    LSTMConfig,
    MonteCarloConfig,
)
from tfdm.fields import CheckedConfig
from tfdm.progress import ProgressOption

if TYPE_CHECKING:
    from tfdm.distributions.priors import Prior
    from tfdm.estimators.posteriors import Posteriors
    from tfdm.estimators.records import Estimate


@dataclasses.dataclass(frozen=True)
class Task:
    """What an estimator is given.

    Attributes:
      posteriors: q(z|x) of the data whose mixture is q(z).
      config: the estimator's own fields, an object of its `config` class.
      held_out: q(z|x) of other data, where there are any.
      prior: p(z), `None` for N(0, I).
      seed: of everything that it draws.
      strategy: the name of the strategy, for estimators that use several devices.
      state: where it may keep what it has done so far, `None` for nowhere.
      progress: whether it shows a bar, or a function of (done, total).
    """

    posteriors: Posteriors
    config: Any
    held_out: Posteriors | None = None
    prior: Prior | None = None
    seed: int = 0
    strategy: str = "auto"
    state: Path | None = None
    progress: ProgressOption = False


@dataclasses.dataclass(frozen=True)
class Estimator:
    """One estimator.

    Attributes:
      name: its name in options and in `kl.json`, and that of its function.
      config: the class of its fields.
      module: the module of the function from a `Task` to a result of `tfdm.estimators.records`.
      needs_density: whether it needs log q(z|x).
      summary: one line for the help.
    """

    name: str
    config: type[CheckedConfig]
    module: str
    needs_density: bool
    summary: str

    def load(self) -> Callable[[Task], Estimate]:
        """Imports the estimator's function."""
        return getattr(importlib.import_module(self.module), self.name)


_HERE = "tfdm.estimators"
# fmt: off
ESTIMATORS: dict[str, Estimator] = {
    estimator.name: estimator
    for estimator in (
        Estimator("monte_carlo", MonteCarloConfig, f"{_HERE}.monte_carlo", True,
                  "every posterior in the mixture (Algorithm 1)"),
        Estimator("leave_one_out", CrossTermConfig, f"{_HERE}.monte_carlo", True,
                  "the same, without the posterior that z came from"),
        Estimator("held_out", CrossTermConfig, f"{_HERE}.monte_carlo", True,
                  "the same, with z from the posteriors of held-out images"),
        Estimator("density_ratio", DensityRatioConfig, f"{_HERE}.density_ratio", False,
                  "a classifier of codes (Algorithm 2), calibrated or telescoped"),
        Estimator("gmm", GaussianMixtureConfig, f"{_HERE}.density_model", False,
                  "a diagonal Gaussian mixture fitted to q(z) (Algorithm 3)"),
        Estimator("maf", FlowConfig, f"{_HERE}.density_model", False,
                  "a masked autoregressive flow fitted to q(z) (Algorithm 3)"),
        Estimator("lstm", LSTMConfig, f"{_HERE}.density_model", False,
                  "a Gaussian auto-regressive LSTM fitted to q(z) (Algorithm 3)"),
    )
}
# fmt: on

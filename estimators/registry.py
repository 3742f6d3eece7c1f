"""The estimators of KL[q(z) ‖ p(z)] by name; imports no TensorFlow.

An estimator is a function of a `Task` in a file of its own, and a line here.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from tfdm.estimators.config import (
    CrossTermConfig,
    DensityRatioConfig,
    FlowConfig,
    GaussianMixtureConfig,
    LSTMConfig,
    MonteCarloConfig,
)
from tfdm.fields import CheckedConfig

if TYPE_CHECKING:
    from tfdm.estimators.records import Estimate, Task


@dataclasses.dataclass(frozen=True)
class Estimator:
    """One estimator: a function from a `Task` to a result, both of `tfdm.estimators.records`."""

    name: str  # in options, in `kl.json`, and of the function
    config: type[CheckedConfig]  # the class of its fields
    module: str  # where the function is
    needs_density: bool  # whether it needs log q(z|x)
    summary: str  # one line for the help

    def load(self) -> Callable[[Task], Estimate]:
        """Imports the estimator's function."""
        return getattr(importlib.import_module(self.module), self.name)


# fmt: off
ESTIMATORS: dict[str, Estimator] = {
    estimator.name: estimator
    for estimator in (
        Estimator("monte_carlo", MonteCarloConfig, "tfdm.estimators.monte_carlo", True,
                  "every posterior in the mixture (Algorithm 1)"),
        Estimator("leave_one_out", CrossTermConfig, "tfdm.estimators.monte_carlo", True,
                  "the same, without the posterior that z came from"),
        Estimator("held_out", CrossTermConfig, "tfdm.estimators.monte_carlo", True,
                  "the same, with z from the posteriors of held-out images"),
        Estimator("density_ratio", DensityRatioConfig, "tfdm.estimators.density_ratio", False,
                  "a classifier of codes (Algorithm 2), calibrated or telescoped"),
        Estimator("gmm", GaussianMixtureConfig, "tfdm.estimators.density_model", False,
                  "a diagonal Gaussian mixture fitted to q(z) (Algorithm 3)"),
        Estimator("maf", FlowConfig, "tfdm.estimators.density_model", False,
                  "a masked autoregressive flow fitted to q(z) (Algorithm 3)"),
        Estimator("lstm", LSTMConfig, "tfdm.estimators.density_model", False,
                  "a Gaussian auto-regressive LSTM fitted to q(z) (Algorithm 3)"),
    )
}
# fmt: on

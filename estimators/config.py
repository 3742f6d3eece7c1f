"""Fields of the estimators: typed, ranged, documented, without TensorFlow."""

from __future__ import annotations

import dataclasses

from tfdm.hyperparameters import CheckedConfig, hyperparameter


@dataclasses.dataclass(frozen=True)
class MonteCarloConfig(CheckedConfig):
    """Fields of Algorithm 1."""

    num_samples: int = hyperparameter(1_000_000, "samples of z; the paper has 10⁶", minimum=2)

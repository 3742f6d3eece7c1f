"""The options of a prior that is fitted after training, without TensorFlow."""

from __future__ import annotations

import dataclasses

from tfdm.errors import did_you_mean
from tfdm.estimators.registry import ESTIMATORS
from tfdm.eval.metrics import METRICS
from tfdm.experiments.options import NUM_SAMPLES
from tfdm.fields import CheckedConfig, folder, setting

DENSITIES = ("gmm", "maf", "lstm")


@dataclasses.dataclass(frozen=True)
class FitPriorConfig(CheckedConfig):
    """What is measured before and after; the fields of the densities are the estimators'."""

    estimators: tuple[str, ...] = setting(
        (),
        "what estimates KL[q(z) ‖ p(z)] before and after",
        kind=str,
        metavar="NAME",
        shown_default="monte_carlo, or density_ratio where q(z|x) has no density",
    )
    metrics: tuple[str, ...] = setting(
        (),
        "what to measure of the samples before and after",
        kind=str,
        choices=lambda: METRICS,
        metavar="NAME",
        shown_default="nothing",
    )
    num_samples: int = setting(NUM_SAMPLES, "samples behind the metrics", minimum=2)
    seed: int = setting(0, "seed of everything drawn", minimum=0, maximum=2**31 - 1)
    data_dir: str | None = folder(
        "where the data set is read from", "where it was read in training"
    )
    cache_dir: str | None = folder("where prepared data sets are kept")

    def __post_init__(self) -> None:
        """Checks every field; raises `ValueError` with the value and what was expected."""
        super().__post_init__()
        for name in self.estimators:
            if name not in ESTIMATORS:
                raise ValueError(f"unknown estimator {name!r}: {did_you_mean(name, ESTIMATORS)}")

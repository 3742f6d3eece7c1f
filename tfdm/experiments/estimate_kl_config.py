"""The options of an estimate of KL[q(z) ‖ p(z)], without TensorFlow."""

from __future__ import annotations

import dataclasses

from tfdm.errors import did_you_mean
from tfdm.estimators.registry import ESTIMATORS
from tfdm.experiments.config import STRATEGIES
from tfdm.fields import CheckedConfig, folder, setting


@dataclasses.dataclass(frozen=True)
class EstimateKLConfig(CheckedConfig):
    """What is estimated, and where its files go.

    The fields of the estimators are apart, see `tfdm.estimators.config`.
    """

    estimators: tuple[str, ...] = setting(("monte_carlo",), "the estimators to run", metavar="NAME")
    label: str = setting(
        "",
        "suffix of the estimators' names, as in monte_carlo:LABEL, for results of several settings",
    )
    log_likelihood_samples: int = setting(
        0,
        "samples K of the importance-weighted log-likelihood of held-out images; 0 is off",
        minimum=0,
    )
    seed: int = setting(0, "seed of all random numbers", minimum=0, maximum=2**31 - 1)
    strategy: str = setting("auto", "where to compute", choices=STRATEGIES)
    output_dir: str | None = folder(
        "where kl.json, the table and the pictures go", "the run, or FILE.npz.kl"
    )
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
        if self.label and not self.label.replace("-", "").replace("_", "").isalnum():
            raise ValueError(f"label is {self.label!r}, expected letters, digits, - and _ alone")

    def key(self, estimator: str) -> str:
        """Returns the name of an estimator's record."""
        return f"{estimator}:{self.label}" if self.label else estimator

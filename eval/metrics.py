"""The metrics of samples by name: a metric is one file and one entry here; without TensorFlow."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any

from tfdm.errors import UserError, did_you_mean
from tfdm.eval.config import (
    CriticConfig,
    DiversityConfig,
    KernelConfig,
    MetricConfig,
    PrecisionRecallConfig,
    ScoreConfig,
)
from tfdm.eval.inputs import Inputs


@dataclasses.dataclass(frozen=True)
class Quantity:
    """One number of a record, as tables and plots show it, and the field of its error or spread."""

    field: str
    label: str
    error: str | None = None
    higher_is_better: bool | None = True  # None where it is best near the real images'.
    negated: bool = False  # In the plot, as in Figure 4.


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric: its name on the command line and in `evaluation.json`, and all about it.

    `function` is the `module:name` of (`Inputs`, config) -> record, which JSON can hold; it raises
    `ValueError` for samples that do not suffice.
    """

    name: str
    config: type[MetricConfig]
    summary: str  # one line for the help
    function: str
    quantities: tuple[Quantity, ...]  # the numbers of its record that are shown
    needs_classifier: bool = False
    needs_features: bool = False  # of samples and of real images; not every classifier has them
    needs_dataset: bool = False

    def measure(self, inputs: Inputs, config: MetricConfig) -> dict[str, Any]:
        """Returns the record."""
        module, _, name = self.function.partition(":")
        return getattr(importlib.import_module(module), name)(inputs, config)


def find_metric(name: str) -> Metric:
    """Returns a metric by its name; an unknown one is a `UserError`."""
    if name not in METRICS:
        raise UserError(f"unknown metric {name!r}: {did_you_mean(name, METRICS)}")
    return METRICS[name]


_FEATURES = {"needs_classifier": True, "needs_features": True}

_METRICS = (
    Metric(
        "inception_score",
        ScoreConfig,
        "exp of the mean KL[p(y|x) ‖ p(y)] (Appendix I); higher is better",
        "tfdm.eval.inception_score:measure",
        (Quantity("mean", "inception score", "std"),),
        needs_classifier=True,
    ),
    Metric(
        "ms_ssim",
        DiversityConfig,
        "1 - MS-SSIM of pairs of samples (Appendix I); best near the real images'",
        "tfdm.eval.structural_similarity:measure",
        (Quantity("diversity", "diversity, 1 − MS-SSIM", "standard_error", None),),
    ),
    Metric(
        "wasserstein_critic",
        CriticConfig,
        "independent Wasserstein critic on held-out images (Appendix I); lower is better",
        "tfdm.eval.wasserstein_critic:measure",
        (Quantity("value", "Wasserstein critic", "standard_error", False, negated=True),),
        needs_dataset=True,
    ),
    Metric(
        "frechet_distance",
        MetricConfig,
        "between Gaussians fitted to features; lower is better",
        "tfdm.eval.feature_distances:measure_frechet",
        (Quantity("value", "Fréchet distance", None, False),),
        **_FEATURES,
    ),
    Metric(
        "kernel_distance",
        KernelConfig,
        "squared maximum mean discrepancy of features; lower is better",
        "tfdm.eval.feature_distances:measure_kernel",
        (Quantity("value", "kernel distance", "standard_error", False),),
        **_FEATURES,
    ),
    Metric(
        "precision_recall",
        PrecisionRecallConfig,
        "shares of samples and of real images in the other's support; higher is better",
        "tfdm.eval.improved_precision_recall:measure",
        (Quantity("precision", "precision"), Quantity("recall", "recall")),
        **_FEATURES,
    ),
)
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _METRICS}

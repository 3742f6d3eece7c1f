"""The options of the commands beside `tfdm-train`; imports no TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from tfdm.datasets.dataset import SPLITS
from tfdm.datasets.registry import DATASETS
from tfdm.errors import did_you_mean
from tfdm.estimators.config import SETTINGS, SyntheticConfig
from tfdm.estimators.registry import ESTIMATORS
from tfdm.eval.classifiers.config import RECIPES, ClassifierConfig
from tfdm.eval.metrics import METRICS
from tfdm.experiments.config import STRATEGIES
from tfdm.fields import CheckedConfig, folder, setting

NUM_SAMPLES = 50_000


def _check_estimators(names: Iterable[str]) -> None:
    """Raises `ValueError` for a name that no estimator has."""
    for name in names:
        if name not in ESTIMATORS:
            raise ValueError(f"unknown estimator {name!r}: {did_you_mean(name, ESTIMATORS)}")


# The estimators whose density can be a prior.
DENSITIES = ("gmm", "maf", "lstm")


@dataclasses.dataclass(frozen=True)
class EvaluateConfig(CheckedConfig):
    """What an evaluation measures, beside what, and where its files go."""

    metrics: tuple[str, ...] = setting(
        (),
        "what to measure; by default every metric that fits the samples",
        kind=str,
        choices=lambda: METRICS,
        metavar="NAME",
        shown_default="all",
    )
    num_samples: int | None = setting(
        None,
        "number of samples; of files and splits the first ones, in the order of the names or of "
        "the array",
        kind=int,
        minimum=2,
        shown_default=f"{NUM_SAMPLES:,} of a run, else all",
    )
    noise: float = setting(
        0.0, "standard deviation of noise added to pixels in [0, 1] (Figure 5: 0.1)", minimum=0.0
    )
    seed: int = setting(0, "seed of all random numbers", minimum=0, maximum=2**31 - 1)
    dataset: str | None = setting(
        None,
        "the data set to compare images with; a run has its own",
        kind=str,
        metavar="|".join(DATASETS),
    )
    reference: str | None = setting(
        None,
        "the real images behind distances, precision and recall: a split of the data set, a "
        "folder of images, or an .npz or .npy of images (./test is a folder of that name)",
        kind=str,
        metavar="|".join((*SPLITS, "DIR_OR_NPZ")),
        shown_default="train",
    )
    image_size: int = setting(0, "side of the data set's images in pixels; 0 is its own", minimum=0)
    crop: int = setting(0, "side of the data set's centre crop in pixels; 0 is its own", minimum=0)
    resize: bool = setting(
        False, "scale images that do not fit the data set or the classifier, down or up"
    )
    classifier: str | None = setting(
        None,
        "a classifier of the package for any images of its size (cifar10: 32x32, color_mnist: "
        "28x28), or a folder of tfdm-train-classifier",
        kind=str,
        metavar="NAME|DIR",
        shown_default="the data set's",
    )
    inception_path: str | None = folder(
        "SavedModel of the ImageNet Inception network, beside the other classifier"
    )
    inception_digest: str | None = setting(
        None, "SHA-256 that the SavedModel must have", kind=str, metavar="HEX"
    )
    allow_unverified: bool = setting(
        False, "load a SavedModel whose digest is not known; it can run any code"
    )
    output_dir: str | None = folder(
        "where evaluation.json, the table and the pictures go",
        "the run, IMAGES.evaluation, or runs/DATASET-SPLIT",
    )
    data_dir: str | None = folder("where the data set is read from")
    cache_dir: str | None = folder("where prepared data sets and their features are kept")

    def __post_init__(self) -> None:
        """Checks the fields and whether each has an effect."""
        super().__post_init__()
        chosen = [METRICS[name] for name in self.metrics or METRICS]
        for name in ("inception_digest", "allow_unverified"):
            if getattr(self, name) and self.inception_path is None:
                raise ValueError(f"{name} has no effect without inception_path: drop it")
        for name in ("classifier", "inception_path"):
            if getattr(self, name) and not any(metric.needs_classifier for metric in chosen):
                raise ValueError(f"{name} has no effect: no metric here needs a classifier")


def default_output_dir(
    config: EvaluateConfig, *, run: str | None = None, images: str | None = None
) -> Path:
    """Returns where a command writes whose user names no folder."""
    ending = f"-noise{config.noise:g}" if config.noise else ""
    if images in SPLITS:
        return Path("runs") / f"{config.dataset}-{images}{ending}"
    if run and not ending:
        return Path(run).expanduser()
    return Path(f"{(run or images or '').rstrip('/')}{ending}.evaluation").expanduser()


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
        _check_estimators(self.estimators)
        if self.label and not self.label.replace("-", "").replace("_", "").isalnum():
            raise ValueError(f"label is {self.label!r}, expected letters, digits, - and _ alone")

    def key(self, estimator: str) -> str:
        """Returns the name of an estimator's record."""
        return f"{estimator}:{self.label}" if self.label else estimator


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
    seed: int = setting(0, "seed of all random numbers", minimum=0, maximum=2**31 - 1)
    data_dir: str | None = folder(
        "where the data set is read from", "where it was read in training"
    )
    cache_dir: str | None = folder("where prepared data sets are kept")

    def __post_init__(self) -> None:
        """Checks every field; raises `ValueError` with the value and what was expected."""
        super().__post_init__()
        _check_estimators(self.estimators)


@dataclasses.dataclass(frozen=True)
class SyntheticGaussiansConfig(SyntheticConfig):
    """What is run, how, and where results go."""

    dims: tuple[int, ...] = setting(
        (1, 10, 100), "dimensions d of the Gaussians", minimum=1, maximum=5000
    )
    settings: tuple[str, ...] = setting(
        SETTINGS,
        "estimation: both Gaussians fixed; learning: one follows the other",
        choices=SETTINGS,
    )
    output_dir: str | None = folder(
        "where results go; a folder with the same experiment is resumed", "runs/synthetic_gaussians"
    )


@dataclasses.dataclass(frozen=True)
class TrainClassifierConfig(ClassifierConfig):
    """The recipe, and where data and results are."""

    output_dir: str | None = folder(
        "where weights, card and checkpoints go; a folder with the same training is resumed",
        "runs/classifier-DATASET",
    )
    data_dir: str | None = folder("the data folder of TFDS")
    cache_dir: str | None = folder("where prepared data sets are kept")

    @classmethod
    def for_dataset(
        cls, dataset: str, config: Self | Mapping[str, Any] | None = None, **values: Any
    ) -> Self:
        """Returns the options for a data set; fields that are not given are those of its recipe.

        A whole group is taken as it is; `values` replace fields of `config`. A data set without
        recipe, or a field that is not admissible, is a `ValueError`.
        """
        if dataset not in RECIPES:
            raise ValueError(f"unknown dataset {dataset!r}: {did_you_mean(dataset, RECIPES)}")
        if isinstance(config, ClassifierConfig):
            return cls.of(config, **values)
        return cls.of({**RECIPES[dataset].to_dict(), **(config or {}), **values})

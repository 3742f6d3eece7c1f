"""The options of an evaluation, without TensorFlow."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from tfdm.datasets.dataset import SPLITS
from tfdm.datasets.registry import DATASETS
from tfdm.eval.metrics import METRICS
from tfdm.fields import CheckedConfig, folder, setting

NUM_SAMPLES = 50_000


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

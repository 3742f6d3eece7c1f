"""What an evaluation works on: samples, real images and classifiers."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tfdm.datasets.dataset import SPLITS, ImageDataset
from tfdm.datasets.load import open_dataset
from tfdm.errors import UserError
from tfdm.eval import load_classifier, load_saved_model_classifier
from tfdm.eval.files import file_source
from tfdm.eval.metrics import Metric
from tfdm.eval.resize import ResizingClassifier
from tfdm.eval.sources import (
    ImageSource,
    Shape,
    array_source,
    fitted,
    model_source,
    noised,
    split_source,
)
from tfdm.experiments.evaluate_config import NUM_SAMPLES, EvaluateConfig
from tfdm.experiments.load import Run, load_run
from tfdm.runs import RunFolder

Samples = npt.ArrayLike | str | Path | Run
Data = str | np.ndarray | ImageDataset
Reference = npt.ArrayLike | str | Path

# Data sets of the package, and the classifier that is made for each.
OWN_CLASSIFIERS = {
    "cifar10": "cifar10",
    "color_mnist": "color_mnist",
    "color_mnist_5k": "color_mnist",
}
HOW_TO_GET_INCEPTION = (
    "get the Inception network of https://tfhub.dev/tensorflow/tfgan/eval/inception/1 and give "
    "its folder as --inception_path"
)


@dataclasses.dataclass(frozen=True)
class RealImages:
    """Real images that features are compared with: their name, digest and source."""

    name: str
    digest: str
    source: ImageSource


@dataclasses.dataclass(frozen=True)
class EvaluationInputs:
    """What an evaluation works on.

    Attributes:
      source: the samples.
      dataset: the data set beside them, `None` without one.
      reference: what features are compared with, `None` without one.
      classifiers: the classifiers by name.
      lacks: why there is no data set, if one was to be had.
    """

    source: ImageSource
    dataset: ImageDataset | None
    reference: RealImages | None
    classifiers: Mapping[str, Any]
    lacks: str

    def resizer(self, classifier: str) -> str | None:
        """Returns how images are scaled before a classifier sees them, `None` if they are not."""
        real = {} if self.reference is None else self.reference.source.record
        before = self.source.record.get("resized") or real.get("resized")
        return getattr(self.classifiers[classifier], "resizer", None) or before

    def missing(self, metric: Metric, classifier: str | None) -> str | None:
        """Returns what a metric needs and does not have, in one line; `None` where it has all."""
        if metric.needs_dataset and self.dataset is None:
            return f"needs a data set: {self.lacks}"
        if metric.needs_classifier and classifier is None:
            return (
                "needs a classifier: name one that takes the images with --classifier, or "
                f"{HOW_TO_GET_INCEPTION}"
            )
        has_features = classifier and self.classifiers[classifier].num_features is not None
        if metric.needs_features and not has_features:
            return f"needs features: the network of {classifier} has no output for them"
        if metric.needs_reference and self.reference is None:
            return f"needs real images, of a data set or a --reference: {self.lacks}"
        return None


def open_inputs(
    samples: Samples,
    config: EvaluateConfig,
    dataset: Data | None,
    reference: Reference | None,
    metrics: Collection[Metric],
) -> EvaluationInputs:
    """Opens everything that metrics need; arguments as in `evaluate`.

    Raises:
      UserError: the samples or what was named beside them cannot be had, do not fit each other, or
        images would be compared with themselves.
      ValueError: an array is of another type, shape or range.
    """
    named = dataset if dataset is not None else config.dataset
    reference = reference if reference is not None else config.reference
    run = _run_of(samples, config, named)
    data, lacks = _dataset_of(run, named, config)
    classifiers: dict[str, Any] = {}
    if any(metric.needs_classifier for metric in metrics):
        own = data.name if data is not None else run.config.dataset if run is not None else ""
        classifiers = _classifiers(config, own)
    # Where there is no data set, images of any size become those that the classifier takes.
    sides = [c.image_side for c in classifiers.values() if hasattr(c, "image_side")]
    scaled = (sides[0], sides[0], 3) if sides and config.resize else None
    shape = scaled if data is None else data.image_shape
    source = _source_of(run or samples, config, data, shape)
    real = None
    if any(metric.needs_reference for metric in metrics):
        what = "train" if reference is None and data is not None else reference
        if isinstance(what, str) and what == source.record.get("split"):
            other = next(name for name in SPLITS if name != what)
            raise UserError(
                f"{what} would be compared with itself: choose another --reference, as {other}"
            )
        real = None if what is None else _real_images(what, config, data, scaled)
    if config.noise:
        source = noised(source, config.noise, config.seed)
    images = [source, *([real.source] if real else [])]
    classifiers = {n: _fitting(c, images, config.resize) for n, c in classifiers.items()}
    return EvaluationInputs(source, data, real, classifiers, lacks)


def _run_of(samples: Samples, config: EvaluateConfig, dataset: Data | None) -> Run | None:
    """The run that the samples are to be of; `None` where they are images."""
    if isinstance(samples, str | Path):
        if samples in SPLITS or not RunFolder(Path(samples).expanduser()).config_path.is_file():
            return None
        samples = load_run(
            Path(samples).expanduser(),
            dataset=dataset if not isinstance(dataset, str) else None,
            data_dir=config.data_dir,
            cache_dir=config.cache_dir,
        )
    if not isinstance(samples, Run):
        return None
    for name, value in (
        ("dataset", isinstance(dataset, str)),
        ("image_size", config.image_size),
        ("crop", config.crop),
    ):
        if value:
            raise UserError(f"--{name} goes with images: a run has its own; drop it")
    return samples


def _dataset_of(
    run: Run | None, named: Data | None, config: EvaluateConfig
) -> tuple[ImageDataset | None, str]:
    """The data set, or why there is none."""
    if run is not None and named is None:
        try:
            return run.dataset, ""
        except UserError as error:
            return None, str(error)
    if named is None:
        return None, "name one with --dataset"
    dataset = open_dataset(
        named,
        data_dir=config.data_dir,
        cache_dir=config.cache_dir,
        image_size=config.image_size,
        crop=config.crop,
    )
    if run is not None and run.recorded.get("dataset_digest", dataset.digest) != dataset.digest:
        raise UserError(
            f"{dataset.name} is not what {run.folder.path} was trained on: its digest differs"
        )
    return dataset, ""


def _source_of(
    samples: Any, config: EvaluateConfig, dataset: ImageDataset | None, shape: Shape | None
) -> ImageSource:
    if isinstance(samples, Run):
        run = samples.config
        source = model_source(
            samples.model.generate,
            config.num_samples or NUM_SAMPLES,
            config.seed,
            name=f"{run.model}, {run.dataset}, {samples.step:,} steps",
            image_shape=samples.model.image_shape,
            record={
                "run": str(samples.folder.path),
                "model": run.model,
                "dataset": run.dataset,
                "steps": samples.step,
                "run_seed": run.seed,
            },
        )
        return source if shape is None else fitted(source, shape, config.resize)
    if _is_split(samples):
        if dataset is None:
            raise UserError(f"{samples} is a split: name its data set with --dataset")
        return split_source(dataset, samples, config.num_samples)
    return _images_of(samples, config, shape, config.num_samples)


def _real_images(
    reference: Any, config: EvaluateConfig, dataset: ImageDataset | None, shape: Shape | None
) -> RealImages:
    if _is_split(reference):
        if dataset is None:
            raise UserError(f"--reference={reference} is a split: name its data set with --dataset")
        digest = f"{reference} of {dataset.digest}"
        return RealImages(reference, digest, split_source(dataset, reference))
    source = _images_of(reference, config, shape)
    return RealImages(str(source.record["images"]), source.digest(), source)


def _images_of(
    images: Any, config: EvaluateConfig, shape: Shape | None, number: int | None = None
) -> ImageSource:
    if isinstance(images, str | Path):
        return file_source(Path(images).expanduser(), shape, number, config.resize)
    source = array_source(images, number)
    return source if shape is None else fitted(source, shape, config.resize)


def _is_split(what: Any) -> bool:
    if not isinstance(what, str) or what not in SPLITS:
        return False
    if Path(what).is_dir():
        raise UserError(f"{what} is a split and a folder: write ./{what} for the folder")
    return True


def _classifiers(config: EvaluateConfig, dataset: str) -> dict[str, Any]:
    """The classifier that is named or made for the data set, and the Inception network if named."""
    found: list[Any] = []
    name = config.classifier or OWN_CLASSIFIERS.get(dataset)
    if name is not None:
        found.append(load_classifier(name))
    if config.inception_path is not None:
        found.append(
            load_saved_model_classifier(
                Path(config.inception_path).expanduser(),
                digest=config.inception_digest,
                allow_unverified=config.allow_unverified,
            )
        )
    return {classifier.name: classifier for classifier in found}


def _fitting(classifier: Any, images: Collection[ImageSource], resize: bool) -> Any:
    """A classifier that takes all images."""
    side = getattr(classifier, "image_side", None)
    for source in images if side else ():
        height, width, _ = source.image_shape
        if (height, width) != (side, side):
            if resize:
                return ResizingClassifier(classifier)
            raise UserError(
                f"the images of {source.name} are {height}x{width}, the classifier "
                f"{classifier.name} takes {side}x{side}: --resize scales them"
            )
    return classifier

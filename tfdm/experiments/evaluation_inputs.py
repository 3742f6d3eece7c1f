"""What an evaluation works on: samples, real images and classifiers."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from tfdm.datasets.dataset import SPLITS, ImageDataset
from tfdm.datasets.load import Data, open_dataset
from tfdm.errors import UserError
from tfdm.eval import load_classifier, load_saved_model_classifier, sources
from tfdm.eval.classifiers.shipped import NAMES
from tfdm.eval.files import file_source
from tfdm.eval.metrics import Metric
from tfdm.eval.sources import ImageSource, Shape
from tfdm.experiments.load import Run, load_run
from tfdm.experiments.options import NUM_SAMPLES, EvaluateConfig
from tfdm.runs import RunFolder

Samples = npt.ArrayLike | str | Path | Run
Reference = npt.ArrayLike | str | Path

# Data sets of the package, and the classifier that is made for each.
OWN_CLASSIFIERS = {name: name for name in NAMES} | {"color_mnist_5k": "color_mnist"}


@dataclasses.dataclass(frozen=True)
class EvaluationInputs:
    """The samples, and what they are measured with."""

    source: ImageSource
    dataset: ImageDataset | None
    reference: tuple[ImageSource, str] | None  # real images behind features, and their digest
    classifiers: Mapping[str, Any]
    lacks: str  # why there is no data set

    def resizer(self, classifier: str) -> str | None:
        """Returns how images are scaled before a classifier sees them, `None` if they are not."""
        images = [self.source, *(self.reference or ())[:1]]
        before = next((s.record["resized"] for s in images if "resized" in s.record), None)
        return self.classifiers[classifier].resizer or before

    def missing(self, metric: Metric, classifier: str | None) -> str | None:
        """Returns what a metric needs and does not have, in one line; `None` where it has all."""
        if metric.needs_dataset and self.dataset is None:
            return f"needs a data set: {self.lacks}"
        if metric.needs_classifier and classifier is None:
            return (
                "needs a classifier: name one that takes the images with --classifier, or get the "
                "Inception network of https://tfhub.dev/tensorflow/tfgan/eval/inception/1 and give "
                "its folder as --inception_path"
            )
        has_features = classifier and self.classifiers[classifier].num_features is not None
        if metric.needs_features and not has_features:
            return f"needs features: the network of {classifier} has no output for them"
        if metric.needs_features and self.reference is None:
            return f"needs real images, of a data set or a --reference: {self.lacks}"
        return None


def open_inputs(
    samples: Samples,
    config: EvaluateConfig,
    named: Data | None,
    reference: Reference | None,
    metrics: Collection[Metric],
) -> EvaluationInputs:
    """Opens everything that metrics need; `named` is the data set, all else as in `evaluate`."""
    run = _run_of(samples, config)
    _check_effects(samples, config, run, named, reference, metrics)
    data, lacks = _dataset_of(run, named, config)
    classifiers: dict[str, Any] = {}
    if any(metric.needs_classifier for metric in metrics):
        own = data.name if data is not None else run.config.dataset if run is not None else ""
        classifiers = _classifiers(config, OWN_CLASSIFIERS.get(own))
    # Where there is no data set, images of any size become those that the classifier takes.
    sides = [c.image_side for c in classifiers.values() if hasattr(c, "image_side")]
    scaled = (sides[0], sides[0], 3) if sides and config.resize else None
    shape = scaled if data is None else data.image_shape
    if run is not None:
        source = sources.fitted(_samples_of(run, config), shape, config.resize)
    elif _is_split(samples):
        source = _split(samples, data, config.num_samples)
    else:
        source = _images(samples, shape, config.num_samples, config.resize)
    real = None
    if any(metric.needs_features for metric in metrics):
        real = _real_images(reference, data, source.record.get("split"), scaled, config.resize)
        if real is not None and run is None:
            _check_apart(samples, reference, source, real[0])
    if config.noise:
        source = sources.noised(source, config.noise, config.seed)
    images = [source, *(real or ())[:1]]
    classifiers = {n: _fitting(c, images, config.resize) for n, c in classifiers.items()}
    return EvaluationInputs(source, data, real, classifiers, lacks)


def _run_of(samples: Samples, config: EvaluateConfig) -> Run | None:
    """The run that the samples are to be of; `None` where they are images."""
    if isinstance(samples, str | Path):
        path = Path(samples).expanduser()
        if samples in SPLITS or not RunFolder(path).config_path.is_file():
            return None
        samples = load_run(path, data_dir=config.data_dir, cache_dir=config.cache_dir)
    return samples if isinstance(samples, Run) else None


def _check_effects(
    samples: Samples,
    config: EvaluateConfig,
    run: Run | None,
    named: Data | None,
    reference: Reference | None,
    metrics: Collection[Metric],
) -> None:
    """Refuses what nothing here would look at."""
    compares = any(metric.needs_features for metric in metrics)
    if reference is not None and not compares:
        raise UserError("--reference has no effect: no metric here compares features; drop it")
    by_name = isinstance(named, str)
    if run is not None and by_name:
        raise UserError("--dataset goes with images: a run has its own; drop it")
    opened = by_name or (run is not None and run is not samples and named is None)
    looked_at = {"image_size": by_name, "crop": by_name, "data_dir": opened}
    looked_at["cache_dir"] = opened or compares  # which keeps features too
    for name, has_effect in looked_at.items():
        if getattr(config, name) and not has_effect:
            raise UserError(f"--{name} has no effect: no data set is opened by name; drop it")


def _dataset_of(
    run: Run | None, named: Data | None, config: EvaluateConfig
) -> tuple[ImageDataset | None, str]:
    """The data set, or why there is none."""
    if named is None:
        try:
            return (None, "name one with --dataset") if run is None else (run.dataset, "")
        except UserError as error:
            return None, str(error)
    names = ("data_dir", "cache_dir", "image_size", "crop")
    dataset = open_dataset(named, **{name: getattr(config, name) for name in names})
    return dataset if run is None else dataclasses.replace(run, data=dataset).dataset, ""


def _samples_of(run: Run, config: EvaluateConfig) -> ImageSource:
    return sources.model_source(
        run.model.generate,
        config.num_samples or NUM_SAMPLES,
        config.seed,
        name=run.title,
        image_shape=run.model.image_shape,
        record=run.record,
    )


def _real_images(
    reference: Reference | None,
    dataset: ImageDataset | None,
    evaluated: str | None,
    shape: Shape | None,
    resize: bool,
) -> tuple[ImageSource, str] | None:
    """The reference and its digest, by default the training images; never what is evaluated."""
    if reference is None and dataset is None:
        return None
    if reference is not None and not _is_split(reference):
        source = _images(reference, shape, None, resize)
        return source, source.digest()
    split = "train" if reference is None else str(reference)
    if split == evaluated:
        other = next(name for name in SPLITS if name != split)
        raise UserError(
            f"{split} would be compared with itself: choose another --reference, as {other}"
        )
    source = _split(split, dataset)
    return source, f"{split} of {source.record['dataset_digest']}"


def _check_apart(samples: Any, reference: Any, source: ImageSource, real: ImageSource) -> None:
    """Refuses to compare images with themselves, which says nothing."""
    is_same = samples is reference
    if isinstance(samples, str | Path) and isinstance(reference, str | Path):
        is_same = Path(samples).expanduser().resolve() == Path(reference).expanduser().resolve()
    sizes = [(images.num_images, images.image_shape) for images in (source, real)]
    if is_same or (sizes[0] == sizes[1] and source.digest() == real.digest()):
        raise UserError(f"{source.name} would be compared with itself: choose another --reference")


def _split(split: Any, dataset: ImageDataset | None, number: int | None = None) -> ImageSource:
    if dataset is None:
        raise UserError(f"{split} is a split: name its data set with --dataset")
    return sources.split_source(dataset, split, number)


def _images(images: Any, shape: Shape | None, number: int | None, resize: bool) -> ImageSource:
    if isinstance(images, str | Path):
        return file_source(Path(images).expanduser(), shape, number, resize)
    return sources.fitted(sources.array_source(images, number), shape, resize)


def _is_split(what: Any) -> bool:
    if not isinstance(what, str) or what not in SPLITS:
        return False
    if Path(what).is_dir():
        raise UserError(f"{what} is a split and a folder: write ./{what} for the folder")
    return True


def _classifiers(config: EvaluateConfig, own: str | None) -> dict[str, Any]:
    """The classifier that is named or the data set's own, and the Inception network if named."""
    found: list[Any] = []
    name = config.classifier or own
    if name is not None:
        folder = Path(name).expanduser()
        # In a folder of several, the data set's own counts.
        has_own = name not in OWN_CLASSIFIERS.values() and (folder / f"{own}.npz").is_file()
        found.append(load_classifier(str(own), folder) if has_own else load_classifier(name))
    if config.inception_path is not None:
        path, digest = Path(config.inception_path).expanduser(), config.inception_digest
        unverified = config.allow_unverified
        found.append(load_saved_model_classifier(path, digest=digest, allow_unverified=unverified))
    return {classifier.name: classifier for classifier in found}


def _fitting(classifier: Any, images: Collection[ImageSource], resize: bool) -> Any:
    """A classifier that takes all images."""
    side = getattr(classifier, "image_side", None)
    for source in images if side else ():
        height, width, _ = source.image_shape
        if (height, width) == (side, side):
            continue
        if resize:
            return classifier.resizing()
        raise UserError(
            f"the images of {source.name} are {height}x{width}, the classifier "
            f"{classifier.name} takes {side}x{side}: --resize scales them"
        )
    return classifier

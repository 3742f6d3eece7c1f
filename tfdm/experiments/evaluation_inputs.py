"""What `tfdm-evaluate` works on: the data set, the samples, the classifiers, a critic's images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfdm.datasets import ImageDataset, load_dataset
from tfdm.datasets.dataset import SPLITS
from tfdm.errors import UserError
from tfdm.eval import files, sources
from tfdm.eval.metrics import CRITIC_IMAGES, METRICS, CriticImages
from tfdm.eval.sources import ImageSource

if TYPE_CHECKING:
    from tfdm.cli.evaluate import EvaluationRequest

CLASSIFIERS = {"cifar10": "cifar10", "color_mnist": "color_mnist", "color_mnist_5k": "color_mnist"}
INCEPTION = "inception"
HOW_TO_GET_INCEPTION = (
    "get the Inception network of https://tfhub.dev/tensorflow/tfgan/eval/inception/1 and give "
    "its folder as --inception_path"
)


def dataset_and_source(request: EvaluationRequest) -> tuple[ImageDataset, ImageSource]:
    """Opens the real images and the samples.

    Raises:
      UserError: either cannot be had, they differ in shape, or a split would be compared with
        itself.
    """
    folders = {"data_dir": request.data_dir, "cache_dir": request.cache_dir}
    if request.run is not None:
        dataset, source = _of_run(request, folders)
    else:
        dataset = load_dataset(
            request.dataset, image_size=request.image_size, crop=request.crop, **folders
        )
        source = _of_images(request, dataset)
    if source.image_shape != dataset.image_shape:
        raise UserError(
            f"the images have shape {source.image_shape}, those of {dataset.name} "
            f"{dataset.image_shape}: choose the data set they are like"
        )
    if request.noise:
        source = sources.noised(source, request.noise, request.seed)
    return dataset, source


def _of_run(
    request: EvaluationRequest, folders: dict[str, str | None]
) -> tuple[ImageDataset, ImageSource]:
    from tfdm.experiments.load import load_run

    run = load_run(str(request.run))
    config = run.config
    dataset = load_dataset(
        config.dataset, image_size=config.image_size, crop=config.crop, **folders
    )
    recorded = run.recorded.get("dataset_digest")
    if recorded is not None and recorded != dataset.digest:
        raise UserError(
            f"{config.dataset} is not what {request.run} was trained on: its digest differs"
        )
    number = request.num_samples or 0
    return dataset, sources.run_source(run, number, request.seed)


def _of_images(request: EvaluationRequest, dataset: ImageDataset) -> ImageSource:
    path = str(request.images)
    if path not in SPLITS:
        return files.file_source(path, dataset.image_shape, request.num_samples)
    if path == request.reference and any(METRICS[n].needs_features for n in request.configs):
        other = next(name for name in SPLITS if name != path)
        raise UserError(f"--images={path} would be compared with itself: give --reference={other}")
    return sources.split_source(dataset, path, request.num_samples)


def classifiers(request: EvaluationRequest) -> dict[str, Any]:
    """Returns the data set's own classifier, and the Inception network if it is named.

    Raises:
      UserError: there is none for a measure that was asked for, or one cannot be loaded.
    """
    needing = [name for name in request.configs if METRICS[name].needs_classifier]
    if not needing:
        return {}
    from tfdm.eval import load_classifier, load_saved_model_classifier

    found: dict[str, Any] = {}
    if request.dataset in CLASSIFIERS:
        name = CLASSIFIERS[request.dataset]
        folder = None if request.classifier is None else Path(request.classifier)
        found[name] = load_classifier(name, folder)
    elif request.classifier is not None:
        raise UserError(f"--classifier has no effect: none is made for {request.dataset}; drop it")
    if request.inception_path is not None:
        found[INCEPTION] = load_saved_model_classifier(
            request.inception_path,
            digest=request.inception_digest,
            allow_unverified=request.allow_unverified,
        )
    if not found and request.asked:
        raise UserError(
            f"{needing[0]} needs a classifier, and none comes with {request.dataset}: "
            f"{HOW_TO_GET_INCEPTION}"
        )
    return found


def critic_images(dataset: ImageDataset, images: str | None) -> CriticImages:
    """Returns real images for an independent critic: to learn from, held out, and training ones.

    A split that is itself evaluated is not used as real images too.

    Args:
      dataset: the data set.
      images: `--images`, which may name a split.
    """
    names = {
        "train": ("validation", "test", None),
        "validation": ("train", "test", None),
        "test": ("validation", "train", None),
    }.get(str(images), ("validation", "test", "train"))

    def some(split: str) -> np.ndarray:
        found = dataset.split(split)
        number = min(len(found), CRITIC_IMAGES)
        return found[np.linspace(0, len(found) - 1, number).astype(np.int64)]

    real, held_out, training = names
    return CriticImages(
        some(real),
        some(held_out),
        None if training is None else some(training),
        {"real_split": real, "held_out_split": held_out, "training_split": training},
    )

"""The training of a classifier that measures samples: data, loop, and the card of the result."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfdm.datasets import load_dataset
from tfdm.datasets.labels import NUM_CLASSES, load_digits, load_labels
from tfdm.errors import UserError
from tfdm.eval.classifiers.config import ClassifierConfig
from tfdm.eval.classifiers.shipped import ImageClassifier, classifier_from, weights_bytes
from tfdm.eval.classifiers.training import ClassifierTraining
from tfdm.eval.inception_score import inception_score_from_logits
from tfdm.experiments.classifier_config import TrainClassifierConfig
from tfdm.progress import ProgressOption, progress_bar
from tfdm.runs import CheckpointStore, RunFolder
from tfdm.runs.atomic import atomic_write_bytes, atomic_write_json, json_ready
from tfdm.runs.provenance import command, git_revision, versions
from tfdm.statistics import cross_entropy, fit_temperature
from tfdm.training.loop import run_resumable

_STEPS_A_SAVE = 200


@dataclasses.dataclass(frozen=True)
class LabelledImages:
    """A data set with its classes; by split, uint8 [N, S, S, 3] and int64 [N].

    Attributes:
      train: what the classifier learns from.
      tests: what it is tested on, by name; the first has splits "validation" and "test" in one,
        validation first.
      labels: the classes of "train", and of the official test images.
      num_validation: how many of the official test images are the validation images.
      digest: the digest of the prepared data set.
    """

    train: np.ndarray
    tests: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    num_validation: int
    digest: str


@dataclasses.dataclass(frozen=True)
class TrainedClassifier:
    """What a training came to.

    Attributes:
      classifier: the classifier as it is shipped: its weights as they were rounded, in float32.
      test_error: the share of the official test images that it gets wrong, by the test's name.
      card: the whole model card.
      files: the weights and the card, `()` without an output folder.
    """

    classifier: ImageClassifier
    test_error: dict[str, float]
    card: dict[str, Any]
    files: tuple[Path, ...]


def train_classifier(
    dataset: str = "cifar10",
    config: TrainClassifierConfig | Mapping[str, Any] | None = None,
    *,
    progress: ProgressOption = True,
    **options: Any,
) -> TrainedClassifier:
    """Trains a classifier that measures samples, or goes on with it.

    Args:
      dataset: "cifar10" (objects) or "color_mnist" (digits, grey or coloured).
      config: the whole recipe, or some of its fields; the others are those of the data set.
      progress: whether to show bars, or a function of (steps done, steps).
      **options: fields that replace those of `config`. With `output_dir`, weights, card and
        checkpoints are written there, and the same call goes on where one was stopped.

    Raises:
      ValueError: there is no recipe of the data set, or a field is not admissible.
      UserError: the data cannot be had, the recipe does not fit it, or the folder holds another
        training or is in use.
      DivergedError: a loss or a variable is not finite; the last good checkpoint stands.
      Terminated: with an output folder, SIGTERM or SIGINT asked to stop; a checkpoint was written.
    """
    config = TrainClassifierConfig.for_dataset(dataset, config, **options)
    data = read_data(dataset, config.data_dir, config.cache_dir)
    recipe = config.recipe
    _check_fit(recipe, data)
    start = {"versions": versions(), "command": command(), "git_revision": git_revision()}
    if config.output_dir is None:
        return _train(dataset, recipe, data, None, start, progress)
    folder = RunFolder(Path(config.output_dir).expanduser())
    folder.create()
    identity = {"classifier": dataset, **recipe.to_dict(), "dataset_digest": data.digest}
    with folder.lock():
        recorded = folder.claim_config({**identity, **start})
        # Those of the start: what trained the network.
        start = {field: recorded.get(field) for field in start}
        return _train(dataset, recipe, data, folder, start, progress)


def _train(
    name: str,
    recipe: ClassifierConfig,
    data: LabelledImages,
    folder: RunFolder | None,
    start: dict[str, Any],
    progress: ProgressOption,
) -> TrainedClassifier:
    training = ClassifierTraining(data.train, data.labels["train"], recipe)
    with progress_bar(f"classifier of {name}", "step", progress) as show:
        run_resumable(
            training,
            training.num_steps,
            store=None if folder is None else CheckpointStore(folder.checkpoints, keep=2),
            steps_a_save=_STEPS_A_SAVE,
            progress=show,
        )
    weights = weights_bytes(training.finish())
    card: dict[str, Any] = {
        "name": name,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "dataset": name,
        "dataset_digest": data.digest,
        "image_shape": list(data.train.shape[1:]),
        "num_classes": NUM_CLASSES,
        "num_parameters": int(training.network.count_params()),
        "recipe": recipe.to_dict(),
        "temperature": 1.0,
        "feature_scale": 1.0,
    }
    # Measured on what is shipped: the weights as they were rounded, in float32.
    card |= json_ready(measure(classifier_from(name, weights, card), data)) | start
    classifier = classifier_from(name, weights, card)
    files: tuple[Path, ...] = ()
    if folder is not None:
        files = folder.path / f"{name}.npz", folder.path / f"{name}.json"
        atomic_write_bytes(files[0], weights)
        atomic_write_json(files[1], card)
    return TrainedClassifier(classifier, card["test_error"], card, files)


def read_data(name: str, data_dir: str | None, cache_dir: str | None) -> LabelledImages:
    """Reads the images and classes of a data set; digits to train on are not coloured yet."""
    dataset = load_dataset(name, data_dir=data_dir, cache_dir=cache_dir)
    labels = load_labels(name, data_dir)

    def official(splits: Any) -> np.ndarray:
        return np.concatenate([splits["validation"], splits["test"]])

    if name == "color_mnist":
        digits = {
            split: np.repeat(images[..., None], 3, axis=-1)
            for split, images in load_digits(data_dir).items()
        }
        train = digits["train"]
        tests = {"color_mnist": official(dataset.splits), "grey digits": official(digits)}
    else:
        train, tests = np.array(dataset.split("train")), {name: official(dataset.splits)}
    return LabelledImages(
        train=train,
        tests=tests,
        labels={"train": labels["train"], "test": official(labels)},
        num_validation=len(labels["validation"]),
        digest=dataset.digest,
    )


def measure(classifier: ImageClassifier, data: LabelledImages) -> dict[str, Any]:
    """Returns what the card says of errors, calibration, and the score of real images."""
    outputs = {name: classifier.logits_and_features(images) for name, images in data.tests.items()}
    logits = {name: rows for name, (rows, _) in outputs.items()}
    features = next(iter(outputs.values()))[1].astype(np.float64)
    labels, number = data.labels["test"], data.num_validation
    errors = {
        name: float(np.mean(values.argmax(axis=1) != labels)) for name, values in logits.items()
    }
    first = next(iter(logits.values()))
    temperature = fit_temperature(first[:number], labels[:number])
    score = inception_score_from_logits(first)
    return {
        "num_test": len(labels),
        "test_error": errors,
        "test_cross_entropy": cross_entropy(first[number:], labels[number:]),
        "temperature": temperature,
        "feature_scale": float(np.sqrt(np.mean(features**2))),
        "test_cross_entropy_calibrated": cross_entropy(
            first[number:] / temperature, labels[number:]
        ),
        "inception_score_of_test_images": dataclasses.asdict(score),
        "inception_score_of_test_images_calibrated": dataclasses.asdict(
            inception_score_from_logits(first / temperature)
        ),
    }


def _check_fit(config: ClassifierConfig, data: LabelledImages) -> None:
    number, side = data.train.shape[:2]
    problem = None
    if config.batch_size > config.epochs * number:
        problem = f"--batch_size={config.batch_size} is more than {config.epochs} x {number} images"
    elif config.cutout > side:
        problem = f"--cutout={config.cutout} is larger than the images of {side}x{side}"
    elif config.translate >= side:
        problem = f"--translate={config.translate} shifts images of {side}x{side} out of sight"
    elif config.small_share and config.small_side > side:
        problem = f"--small_side={config.small_side} is larger than the images of {side}x{side}"
    if problem:
        raise UserError(f"{problem}: choose a smaller value")

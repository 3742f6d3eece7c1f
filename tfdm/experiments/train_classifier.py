"""The training of a classifier that measures samples: data, loop, and the card of the result."""

from __future__ import annotations

import contextlib
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
from tfdm.experiments.options import TrainClassifierConfig
from tfdm.progress import ProgressOption, progress_bar
from tfdm.runs import CheckpointStore, RunFolder
from tfdm.runs.atomic import atomic_write_bytes, atomic_write_json, json_ready
from tfdm.runs.provenance import command, software
from tfdm.statistics import cross_entropy, fit_temperature
from tfdm.training.loop import run_resumable

_STEPS_A_SAVE = 200


@dataclasses.dataclass(frozen=True)
class LabelledImages:
    """A data set with its classes; images are uint8 [N, S, S, C], classes int64 [N].

    `tests` are the official test images, by how they are shown; the first `num_validation` are the
    validation images. `labels` are the classes of "train" and "test".
    """

    train: np.ndarray
    tests: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    num_validation: int
    digest: str


@dataclasses.dataclass(frozen=True)
class TrainedClassifier:
    """The classifier as it is shipped (weights as they were rounded, in float32) and its card.

    `files` are those of both, `()` without an output folder.
    """

    classifier: ImageClassifier
    card: dict[str, Any]
    files: tuple[Path, ...]

    @property
    def test_error(self) -> dict[str, float]:
        """The share of the official test images that it gets wrong, by the test's name."""
        return self.card["test_error"]


def train_classifier(
    dataset: str = "cifar10",
    config: TrainClassifierConfig | Mapping[str, Any] | None = None,
    *,
    progress: ProgressOption = True,
    **options: Any,
) -> TrainedClassifier:
    """Trains a classifier that measures samples.

    With `output_dir`, weights, card and checkpoints are written there, and the same call resumes.

    Args:
      dataset: "cifar10" (objects) or "color_mnist" (digits, grey or coloured).
      config: the whole recipe, or some of its fields; the others are those of the data set.
      progress: whether to show bars, or a function of (steps done, steps).
      **options: fields that replace those of `config`.

    Raises:
      ValueError: there is no recipe of the data set, or a field is not admissible.
      UserError: the data cannot be had, the recipe does not fit it, or the folder holds another
        training or is in use.
      DivergedError: a loss or a variable is not finite; the last good checkpoint stands.
      Terminated: with an output folder, SIGTERM or SIGINT asked to stop; a checkpoint was written.
    """
    config = TrainClassifierConfig.for_dataset(dataset, config, **options)
    data = read_data(dataset, config.data_dir, config.cache_dir)
    recipe = config.part(ClassifierConfig)
    _check_fit(recipe, data)
    start = software() | {"command": command()}
    folder = None if config.output_dir is None else RunFolder(Path(config.output_dir).expanduser())
    with contextlib.ExitStack() as stack:
        if folder is not None:
            folder.create()
            stack.enter_context(folder.lock())
            identity = {"classifier": dataset, **recipe.to_dict(), "dataset_digest": data.digest}
            recorded = folder.claim_config({**identity, **start})
            # Those of the start: what trained the network.
            start = {field: recorded.get(field) for field in start}
        training = ClassifierTraining(data.train, data.labels["train"], recipe)
        show = stack.enter_context(progress_bar(f"classifier of {dataset}", "step", progress))
        run_resumable(
            training,
            training.num_steps,
            store=None if folder is None else CheckpointStore(folder.checkpoints, keep=2),
            steps_a_save=_STEPS_A_SAVE,
            progress=show,
        )
        weights = weights_bytes(training.finish())
        card: dict[str, Any] = {
            "name": dataset,
            "sha256": hashlib.sha256(weights).hexdigest(),
            "dataset": dataset,
            "dataset_digest": data.digest,
            "image_shape": list(data.train.shape[1:]),
            "num_classes": NUM_CLASSES,
            "num_parameters": int(training.network.count_params()),
            "recipe": recipe.to_dict(),
            "temperature": 1.0,
            "feature_scale": 1.0,
        }
        # Measured on what is shipped: the weights as they were rounded, in float32.
        card |= json_ready(measure(classifier_from(dataset, weights, card), data)) | start
        files: tuple[Path, ...] = ()
        if folder is not None:
            files = folder.path / f"{dataset}.npz", folder.path / f"{dataset}.json"
            atomic_write_bytes(files[0], weights)
            atomic_write_json(files[1], card)
    return TrainedClassifier(classifier_from(dataset, weights, card), card, files)


def read_data(name: str, data_dir: str | None, cache_dir: str | None) -> LabelledImages:
    """Reads the images and classes of a data set; digits to train on are not coloured yet."""
    dataset = load_dataset(name, data_dir=data_dir, cache_dir=cache_dir)
    labels = load_labels(name, data_dir)

    def official(splits: Any) -> np.ndarray:
        return np.concatenate([splits["validation"], splits["test"]])

    train, tests = dataset.split("train"), {name: official(dataset.splits)}
    if name == "color_mnist":
        grey = load_digits(data_dir).items()
        digits = {split: np.repeat(images[..., None], 3, axis=-1) for split, images in grey}
        train, tests["grey digits"] = digits["train"], official(digits)
    return LabelledImages(
        train=np.array(train),
        tests=tests,
        labels={"train": labels["train"], "test": official(labels)},
        num_validation=len(labels["validation"]),
        digest=dataset.digest,
    )


def measure(classifier: ImageClassifier, data: LabelledImages) -> dict[str, Any]:
    """Returns what the card says of errors, calibration, and the score of real images."""
    outputs = {name: classifier.logits_and_features(images) for name, images in data.tests.items()}
    logits, features = next(iter(outputs.values()))
    labels, number = data.labels["test"], data.num_validation
    temperature = fit_temperature(logits[:number], labels[:number])
    measured: dict[str, Any] = {
        "num_test": len(labels),
        "test_error": {
            name: float(np.mean(rows.argmax(axis=1) != labels))
            for name, (rows, _) in outputs.items()
        },
        "temperature": temperature,
        "feature_scale": float(np.sqrt(np.mean(features.astype(np.float64) ** 2))),
    }
    for ending, scaled in (("", logits), ("_calibrated", logits / temperature)):
        score = dataclasses.asdict(inception_score_from_logits(scaled))
        measured[f"test_cross_entropy{ending}"] = cross_entropy(scaled[number:], labels[number:])
        measured[f"inception_score_of_test_images{ending}"] = score
    return measured


def _check_fit(config: ClassifierConfig, data: LabelledImages) -> None:
    number, side = data.train.shape[:2]
    epochs, images = config.epochs, f"images of {side}x{side}"
    limits = {
        "batch_size": (epochs * number, f"is more than {epochs} x {number} images"),
        "cutout": (side, f"is larger than the {images}"),
        "translate": (side - 1, f"shifts {images} out of sight"),
        "small_side": (side if config.small_share else np.inf, f"is larger than the {images}"),
    }
    for name, (most, problem) in limits.items():
        if getattr(config, name) > most:
            raise UserError(f"--{name}={getattr(config, name)} {problem}: choose a smaller value")

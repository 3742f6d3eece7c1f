"""The work of `tfdm-train-classifier`: data, training, and the card of what came out."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import tqdm

from tfdm.datasets import load_dataset
from tfdm.datasets.labels import NUM_CLASSES, load_digits, load_labels
from tfdm.errors import UserError
from tfdm.eval.classifiers.config import ClassifierConfig
from tfdm.runs import CheckpointStore, RunFolder
from tfdm.runs.atomic import atomic_write_bytes, atomic_write_json
from tfdm.runs.provenance import command, git_revision, versions

if TYPE_CHECKING:
    from tfdm.cli.train_classifier import ClassifierRequest
    from tfdm.eval import ImageClassifier

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


def run(request: ClassifierRequest) -> str:
    """Trains the classifier or goes on with it; returns a line on what came out.

    Raises:
      UserError: the data cannot be had, the recipe does not fit it, or the folder holds another
        training or is in use.
      DivergedError: a loss or a variable is not finite; the last good checkpoint stands.
    """
    from tfdm.eval.classifiers.shipped import classifier_from, weights_bytes
    from tfdm.eval.classifiers.training import ClassifierTraining

    data = read_data(request.dataset, request.data_dir, request.cache_dir)
    _check_fit(request.config, data)
    folder, recipe = RunFolder(request.output_dir), dataclasses.asdict(request.config)
    identity = {"classifier": request.dataset, **recipe, "dataset_digest": data.digest}
    folder.create()
    with folder.lock():
        start = {"versions": versions(), "command": command(), "git_revision": git_revision()}
        recorded = folder.claim_config({**identity, **start})
        training = ClassifierTraining(data.train, data.labels["train"], request.config)
        store = CheckpointStore(folder.checkpoints, keep=2)
        with _progress(request.dataset, training.num_steps) as progress:
            training.run(store, _STEPS_A_SAVE, progress)
        weights = weights_bytes(training.finish())
        card: dict[str, Any] = {
            "name": request.dataset,
            "sha256": hashlib.sha256(weights).hexdigest(),
            "dataset": request.dataset,
            "dataset_digest": data.digest,
            "image_shape": list(data.train.shape[1:]),
            "num_classes": NUM_CLASSES,
            "num_parameters": int(training.network.count_params()),
            "recipe": recipe,
            "temperature": 1.0,
            "feature_scale": 1.0,
        }
        # Measured on what is shipped: the weights as they were rounded, in float32.
        card |= measure(classifier_from(request.dataset, weights, card), data)
        # Those of the start: what trained the network.
        card |= {field: recorded.get(field) for field in start}
        atomic_write_bytes(folder.path / f"{request.dataset}.npz", weights)
        atomic_write_json(folder.path / f"{request.dataset}.json", card)
    errors = ", ".join(f"{name} {100 * error:.2f} %" for name, error in card["test_error"].items())
    return f"test error: {errors}\n{folder.path / request.dataset}.npz\n"


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
    from tfdm.eval import inception_score_from_logits
    from tfdm.eval.classifiers.shipped import fit_temperature

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
        "test_cross_entropy": _cross_entropy(first[number:], labels[number:]),
        "temperature": temperature,
        "feature_scale": float(np.sqrt(np.mean(features**2))),
        "test_cross_entropy_calibrated": _cross_entropy(
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


def _cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    logits = logits.astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    hits = logits[np.arange(len(labels)), labels]
    return float(np.mean(np.log(np.exp(logits).sum(axis=1)) - hits))


@contextmanager
def _progress(name: str, total: int) -> Iterator[Callable[[int, float, float], None]]:
    terminal = sys.stderr.isatty()
    with tqdm.tqdm(
        desc=f"classifier of {name}", unit="step", file=sys.stderr, total=total,
        mininterval=0.5 if terminal else 10.0, dynamic_ncols=terminal,
    ) as bar:  # fmt: skip

        def show(step: int, loss: float, accuracy: float) -> None:
            bar.set_postfix_str(f"loss {loss:.3f}, accuracy {accuracy:.3f}", refresh=False)
            bar.update(step - bar.n)

        yield show

"""The work of `tfdm-evaluate`: samples, real images, measures, and what is written of them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import numpy as np

from tfdm.cli import evaluation_sources
from tfdm.cli.evaluation_metrics import METRICS, Inputs
from tfdm.cli.evaluation_pass import SamplePass, pass_over, reference_features
from tfdm.cli.evaluation_sources import ImageSource
from tfdm.cli.kl_run import progress_bar
from tfdm.datasets import ImageDataset, load_dataset
from tfdm.datasets.cache import default_cache_dir
from tfdm.datasets.dataset import SPLITS
from tfdm.errors import UserError
from tfdm.eval.nearest import nearest_neighbours
from tfdm.eval.report import NAME, evaluation_table
from tfdm.runs.atomic import atomic_write_bytes, atomic_write_json, atomic_write_text, json_ready
from tfdm.training.provenance import command, git_revision, versions

if TYPE_CHECKING:
    from tfdm.cli.evaluate import EvaluationRequest

CLASSIFIERS = {"cifar10": "cifar10", "color_mnist": "color_mnist", "color_mnist_5k": "color_mnist"}
INCEPTION = "inception"
_CRITIC_IMAGES = 10_000
_SHEET_ROWS, _NEIGHBOURS = 12, 7


def evaluate(request: EvaluationRequest) -> str:
    """Takes the measures that are asked for; returns the table.

    Raises:
      UserError: samples, real images or a classifier cannot be had, a measure does not fit them,
        or the folder cannot be written.
    """
    dataset, source = _dataset_and_source(request)
    classifiers = _classifiers(request)
    names = _metrics(request, bool(classifiers))
    content = _content(request, dataset, source, classifiers)
    with _locked(request.output_dir):
        earlier = _earlier(request.output_dir, content)
        seen = _look(request, dataset, source, classifiers, names)
        if earlier.get("samples_digest", seen.digest) != seen.digest:
            raise _other_samples(request.output_dir)
        content["classifiers"] = {**earlier.get("classifiers", {}), **content["classifiers"]}
        content |= {"samples_digest": seen.digest, "metrics": earlier.get("metrics", {})}
        for name in names:
            # Images alone are measured once, features under every classifier.
            owners = list(classifiers) if METRICS[name].needs_classifier else [None]
            for index, owner in enumerate(owners):
                key = name if index == 0 else f"{name}:{owner}"
                record = _measure(request, dataset, seen, name, key, owner)
                content["metrics"][key] = record
                _write(request.output_dir, content)
        sheet = _nearest_sheet(dataset, seen)
        atomic_write_bytes(request.output_dir / "evaluation_nearest.png", sheet)
        _write(request.output_dir, content)
    return f"{evaluation_table(content)}\n{request.output_dir / NAME}\n"


def _dataset_and_source(request: EvaluationRequest) -> tuple[ImageDataset, ImageSource]:
    """Opens the real images and the samples, and compares their shapes."""
    from tfdm.training.loading import load_run

    folders = {"data_dir": request.data_dir, "cache_dir": request.cache_dir}
    if request.run is not None:
        run = load_run(request.run)
        config = run.config
        dataset = load_dataset(
            config.dataset, image_size=config.image_size, crop=config.crop, **folders
        )
        recorded = run.recorded.get("dataset_digest")
        if recorded is not None and recorded != dataset.digest:
            raise UserError(
                f"{config.dataset} is not what {request.run} was trained on: its digest differs"
            )
        source = evaluation_sources.run_source(run, request.num_samples or 0, request.seed)
    else:
        dataset = load_dataset(
            request.dataset, image_size=request.image_size, crop=request.crop, **folders
        )
        path, number = str(request.images), request.num_samples
        if path in SPLITS:
            source = evaluation_sources.split_source(dataset, path, number)
        else:
            source = evaluation_sources.file_source(path, dataset.image_shape, number)
    if source.image_shape != dataset.image_shape:
        raise UserError(
            f"the images have shape {source.image_shape}, those of {dataset.name} "
            f"{dataset.image_shape}: choose the data set they are like"
        )
    if request.noise:
        source = evaluation_sources.noised(source, request.noise, request.seed)
    return dataset, source


def _classifiers(request: EvaluationRequest) -> dict[str, Any]:
    """Returns the data set's own classifier, and the Inception network if it is named."""
    if not any(METRICS[name].needs_classifier for name in request.configs):
        return {}
    from tfdm.eval import load_classifier, load_saved_model_classifier

    found: dict[str, Any] = {}
    if request.dataset in CLASSIFIERS:
        name = CLASSIFIERS[request.dataset]
        found[name] = load_classifier(name)
    if request.inception_path is not None:
        found[INCEPTION] = load_saved_model_classifier(
            request.inception_path,
            digest=request.inception_digest,
            allow_unverified=request.allow_unverified,
        )
    return found


def _metrics(request: EvaluationRequest, has_classifier: bool) -> list[str]:
    """Returns the measures to take; without a classifier those that need one are left out."""
    needing = [name for name in request.configs if METRICS[name].needs_classifier]
    if needing and not has_classifier and request.asked:
        raise UserError(
            f"{needing[0]} needs a classifier, and none comes with {request.dataset}: get the "
            "Inception network of https://tfhub.dev/tensorflow/tfgan/eval/inception/1 and give "
            "its folder as --inception_path"
        )
    return [name for name in request.configs if has_classifier or name not in needing]


def _content(
    request: EvaluationRequest,
    dataset: ImageDataset,
    source: ImageSource,
    classifiers: dict[str, Any],
) -> dict[str, Any]:
    """Returns the top level of `evaluation.json`."""
    content: dict[str, Any] = {
        "title": source.name,
        "source": source.record,
        "num_samples": source.num_images,
        "seed": request.seed,
        "dataset": dataset.name,
        "dataset_digest": dataset.digest,
        "image_shape": list(dataset.image_shape),
        "classifiers": {
            name: {
                "digest": classifier.digest,
                "temperature": getattr(classifier, "temperature", None),
                "resizer": getattr(classifier, "resizer", "none"),
                "verified": getattr(classifier, "verified", True),
            }
            for name, classifier in classifiers.items()
        },
        "versions": versions(),
        "git_revision": git_revision(),
    }
    return json_ready(content)


def _look(
    request: EvaluationRequest,
    dataset: ImageDataset,
    source: ImageSource,
    classifiers: dict[str, Any],
    names: list[str],
) -> SamplePass:
    cache = Path(request.cache_dir).expanduser() if request.cache_dir else default_cache_dir()
    references = {}
    for name, classifier in classifiers.items():
        with progress_bar(f"real images, {name}", "image") as progress:
            references[name] = reference_features(
                dataset, request.reference, classifier, cache, progress
            )
    with progress_bar("samples", "image") as progress:
        return pass_over(
            source,
            min(source.num_images, _num_chosen(request, names)),
            classifiers,
            references,
            request.seed,
            progress,
        )


def _num_chosen(request: EvaluationRequest, names: list[str]) -> int:
    """How many samples have to be kept for the measures that look at images or pairs."""
    wanted = [_SHEET_ROWS]
    for name in names:
        config = request.configs[name]
        wanted.append(getattr(config, "num_images", 0))
        if name == "ms_ssim":
            wanted.append(config.num_batches * config.batch_size)
        if name == "wasserstein_critic":
            wanted.append(_CRITIC_IMAGES)
    return max(wanted)


def _measure(
    request: EvaluationRequest,
    dataset: ImageDataset,
    seen: SamplePass,
    name: str,
    key: str,
    owner: str | None,
) -> dict[str, Any]:
    start = time.perf_counter()
    config = request.configs[name]
    real, held_out, training = critic_images(dataset, request.images)
    with contextlib.ExitStack() as bars:
        inputs = Inputs(
            images=seen.images,
            classified=None if owner is None else seen.classified[owner],
            critic_real=real,
            critic_held_out=held_out,
            training_images=training,
            seed=request.seed,
            state=request.output_dir / ".critic",
            open_progress=lambda: bars.enter_context(progress_bar(key, "step")),
        )
        try:
            record = METRICS[name].run(inputs, config)
        except ValueError as error:
            raise UserError(f"{key}: {error}") from error
    if owner is not None:
        classifier = seen.classified[owner].classifier
        record |= {"classifier": owner, "classifier_digest": classifier.digest}
        if name != "inception_score":
            record |= {"features": owner, "reference": request.reference}
    return {
        **json_ready(record),
        "config": dataclasses.asdict(config),
        "seed": request.seed,
        "wall_seconds": round(time.perf_counter() - start, 1),
        "command": command(),
    }


def critic_images(
    dataset: ImageDataset, images: str | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Returns real images for an independent critic: to learn from, held out, and training ones.

    A split that is itself evaluated is not used as real images too.

    Args:
      dataset: the data set.
      images: `--images`, which may name a split.
    """
    train = dataset.split("train")
    some = train[np.linspace(0, len(train) - 1, min(len(train), _CRITIC_IMAGES)).astype(int)]
    validation, test = (dataset.split(name)[:_CRITIC_IMAGES] for name in ("validation", "test"))
    if images == "validation":
        return some, test, None
    if images == "test":
        return validation, some, None
    return validation, test, None if images == "train" else some


def _nearest_sheet(dataset: ImageDataset, seen: SamplePass) -> bytes:
    """Returns a PNG: in each row a sample and its nearest training images."""
    from tfdm.training.grids import image_grid, png_bytes

    samples = seen.images[:_SHEET_ROWS]
    train = dataset.split("train")
    number = min(_NEIGHBOURS, len(train))
    pixels = train.reshape(len(train), -1)
    nearest = nearest_neighbours(samples.reshape(len(samples), -1), pixels, number)
    rows = np.concatenate([samples[:, None], train[nearest]], axis=1)
    return png_bytes(image_grid(rows.reshape(-1, *samples.shape[1:]), 1 + number))


def _earlier(folder: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Returns the evaluation that stands in the folder, if any; it must be of the same samples."""
    path = folder / NAME
    if not path.exists():
        return {}
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
        complete = isinstance(earlier["metrics"], dict) and isinstance(earlier["classifiers"], dict)
        same = all(
            earlier[key] == content[key]
            for key in ("source", "num_samples", "seed", "dataset_digest")
        )
    except (ValueError, KeyError, TypeError):
        complete = False
    if not complete:
        raise UserError(f"{path} is damaged: move it away, or choose another --output_dir")
    if not same:
        raise _other_samples(folder)
    return earlier


def _other_samples(folder: Path) -> UserError:
    return UserError(
        f"{folder / NAME} is about other samples (another number, seed, noise or training step): "
        "move it away, or choose another --output_dir"
    )


def _write(folder: Path, content: dict[str, Any]) -> None:
    atomic_write_json(folder / NAME, content)
    atomic_write_text(folder / "evaluation.md", evaluation_table(content))


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Makes the folder and keeps other writers out of it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / ".evaluation.lock").acquire(blocking=False):
            yield
    except filelock.Timeout:
        raise UserError(f"{folder} is in use by another evaluation: wait for it to end") from None
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise UserError(f"cannot write into {folder}: {error.strerror}") from None

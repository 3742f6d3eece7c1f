"""Models from configurations, and trained models from run folders."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tfdm.datasets import ImageDataset, load_dataset, open_dataset
from tfdm.datasets.load import Data
from tfdm.datasets.registry import DATASETS
from tfdm.errors import UserError
from tfdm.estimators.registry import ESTIMATORS
from tfdm.experiments.config import RunConfig
from tfdm.experiments.weights import WEIGHTS_NAME, read_weights
from tfdm.models.registry import find_model
from tfdm.runs import CheckpointStore, RunFolder
from tfdm.training.state import restore_state

_logger = logging.getLogger("tfdm")


@dataclasses.dataclass(frozen=True)
class Run:
    """A run read back; `data`, `data_dir` and `cache_dir` are what `load_run` was given."""

    model: Any  # with the run's newest good state
    step: int  # training steps behind that state
    config: RunConfig
    recorded: dict[str, Any]  # all of `config.json`
    folder: RunFolder
    data: ImageDataset | None = dataclasses.field(default=None, repr=False)
    data_dir: str | os.PathLike[str] | None = None
    cache_dir: str | os.PathLike[str] | None = None

    @property
    def title(self) -> str:
        """The run in the title of a result."""
        return f"{self.config.model}, {self.config.dataset}, {self.step:,} steps"

    @property
    def record(self) -> dict[str, Any]:
        """What a result says of the run that it is of."""
        config, folder = self.config, str(self.folder.path)
        known = {"run": folder, "model": config.model, "dataset": config.dataset}
        return {**known, "steps": self.step, "run_seed": config.seed}

    @functools.cached_property
    def dataset(self) -> ImageDataset:
        """The data that the run was trained on, opened when it is first asked for.

        Raises:
          UserError: the data cannot be had, or differ from those of the training.
        """
        if self.data is None and self.config.dataset not in DATASETS:
            shape = "x".join(map(str, self.recorded["image_shape"]))
            raise UserError(
                f"{self.folder.path} was trained on {shape} images that its caller passed, named "
                f"{self.config.dataset!r}: pass them too, tfdm.load_run(.., dataset=images)"
            )
        data = self.data or open_data(self.config, self.data_dir, self.cache_dir)
        if self.recorded.get("dataset_digest", data.digest) != data.digest:
            raise UserError(
                f"{data.name} is not what {self.folder.path} was trained on: its digest differs"
            )
        return data


def open_data(
    config: RunConfig,
    data_dir: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> ImageDataset:
    """Opens the data that a run names, in other folders than the run's if they are given."""
    return load_dataset(
        config.dataset,
        data_dir=data_dir or config.data_dir,
        cache_dir=cache_dir or config.cache_dir,
        image_size=config.image_size,
        crop=config.crop,
    )


def build_model(
    config: RunConfig, image_shape: tuple[int, int, int], fitted_prior: Any = None
) -> Any:
    """Returns a new model for images (H, W, C); `UserError` where no networks fit them."""
    model_class = find_model(config.model).load()
    options = {"image_shape": image_shape, "seed": config.seed, "dtype": config.precision}
    if fitted_prior is not None:
        options["fitted_prior"] = fitted_prior
    try:
        return model_class(config.hyperparameters, **options)
    except ValueError as error:
        raise UserError(f"cannot build {config.model} for {config.dataset}: {error}") from error


def load_run(
    path: str | os.PathLike[str],
    *,
    dataset: Data | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Run:
    """Returns the trained model of a run folder, its configuration, and its data.

    The newest good checkpoint counts; without one, `weights/last.weights.h5`, whose optimisers
    start anew. Nothing that could run code is read. The data are opened when `Run.dataset` is
    first asked for.

    Args:
      path: the run folder; it may be one that is still being trained.
      dataset: the data of a run that was trained on an array, uint8 [n, H, W, C], or on an
        `ImageDataset`.
      data_dir: where the data set is read from (default: where it was read in training).
      cache_dir: where prepared data sets stand.

    Raises:
      UserError: `path` is not a run folder, its model is not known here, nothing in it fits the
        model, or `dataset` has another digest.
      ValueError: `dataset` is no array of images.
    """
    folder, recorded, config = open_run(path)
    warn_if_changed(recorded)
    fitted_prior = _fitted_prior(recorded, config.hyperparameters.latent_dim)
    model = build_model(config, tuple(recorded["image_shape"]), fitted_prior)
    weights = folder.weights / WEIGHTS_NAME
    checkpoint = CheckpointStore(folder.checkpoints).latest()
    if checkpoint is not None:
        with fitting(checkpoint.path):
            restore_state(model, checkpoint.arrays)
    elif weights.is_file():
        with fitting(weights):
            read_weights(model, folder.weights)
    else:
        raise UserError(f"{folder.path} holds no trained weights yet: train it first")
    data = None if dataset is None else open_dataset(dataset, data_dir=data_dir)
    step = int(model.step.numpy())
    run = Run(model, step, config, recorded, folder, data, data_dir, cache_dir)
    if data is not None:
        _ = run.dataset  # which compares its digest
    return run


def open_run(path: str | os.PathLike[str]) -> tuple[RunFolder, dict[str, Any], RunConfig]:
    """Returns a run folder, its `config.json`, and the configuration; errors as of `load_run`."""
    folder = RunFolder.open(path)
    recorded = folder.read_config()
    config = RunConfig.from_flat(recorded)
    shape = recorded.get("image_shape")
    if shape is None:
        raise UserError(f"{folder.config_path} lacks image_shape; start a new run")
    if not (isinstance(shape, list) and len(shape) == 3 and all(map(_is_size, shape))):
        raise UserError(
            f"{folder.config_path} has image_shape {shape!r}, expected height, width and "
            "channels; start a new run"
        )
    return folder, recorded, config


def _fitted_prior(recorded: Mapping[str, Any], latent_dim: int) -> Any:
    """Returns the density that `fit_prior` put in the prior's place, untrained, or `None`."""
    if "fitted_prior" not in recorded:
        return None
    from tfdm.estimators.density_model import make_density  # with TensorFlow

    try:
        name, fields, seed = (recorded["fitted_prior"][k] for k in ("density", "fields", "seed"))
        return make_density(name, latent_dim, ESTIMATORS[name].config.of(fields), seed)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"bad fitted_prior in config.json ({error!r}): fit it anew") from error


def warn_if_changed(recorded: Mapping[str, Any]) -> None:
    """Warns where the file that registers a run's model is not the one that trained it."""
    before, now = recorded.get("model_source", {}), find_model(recorded["model"]).source
    if len({source["sha256"] for source in (before, now) if "sha256" in source}) > 1:
        _logger.warning("%s has changed since the run was started", now["file"])


def _is_size(value: Any) -> bool:
    return type(value) is int and value > 0


@contextlib.contextmanager
def fitting(source: Path) -> Iterator[None]:
    """Says in one line that the state in `source` does not fit the model of `config.json`."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise UserError(
            f"{source} does not fit the model that config.json describes ({error}): "
            "use the version of tfdm that made it"
        ) from error

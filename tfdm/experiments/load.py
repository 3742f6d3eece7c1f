"""Models from configurations, and trained models from run folders."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfdm.errors import UserError
from tfdm.experiments.config import RunConfig
from tfdm.models import registry
from tfdm.runs import CheckpointStore, RunFolder
from tfdm.training.state import restore_state

WEIGHTS_NAME = "last.weights.h5"


@dataclasses.dataclass(frozen=True)
class TrainedRun:
    """A run read back.

    Attributes:
      model: the model with the run's newest good state.
      step: the number of training steps behind that state.
      config: the configuration of the run.
      recorded: all of `config.json`.
      folder: the run folder.
    """

    model: Any
    step: int
    config: RunConfig
    recorded: dict[str, Any]
    folder: RunFolder


def build_model(config: RunConfig, image_shape: tuple[int, int, int]) -> Any:
    """Returns the untrained model of a run.

    Args:
      config: the configuration.
      image_shape: (H, W, C) of the data.

    Raises:
      UserError: there are no networks for images of this shape.
    """
    model_class = registry.find_model(config.model).load()
    try:
        return model_class(config.hyperparameters, image_shape, config.seed, dtype=config.precision)
    except ValueError as error:
        raise UserError(f"cannot build {config.model} for {config.dataset}: {error}") from error


def load_run(path: str | os.PathLike[str]) -> TrainedRun:
    """Returns the trained model of a run folder.

    The newest good checkpoint counts; without one, `weights/last.weights.h5`, whose optimisers
    start anew. Nothing that could run code is read.

    Args:
      path: the run folder; it may be one that is still being trained.

    Raises:
      UserError: `path` is no run folder, or nothing in it fits the model.
    """
    folder = RunFolder.open(path)
    recorded = folder.read_config()
    config = RunConfig.from_flat(recorded)
    if "image_shape" not in recorded:
        raise UserError(f"{folder.config_path} lacks image_shape; start a new run")
    model = build_model(config, tuple(recorded["image_shape"]))
    weights = folder.weights / WEIGHTS_NAME
    checkpoint = CheckpointStore(folder.checkpoints).latest()
    if checkpoint is not None:
        restore_checkpoint(model, checkpoint.arrays, checkpoint.path)
    elif weights.is_file():
        try:
            model.load_weights(weights)
        except (ValueError, OSError) as error:
            raise _misfit(weights, error) from error
    else:
        raise UserError(f"{folder.path} holds no trained weights yet: train it first")
    return TrainedRun(model, int(model.step.numpy()), config, recorded, folder)


def restore_checkpoint(model: Any, arrays: Mapping[str, np.ndarray], source: Path) -> None:
    """Puts a run's state into its model.

    Args:
      model: the model that `config.json` describes.
      arrays: the state.
      source: where it was read, for the message.

    Raises:
      UserError: the state does not fit the model.
    """
    try:
        restore_state(model, arrays)
    except ValueError as error:
        raise _misfit(source, error) from error


def _misfit(source: Path, error: Exception) -> UserError:
    return UserError(
        f"{source} does not fit the model that config.json describes ({error}): "
        "use the version of tfdm that made it"
    )

"""One training run from its configuration to the finished run folder.

A run may be killed at any moment: `train` called again resumes the newest good checkpoint,
with the batches and the noise that the uninterrupted run would have drawn, and ends with the same
weights, bit for bit, on the same machine with one device. The folder is claimed before TensorFlow
is imported, so that a refusal comes at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
from collections.abc import Mapping
from typing import Any

from tfdm.datasets import ImageDataset, open_dataset
from tfdm.datasets.load import Data
from tfdm.errors import UserError
from tfdm.experiments.config import RunConfig
from tfdm.experiments.load import Run, load_run
from tfdm.models.registry import name_of
from tfdm.quiet import quiet_tensorflow
from tfdm.runs import RunFolder
from tfdm.training.signals import StopSignals


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """How a run ended; a worker that is not the chief knows `steps` alone."""

    folder: RunFolder
    steps: int  # of training
    final: Mapping[str, float]  # the logs of the last step
    wall_seconds: float | None  # of all sessions
    steps_per_second: float | None  # of the last session without its first execution
    summary: Mapping[str, Any] = dataclasses.field(repr=False)  # `summary.json`, which has more
    dataset: ImageDataset = dataclasses.field(repr=False)  # that the model was trained on

    def load(self) -> Run:
        """Returns the trained model with its data and configuration."""
        return load_run(self.folder.path, dataset=self.dataset)

    def table(self) -> str:
        """Returns the final losses, the rate, and where to find what the run left."""
        if self.wall_seconds is None:  # a worker that is not the chief
            return f"done: {self.steps} steps"
        folder, rate = self.folder, self.steps_per_second
        rows = {name: f"{value:.4g}" for name, value in self.final.items() if value is not None}
        shown_rate = "-" if rate is None else f"{rate:.3g}"
        rows |= {"steps": f"{self.steps}", "steps a second": shown_rate}
        rows["time"] = _duration(self.wall_seconds)
        places = {
            "samples": folder.last_grid("samples"),
            "reconstructions": folder.last_grid("reconstructions"),
            "curves": f"tensorboard --logdir {folder.path}",
            "SavedModels": folder.export if folder.export.is_dir() else None,
            "summary": folder.summary_path,
        }
        places = {name: place for name, place in places.items() if place is not None}
        width, numbers = max(map(len, rows | places)), max(map(len, rows.values()))
        lines = [f"  {name:{width}}  {value:>{numbers}}" for name, value in rows.items()]
        lines += ["", *(f"  {name:{width}}  {place}" for name, place in places.items())]
        return "\n".join(["", *lines])


def train(
    model: str | type,
    dataset: Data,
    *,
    output_dir: str | os.PathLike[str] | None = None,
    config: RunConfig | Mapping[str, Any] | None = None,
    progress: bool = True,
    **fields: Any,
) -> TrainingResult:
    """Trains a model into a run folder, or resumes the run that stands there.

        tfdm.train("vae", "color_mnist_5k", steps=500, output_dir="runs/a", latent_dim=8)

    A run that is complete is not trained again; what is missing of its files is made again.

    Args:
      model: the name of a model, or a subclass of `GenerativeModel`, which is registered under
        the name of its class (`tfdm.register_model` gives another).
      dataset: the name of a data set; images uint8 [n, H, W, C], of which 80 % are trained on and
        10 % each are the validation and the test split; or an `ImageDataset`.
      output_dir: the run folder (default: `runs/MODEL-DATASET-seedSEED`).
      config: the other options, see `RunConfig`.
      progress: whether to show a progress bar on the standard error stream.
      **fields: options that replace those of `config`, hyperparameters of the model among them.

    Raises:
      UserError: an option, the folder, the data or the strategy do not fit.
      ValueError: the class is not a model, or the array holds no images.
      DivergedError: a loss or a variable is not finite; the last good checkpoint stands.
      Terminated: SIGTERM or SIGINT came; the state after the last step stands in a checkpoint.
    """
    images = None if isinstance(dataset, str) else open_dataset(dataset)
    name = dataset if images is None else images.name
    values = {**fields, "model": name_of(model), "dataset": name}
    if output_dir is not None:
        values["output_dir"] = os.fspath(output_dir)
    run = RunConfig.of(config, **values)
    if images is not None and (run.image_size or run.crop):
        raise ValueError("image_size and crop have no effect on images that are given: drop them")
    return train_run(run, images, progress=progress)


def train_run(
    config: RunConfig, dataset: ImageDataset | None = None, *, progress: bool = True
) -> TrainingResult:
    """Does what `train` does; `dataset` are the data, if they are not those of `config`."""
    folder, data_dir = RunFolder(config.folder), config.data_dir
    if data_dir is None and folder.config_path.is_file():
        data_dir = RunConfig.from_flat(folder.read_config()).data_dir
    if data_dir is not None:
        # As it can be found again from another working directory.
        data_dir = os.path.abspath(os.path.expanduser(data_dir))
        config = dataclasses.replace(config, data_dir=data_dir)
    elif config.dataset == "image_folder" and dataset is None:
        raise UserError("--dataset=image_folder needs --data_dir: the folder of your images")
    with StopSignals() as signals, contextlib.ExitStack() as stack:
        hold = functools.partial(_hold, folder, config, stack)
        if config.strategy != "multi_worker":  # There it may be the chief's folder alone.
            hold()
        with quiet_tensorflow():
            from tfdm.experiments.session import run_session
        summary, dataset = run_session(config, folder, dataset, signals, hold, progress)
    seconds, rate = summary.get("wall_seconds"), summary.get("steps_per_second")
    final = summary.get("final", {})
    return TrainingResult(folder, summary["steps"], final, seconds, rate, summary, dataset)


def _hold(folder: RunFolder, config: RunConfig, stack: contextlib.ExitStack) -> None:
    """Holds the folder for this run until the stack is closed."""
    folder.create()
    stack.callback(folder.discard_if_unused)
    if folder.config_path.is_file() and "fitted_prior" in folder.read_config():
        raise UserError(
            f"{folder.path} holds a run with a prior that was fitted after its training: "
            "it trains no more; choose another --output_dir"
        )
    # What the images decide is compared when they are there.
    known = {name: value for name, value in config.flat().items() if value is not None}
    folder.check_config(known, config.default_flat())
    stack.enter_context(folder.lock())


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"

"""One training run from its configuration to the finished run folder.

A run may be killed at any moment: `train` called again goes on from the newest good checkpoint,
with the batches and the noise that the uninterrupted run would have drawn, and ends with the same
weights, bit for bit, on the same machine with one device.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tfdm.datasets import ImageDataset, open_dataset
from tfdm.datasets.load import Data
from tfdm.errors import UserError
from tfdm.experiments.config import RunConfig, default_fields
from tfdm.experiments.load import Run, load_run
from tfdm.experiments.session import Session
from tfdm.models import registry
from tfdm.runs import RunFolder, provenance
from tfdm.training import metrics
from tfdm.training.signals import StopSignals
from tfdm.training.strategy import Workers, check_batch_size, describe, make_strategy

_logger = logging.getLogger("tfdm")


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """How a run ended.

    Attributes:
      folder: the run folder.
      steps: the number of training steps.
      final: the logs of the last step.
      wall_seconds: the time of all sessions.
      steps_per_second: the rate of the last session without its first execution.
      summary: the content of `summary.json`, which has more. A worker that is not the chief has
        `steps` alone.
      dataset: the data that the model was trained on.
    """

    folder: RunFolder
    steps: int
    final: Mapping[str, float]
    wall_seconds: float | None
    steps_per_second: float | None
    summary: Mapping[str, Any] = dataclasses.field(repr=False)
    dataset: ImageDataset = dataclasses.field(repr=False)

    def load(self) -> Run:
        """Returns the trained model with its data and configuration."""
        return load_run(self.folder.path, dataset=self.dataset)

    def table(self) -> str:
        """Returns the final losses, the rate, and where to find what the run left."""
        if self.wall_seconds is None:  # a worker that is not the chief
            return f"done: {self.steps} steps"
        folder, rate = self.folder, self.steps_per_second
        rows = {name: f"{value:.4g}" for name, value in self.final.items() if value is not None}
        rows |= {
            "steps": f"{self.steps}",
            "steps a second": "-" if rate is None else f"{rate:.3g}",
            "time": _duration(self.wall_seconds),
        }
        places = {
            "samples": _newest_grid(folder.samples),
            "reconstructions": _newest_grid(folder.reconstructions),
            "curves": f"tensorboard --logdir {folder.path}",
            "SavedModels": folder.export if folder.export.is_dir() else None,
            "summary": folder.summary_path,
        }
        places = {name: place for name, place in places.items() if place is not None}
        width = max(map(len, [*rows, *places]))
        numbers = max(map(len, rows.values()))
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
    """Trains a model into a run folder, or goes on with the run that stands there.

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
      ValueError: the class is no model, or the array holds no images.
      DivergedError: a loss or a variable is not finite; the last good checkpoint stands.
      Terminated: SIGTERM or SIGINT came; the state after the last step stands in a checkpoint.
    """
    images, name = None, dataset
    if not isinstance(dataset, str):
        images = open_dataset(dataset)
        name = images.name
    values = {**fields, "model": registry.name_of(model), "dataset": name}
    if output_dir is not None:
        values["output_dir"] = os.fspath(output_dir)
    run = RunConfig.of(config, **values)
    if images is not None and (run.image_size or run.crop):
        raise ValueError("image_size and crop have no effect on images that are given: drop them")
    return train_run(run, images, progress=progress)


def train_run(
    config: RunConfig, dataset: ImageDataset | None = None, *, progress: bool = True
) -> TrainingResult:
    """Does what `train` does, from a configuration that names everything.

    Args:
      config: what to train, on what, for how long, and where.
      dataset: the data, if they are not those that `config` names.
      progress: whether to show a progress bar on the standard error stream.

    Raises:
      UserError, DivergedError, Terminated: as `train`.
    """
    clock = metrics.RunClock()
    if config.data_dir is not None:
        # As it can be found again from another working directory.
        data_dir = os.path.abspath(os.path.expanduser(config.data_dir))
        config = dataclasses.replace(config, data_dir=data_dir)
    strategy = make_strategy(config.strategy)
    check_batch_size(strategy, config.batch_size)
    workers = Workers(strategy)
    folder = RunFolder(config.folder)
    with StopSignals() as signals, _claimed(folder, config, workers) as claim:
        if dataset is None:
            dataset = open_dataset(
                config.dataset,
                data_dir=config.data_dir,
                cache_dir=config.cache_dir,
                image_size=config.image_size,
                crop=config.crop,
            )
        claim(dataset)
        _logger.info(
            "%s on %s: %d steps of batch %d, latent_dim %d, seed %d, %s, into %s",
            config.model, config.dataset, config.steps, config.batch_size,
            config.hyperparameters.latent_dim, config.seed, describe(strategy), config.folder,
        )  # fmt: skip
        session = Session(config, folder, dataset, strategy, workers, signals, progress)
        summary = session.summary_of_complete() or session.go(clock)
    return TrainingResult(
        folder=folder,
        steps=summary["steps"],
        final=summary.get("final", {}),
        wall_seconds=summary.get("wall_seconds"),
        steps_per_second=summary.get("steps_per_second"),
        summary=summary,
        dataset=dataset,
    )


@contextlib.contextmanager
def _claimed(
    folder: RunFolder, config: RunConfig, workers: Workers
) -> Iterator[Callable[[ImageDataset], None]]:
    """Holds the folder for this run; gives the function that records the configuration."""
    defaults = default_fields(config)

    def record(dataset: ImageDataset) -> None:
        source = dict(registry.find_model(config.model).source)
        flat = {
            **config.flat(),
            "image_shape": list(dataset.image_shape),
            "num_images": {name: len(images) for name, images in dataset.splits.items()},
            "dataset_digest": dataset.digest,
            **({"model_source": source} if source else {}),
            "versions": provenance.versions(),
            "git_revision": provenance.git_revision(),
            "command": provenance.command(),
        }
        before = folder.claim_config(flat, defaults).get("model_source", source)
        if before.get("sha256") != source.get("sha256"):
            _logger.warning("%s has changed since the run was started", source.get("file"))

    def claim(dataset: ImageDataset) -> None:
        _on_chief(workers, lambda: record(dataset))

    if not workers.is_chief:
        _on_chief(workers, lambda: None)
        yield claim
        return
    with contextlib.ExitStack() as stack:

        def enter() -> None:
            folder.create()
            stack.callback(folder.discard_if_unused)
            folder.check_config(config.flat(), defaults)
            stack.enter_context(folder.lock())

        _on_chief(workers, enter)
        yield claim


def _on_chief(workers: Workers, action: Callable[[], object]) -> None:
    """Runs what only the chief does; where it is refused, all workers end."""
    refusal: UserError | None = None
    if workers.is_chief:
        try:
            action()
        except UserError as error:
            refusal = error
    refused = workers.maximum(1 if refusal else 0)
    if refusal is not None:
        raise refusal
    if refused:
        raise UserError("the chief worker refused the run; its message says why")


def _newest_grid(folder: Path) -> Path | None:
    return max(folder.glob("step_*.png"), default=None, key=lambda path: (len(path.name), path))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"

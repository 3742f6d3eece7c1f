"""One training run from its configuration to the finished run folder.

`train` may be killed at any moment: called again it goes on from the newest good checkpoint, with
the batches and the noise that the uninterrupted run would have drawn, and ends with the same
weights, bit for bit, on the same machine with one device.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfdm import registry
from tfdm.config import RunConfig
from tfdm.datasets import ImageDataset, load_dataset, train_batches
from tfdm.errors import UserError
from tfdm.export import export_model, exported_folders, is_exported
from tfdm.runs import CheckpointStore, RunFolder
from tfdm.runs.atomic import atomic_file
from tfdm.training import grids, metrics, provenance
from tfdm.training.callbacks import Checkpointer, DivergenceGuard, RawLogs, Span, StopOnSignal
from tfdm.training.loading import WEIGHTS_NAME, build_model, restore_checkpoint
from tfdm.training.progress import ProgressBar
from tfdm.training.signals import StopSignals
from tfdm.training.state import capture_state, restore_state
from tfdm.training.strategy import Workers, check_batch_size, make_strategy


def train(
    config: RunConfig,
    output_dir: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    show_progress: bool = True,
) -> dict[str, Any]:
    """Trains a model into a run folder, or goes on with the run that stands there.

    A run that is complete is not trained again; what is missing of its files is made again.

    Args:
      config: what to train, on what, for how long.
      output_dir: the run folder.
      data_dir: where the data set is read from, if not from its default place.
      cache_dir: where the prepared data set stands, if not in its default place.
      show_progress: whether to show a progress bar on the standard error stream.

    Returns:
      The content of `summary.json`: `model`, `dataset`, `steps`, `seed`, `wall_seconds` over all
      sessions, `steps_per_second` of the last one, its first execution apart, `final` logs,
      `peak_memory_mib` of the last session, and what the run was made with.

    Raises:
      UserError: the folder, the data, the configuration or the strategy do not fit.
      DivergedError: a loss or a variable is not finite; the last good checkpoint stands.
      Terminated: SIGTERM or SIGINT came; the state after the last step stands in a checkpoint.
    """
    clock = metrics.RunClock()
    strategy = make_strategy(config.strategy)
    check_batch_size(strategy, config.batch_size)
    workers = Workers(strategy)
    folder = RunFolder(output_dir)
    with StopSignals() as signals, _claimed(folder, config, workers) as claim:
        dataset = load_dataset(
            config.dataset,
            data_dir=data_dir,
            cache_dir=cache_dir,
            image_size=config.image_size or None,
            crop=config.crop or None,
        )
        claim(dataset)
        run = _Run(config, folder, dataset, strategy, workers, signals, show_progress)
        return run.summary_of_complete() or run.go(clock)


@contextlib.contextmanager
def _claimed(folder: RunFolder, config: RunConfig, workers: Workers) -> Iterator[Any]:
    """Holds the folder for this run; gives the function that records the configuration."""

    def claim(dataset: ImageDataset) -> None:
        flat = {
            **config.flat(),
            "image_shape": list(dataset.image_shape),
            "dataset_digest": dataset.digest,
            "versions": provenance.versions(),
            "git_revision": provenance.git_revision(),
        }
        _on_chief(workers, lambda: folder.claim_config(flat))

    if not workers.is_chief:
        _on_chief(workers, lambda: None)
        yield claim
        return
    with contextlib.ExitStack() as stack:

        def enter() -> None:
            folder.create()
            stack.callback(folder.discard_if_unused)
            folder.check_config(config.flat())
            stack.enter_context(folder.lock())

        _on_chief(workers, enter)
        yield claim


def _on_chief(workers: Workers, action: Any) -> None:
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


@dataclasses.dataclass(frozen=True)
class _Run:
    """One session of a run whose folder and data are at hand."""

    config: RunConfig
    folder: RunFolder
    dataset: ImageDataset
    strategy: tf.distribute.Strategy
    workers: Workers
    signals: StopSignals
    show_progress: bool

    # --- The course of a session ----------------------------------------------------------

    def summary_of_complete(self) -> dict[str, Any] | None:
        """Returns the summary of a run that is done and whole, else `None`."""
        summary = self._read_summary() if self.workers.is_chief else None
        done = summary is not None and not self._missing()
        if not self.workers.maximum(int(done)):
            return None
        return summary if summary is not None else {"steps": self.config.steps}

    def go(self, clock: metrics.RunClock) -> dict[str, Any]:
        """Trains what is left to train and writes what is missing."""
        with self.strategy.scope():
            model = build_model(self.config, self.dataset.image_shape)
        start = self._resume(model)
        if start > self.config.steps:
            raise UserError(
                f"{self.folder.path} is trained for {start} steps already, "
                f"more than the {self.config.steps} asked for"
            )
        rate = None
        if self.workers.is_chief:
            self.folder.truncate_metrics(start)
            clock = metrics.RunClock(
                metrics.last_record(self.folder).get("wall_seconds", 0.0) + clock.seconds()
            )
        if start < self.config.steps:
            if self.workers.is_chief:
                # It tells of an end that is not this run's any more.
                self.folder.summary_path.unlink(missing_ok=True)
            rate = self._fit(model, start, clock)
        if not self.workers.is_chief:
            return {"steps": self.config.steps}
        return self._finish(model, clock, rate)

    def _resume(self, model: Any) -> int:
        """Puts the newest good state into the model; returns its number of steps."""
        checkpoint = self._store.latest() if self.workers.is_chief else None
        if self.workers.maximum(int(checkpoint is not None)):
            arrays = capture_state(model) if checkpoint is None else checkpoint.arrays
            restore_checkpoint(model, self.workers.from_chief(arrays), self.folder.checkpoints)
        return int(model.step.numpy())

    def _fit(self, model: Any, start: int, clock: metrics.RunClock) -> float | None:
        """Trains; returns the steps a second, on the chief."""
        config, span = self.config, Span(start, self.config.steps)
        intervals = (config.log_every, config.sample_every, config.checkpoint_every)
        guard = DivergenceGuard(span, intervals)
        callbacks: list[Any] = [guard]
        with contextlib.ExitStack() as stack:
            logger = None
            if self.workers.is_chief:
                writer = self._tensorboard(stack)
                logger = metrics.MetricsLogger(span, config.log_every, self.folder, writer, clock)
                callbacks += [logger, self._grids(span, writer)]
            checkpointer = Checkpointer(
                span, config.checkpoint_every, guard, self._store if self.workers.is_chief else None
            )
            stopper = StopOnSignal(span, config.log_every, self.signals, checkpointer, self.workers)
            callbacks += [checkpointer, stopper]
            if self.show_progress and self.workers.is_chief:
                bar = ProgressBar(span)
                stack.callback(bar.close)
                callbacks.append(bar)
            batches = train_batches(
                self.dataset.splits["train"],
                batch_size=config.batch_size,
                seed=config.seed,
                start_step=start,
                num_steps=config.steps - start,
                batches_per_step=model.batches_per_step,
            )
            model.compile(steps_per_execution=config.steps_per_execution)
            with self.signals.deferred():
                model.fit(
                    batches,
                    verbose=0,
                    shuffle=False,
                    callbacks=RawLogs(callbacks, add_history=True, model=model),
                )
        return logger.steps_per_second if logger is not None else None

    def _finish(self, model: Any, clock: metrics.RunClock, rate: float | None) -> dict[str, Any]:
        """Writes the networks, the SavedModels and the summary."""
        if self.strategy.num_replicas_in_sync > 1:
            # The files hold plain variables, not ones with a copy on each replica.
            mirrored, model = model, build_model(self.config, self.dataset.image_shape)
            restore_state(model, capture_state(mirrored))
        step = self.config.steps
        if not all(path.is_file() for path in self._grid_paths()):
            with contextlib.ExitStack() as stack:
                self._grids(Span(step, step), self._tensorboard(stack)).write(model, step)
        with atomic_file(self.folder.weights / WEIGHTS_NAME) as temporary:
            model.save_weights(temporary)
        export_model(model, self.folder.export)
        record = metrics.last_record(self.folder)
        summary = {
            "model": self.config.model,
            "dataset": self.config.dataset,
            "steps": step,
            "seed": self.config.seed,
            "wall_seconds": round(clock.seconds(), 3),
            "steps_per_second": rate or record.get("steps_per_second"),
            "final": metrics.losses_of(record),
            "batch_size": self.config.batch_size,
            "replicas": self.strategy.num_replicas_in_sync,
            "peak_memory_mib": peak_memory_mib(),
            "dataset_digest": self.dataset.digest,
            "versions": provenance.versions(),
            "git_revision": provenance.git_revision(),
        }
        self.folder.write_summary(summary)
        return summary

    # --- Pieces ---------------------------------------------------------------------------

    @property
    def _store(self) -> CheckpointStore:
        return CheckpointStore(self.folder.checkpoints)

    @property
    def _infers(self) -> bool:
        return registry.find_model(self.config.model).load().infers

    def _tensorboard(self, stack: contextlib.ExitStack) -> tf.summary.SummaryWriter:
        writer = tf.summary.create_file_writer(str(self.folder.tensorboard))
        stack.callback(writer.close)
        metrics.write_hparams(writer, self.config.flat(), self.folder.path.resolve().name)
        return writer

    def _grids(self, span: Span, writer: tf.summary.SummaryWriter) -> grids.ImageGrids:
        held_out = self.dataset.splits["validation"]
        images = grids.fixed_images(held_out)
        every = self.config.sample_every
        return grids.ImageGrids(span, every, self.folder, writer, images, self.config.seed)

    def _grid_paths(self) -> list[Path]:
        folders = [self.folder.samples] + [self.folder.reconstructions] * self._infers
        return [grids.grid_path(folder, self.config.steps) for folder in folders]

    def _read_summary(self) -> dict[str, Any] | None:
        try:
            summary = json.loads(self.folder.summary_path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        is_current = isinstance(summary, dict) and summary.get("steps") == self.config.steps
        return summary if is_current else None

    def _missing(self) -> list[Path]:
        """Lists the files of a finished run that are not there."""
        saved_models = exported_folders(self._infers, self.folder.export)
        files = [self.folder.weights / WEIGHTS_NAME, *self._grid_paths()]
        return [path for path in files if not path.is_file()] + [
            path for path in saved_models if not is_exported(path)
        ]


def peak_memory_mib() -> float | None:
    """Returns the largest resident memory of this process so far, `None` where unknown."""
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(used / (2**20 if sys.platform == "darwin" else 2**10), 1)

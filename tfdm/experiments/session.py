"""One session of a run: what is left to train, and what a finished run leaves.

The folder is locked, the configuration recorded and the data open when a session starts;
`tfdm.experiments.train` sees to that.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from typing import Any

import tensorflow as tf

from tfdm.datasets import ImageDataset, train_batches
from tfdm.errors import UserError
from tfdm.experiments import artefacts
from tfdm.experiments.config import RunConfig
from tfdm.experiments.load import build_model, restore_checkpoint
from tfdm.models import registry
from tfdm.runs import CheckpointStore, RunFolder
from tfdm.training import grids, metrics
from tfdm.training.callbacks import Checkpointer, DivergenceGuard, RawLogs, Span, StopOnSignal
from tfdm.training.graphs import repeatable_graphs
from tfdm.training.progress import ProgressBar
from tfdm.training.signals import StopSignals
from tfdm.training.state import capture_state, restore_state
from tfdm.training.strategy import Workers

_logger = logging.getLogger("tfdm")


@dataclasses.dataclass(frozen=True)
class Session:
    """One session of a run.

    Attributes:
      config: what is trained.
      folder: where.
      dataset: on what.
      strategy: on which devices.
      workers: the processes of the run.
      signals: what asks it to stop.
      progress: whether to show a progress bar on the standard error stream.
    """

    config: RunConfig
    folder: RunFolder
    dataset: ImageDataset
    strategy: tf.distribute.Strategy
    workers: Workers
    signals: StopSignals
    progress: bool

    # --- The course of a session ----------------------------------------------------------

    def summary_of_complete(self) -> dict[str, Any] | None:
        """Returns the summary of a run that is done and whole, which is said, else `None`."""
        steps, summary = self.config.steps, None
        if self.workers.is_chief:
            model_class: Any = registry.find_model(self.config.model).load()
            if not artefacts.missing_files(self.folder, steps, model_class.has_encoder):
                summary = artefacts.read_summary(self.folder, steps)
            if summary is not None:
                _logger.info("%s is complete: %d steps are trained", self.folder.path, steps)
        if self.workers.maximum(int(summary is not None)):
            return summary or {"steps": steps}
        return None

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
        summary: dict[str, Any] = {"steps": self.config.steps}
        if self.workers.is_chief:
            summary = self._finish(model, clock, rate)
        self.workers.wait()
        return summary

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
            if self.progress and self.workers.is_chief:
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
            with self.signals.deferred(), repeatable_graphs():
                model.fit(
                    batches,
                    verbose=0,
                    shuffle=False,
                    callbacks=RawLogs(callbacks, add_history=True, model=model),
                )
        return logger.steps_per_second if logger is not None else None

    def _finish(self, model: Any, clock: metrics.RunClock, rate: float | None) -> dict[str, Any]:
        """Writes what is missing of a trained run; returns its summary."""
        replicas, step = self.strategy.num_replicas_in_sync, self.config.steps
        if replicas > 1:
            # The files hold plain variables, not ones with a copy on each replica.
            mirrored, model = model, build_model(self.config, self.dataset.image_shape)
            restore_state(model, capture_state(mirrored))
        if not all(p.is_file() for p in artefacts.grid_paths(self.folder, step, model.has_encoder)):
            with contextlib.ExitStack() as stack:
                self._grids(Span(step, step), self._tensorboard(stack)).write(model, step)
        artefacts.write_networks(model, self.folder)
        summary = artefacts.read_summary(self.folder, step)
        if summary is None:
            summary = artefacts.summarize(
                self.config,
                self.folder,
                dataset_digest=self.dataset.digest,
                replicas=replicas,
                wall_seconds=clock.seconds(),
                steps_per_second=rate,
            )
            self.folder.write_summary(summary)
        return summary

    # --- Pieces ---------------------------------------------------------------------------

    @property
    def _store(self) -> CheckpointStore:
        return CheckpointStore(self.folder.checkpoints)

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

"""One session of a run: what is left to train, and what a finished run leaves."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfdm.datasets import ImageDataset, train_batches
from tfdm.errors import UserError
from tfdm.experiments import export
from tfdm.experiments.config import RunConfig
from tfdm.experiments.load import build_model, fitting, open_data, warn_if_changed
from tfdm.experiments.weights import WEIGHTS_NAME
from tfdm.models.registry import find_model
from tfdm.runs import CheckpointStore, RunFolder, provenance
from tfdm.training import grids, metrics
from tfdm.training.callbacks import Checkpointer, DivergenceGuard, RawLogs, Span, StopOnSignal
from tfdm.training.graphs import repeatable_graphs
from tfdm.training.held_out import HeldOutTerms
from tfdm.training.progress import ProgressBar
from tfdm.training.signals import StopSignals
from tfdm.training.state import capture_state, restore_state
from tfdm.training.strategy import Workers, check_batch_size, describe, make_strategy

_logger = logging.getLogger("tfdm")


def run_session(
    config: RunConfig,
    folder: RunFolder,
    dataset: ImageDataset | None,
    signals: StopSignals,
    hold: Callable[[], None],
    progress: bool,
) -> tuple[dict[str, Any], ImageDataset]:
    """Trains a run to its end; returns the content of `summary.json`, and the data.

    The caller holds the folder; of several workers the chief does, by `hold`, and others return
    `steps` alone. Errors are those of `tfdm.train`.
    """
    clock = metrics.RunClock()
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    strategy = make_strategy(config.strategy)
    check_batch_size(strategy, config.batch_size)
    workers = Workers(strategy)
    if config.strategy == "multi_worker":
        _on_chief(workers, hold)
    if dataset is None:
        dataset = open_data(config)
    config = config.for_images(dataset.image_shape)
    session = _Session(config, folder, dataset, strategy, workers, signals, progress)
    _on_chief(workers, session.record_config)
    _logger.info(
        "%s on %s: %d steps of batch %d, latent_dim %d, seed %d, %s, into %s",
        config.model, config.dataset, config.steps, config.batch_size,
        config.hyperparameters.latent_dim, config.seed, describe(strategy), config.folder,
    )  # fmt: skip
    return session.summary_of_complete() or session.go(clock), dataset


def _on_chief(workers: Workers, action: Callable[[], None]) -> None:
    """Runs what only the chief does; where it is refused, all workers end."""
    refusal = None
    if workers.is_chief:
        try:
            action()
        except UserError as error:
            refusal = error
    refused = workers.maximum(int(refusal is not None))
    if refusal is not None:
        raise refusal
    if refused:
        raise UserError("the chief worker refused the run; its message says why")


@dataclasses.dataclass(frozen=True)
class _Session:
    """What the steps of `run_session` share."""

    config: RunConfig
    folder: RunFolder
    dataset: ImageDataset
    strategy: tf.distribute.Strategy
    workers: Workers
    signals: StopSignals
    progress: bool

    def record_config(self) -> None:
        """Writes `config.json`, or checks that the folder's run is this one."""
        source = dict(find_model(self.config.model).source)
        flat = {
            **self.config.flat(),
            "image_shape": list(self.dataset.image_shape),
            "num_images": {name: len(images) for name, images in self.dataset.splits.items()},
            "dataset_digest": self.dataset.digest,
            **({"model_source": source} if source else {}),
            **provenance.software(),
            "command": provenance.command(),
        }
        warn_if_changed(self.folder.claim_config(flat, self.config.default_flat()))

    def summary_of_complete(self) -> dict[str, Any] | None:
        """Returns the summary of a run that is done and whole, which is said, else `None`."""
        steps, summary = self.config.steps, None
        has_encoder = find_model(self.config.model).load().has_encoder
        if self.workers.is_chief and export.is_whole(self.folder, steps, has_encoder):
            summary = export.read_summary(self.folder, steps)
            if summary is not None:
                _logger.info("%s is complete: %d steps are trained", self.folder.path, steps)
        is_complete = self.workers.maximum(int(summary is not None))
        return (summary or {"steps": steps}) if is_complete else None

    def go(self, clock: metrics.RunClock) -> dict[str, Any]:
        """Trains what is left to train and writes what is missing."""
        steps, is_chief = self.config.steps, self.workers.is_chief
        with self.strategy.scope():
            model = build_model(self.config, self.dataset.image_shape)
        start = self._resume(model)
        if start > steps:
            raise UserError(
                f"{self.folder.path} is trained for {start} steps already, "
                f"more than the {steps} asked for"
            )
        _on_chief(self.workers, lambda: self._go_on_after(start))
        if is_chief:
            earlier = metrics.last_record(self.folder).get("wall_seconds", 0.0)
            clock = metrics.RunClock(earlier + clock.seconds())
            if start < steps:  # It tells of an end that is not this run's any more.
                self.folder.summary_path.unlink(missing_ok=True)
                if source := find_model(self.config.model).source:
                    self.folder.record(model_source=source)
        rate = self._fit(model, start, clock) if start < steps else None
        summary = self._finish(model, clock, rate) if is_chief else {"steps": steps}
        self.workers.wait()
        return summary

    def _resume(self, model: Any) -> int:
        """Puts the newest good state into the model; returns its number of steps."""
        checkpoint = self._store.latest() if self.workers.is_chief else None
        if self.workers.maximum(int(checkpoint is not None)):
            arrays = capture_state(model) if checkpoint is None else checkpoint.arrays
            with fitting(self.folder.checkpoints):
                restore_state(model, self.workers.from_chief(arrays))
        return int(model.step.numpy())

    def _go_on_after(self, start: int) -> None:
        """Drops what was logged of later steps and says so; refuses to start a trained run anew."""
        folder, logged = self.folder, self.folder.logged_step()
        has_ended = folder.summary_path.exists() or (folder.weights / WEIGHTS_NAME).exists()
        if start == 0 and (has_ended or logged > self.config.checkpoint_every):
            raise UserError(
                f"{folder.path} was trained, for {logged} steps by its metrics.jsonl, but "
                f"{folder.checkpoints} holds no good checkpoint: put one back, or choose another "
                "--output_dir"
            )
        if start or logged:
            dropped = f", whose {logged - start} later steps are taken again"
            _logger.info("resuming after step %d%s", start, dropped if logged > start else "")
        folder.truncate_metrics(start)

    def _fit(self, model: Any, start: int, clock: metrics.RunClock) -> float | None:
        """Trains; returns the steps a second, on the chief."""
        config, span, is_chief = self.config, Span(start, self.config.steps), self.workers.is_chief
        guard = DivergenceGuard(
            span, (config.log_every, config.sample_every, config.checkpoint_every)
        )
        store = self._store if is_chief else None
        checkpointer = Checkpointer(span, config.checkpoint_every, guard, store)
        stopper = StopOnSignal(span, config.log_every, self.signals, checkpointer, self.workers)
        callbacks: list[Any] = [guard, checkpointer, stopper]
        logger = None
        with contextlib.ExitStack() as stack:
            if is_chief:
                writer = tf.summary.create_file_writer(str(self.folder.tensorboard))
                stack.callback(writer.close)
                trial = self.folder.path.resolve().name
                metrics.begin_session(writer, config.flat(), trial, start + 1)
                held_out = HeldOutTerms(
                    config.sample_every, self.dataset.splits["validation"], config.batch_size
                )
                logger = metrics.MetricsLogger(
                    span, config.log_every, self.folder, writer, clock, held_out
                )
                callbacks[1:1] = [logger, self._grids(span, writer)]
            if is_chief and self.progress:
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
            lists = RawLogs(callbacks, add_history=True, model=model)
            with self.signals.deferred(), repeatable_graphs():
                model.fit(batches, verbose=0, shuffle=False, callbacks=lists)
        return None if logger is None else logger.steps_per_second

    def _finish(self, model: Any, clock: metrics.RunClock, rate: float | None) -> dict[str, Any]:
        """Writes what is missing of a trained run; returns its summary."""
        replicas, step = self.strategy.num_replicas_in_sync, self.config.steps
        if replicas > 1:
            # The files hold plain variables, not ones with a copy on each replica.
            mirrored, model = model, build_model(self.config, self.dataset.image_shape)
            restore_state(model, capture_state(mirrored))
        if not all(p.is_file() for p in export.grid_paths(self.folder, step, model.has_encoder)):
            # TensorBoard had them when the step was taken.
            writer = tf.summary.create_noop_writer()
            self._grids(Span(step, step), writer).write(model, step)
        export.write_networks(model, self.folder)
        summary = export.read_summary(self.folder, step)
        if summary is None:
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
                "replicas": replicas,
                "peak_memory_mib": export.peak_memory_mib(),
                "dataset_digest": self.dataset.digest,
                **provenance.software(),
            }
            self.folder.write_summary(summary)
        return summary

    @property
    def _store(self) -> CheckpointStore:
        # `Checkpointer` has every worker look for values that are not finite.
        return CheckpointStore(self.folder.checkpoints, finite=False)

    def _grids(self, span: Span, writer: tf.summary.SummaryWriter) -> grids.ImageGrids:
        images = grids.fixed_images(self.dataset.splits["validation"])
        every = self.config.sample_every
        return grids.ImageGrids(span, every, self.folder, writer, images, self.config.seed)

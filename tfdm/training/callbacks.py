"""What happens around the training steps of `fit`: guard, checkpoints, stopping.

`fit` reports batches; these callbacks see completed steps, counted over all sessions of a run.
They run in the order of their list: the guard first, so that nothing is written after a loss
stopped being finite, then what is logged, then the checkpoint, which thus never lies beyond the
last logged line, then stopping.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import keras

from tfdm.errors import DivergedError, Terminated
from tfdm.runs import CheckpointStore
from tfdm.training.signals import StopSignals
from tfdm.training.state import capture_state, first_non_finite
from tfdm.training.strategy import Workers


@dataclasses.dataclass(frozen=True)
class Span:
    """One session, from `start` steps completed before it to `end`, when the run is done."""

    start: int
    end: int


@dataclasses.dataclass(eq=False)
class StepCallback(keras.callbacks.Callback):
    """A callback that knows `step`, the completed steps of the run, without asking the device."""

    span: Span

    def __post_init__(self) -> None:
        super().__init__()
        self.step = self.span.start

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Counts; `batch` is the number of the execution's last step, were it a full one."""
        previous, self.step = self.step, min(self.span.start + batch + 1, self.span.end)
        self.after_steps(previous, logs or {})

    def after_steps(self, previous: int, logs: dict[str, Any]) -> None:
        """Called after each execution, with the steps before it and the logs of its last step."""
        raise NotImplementedError

    def is_due(self, previous: int, every: int) -> bool:
        """Says whether a multiple of `every` was reached or passed, or the run is done."""
        return self.step // every > previous // every or self.step == self.span.end


class RawLogs(keras.callbacks.CallbackList):
    """Hands the logs to the callbacks as they are; as numbers they would wait for the device."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        for callback in self.callbacks:
            callback.on_train_batch_end(batch, logs)


@dataclasses.dataclass(eq=False)
class DivergenceGuard(StepCallback):
    """Ends a run whose losses are not finite, before anything of it is written."""

    intervals: Iterable[int]  # steps between two looks, of each writer

    def after_steps(self, previous: int, logs: dict[str, Any]) -> None:
        if any(self.is_due(previous, every) for every in self.intervals):
            self.check()

    def check(self) -> None:
        """Raises `DivergedError` with the first step at which a loss was not finite."""
        found = self.model.divergence()
        if found is not None:
            raise DivergedError(*found)


@dataclasses.dataclass(eq=False)
class Checkpointer(StepCallback):
    """Writes the model's state; every worker checks it, the chief writes it."""

    every: int  # steps between two checkpoints; the last step has one in any case
    guard: DivergenceGuard
    store: CheckpointStore | None  # `None` on workers that do not write

    def __post_init__(self) -> None:
        super().__post_init__()
        self._saved_step = self.step

    def after_steps(self, previous: int, logs: dict[str, Any]) -> None:
        if self.is_due(previous, self.every):
            self.save()

    def save(self) -> None:
        """Writes the state unless it stands already; `DivergedError` where it is not finite."""
        if self._saved_step == self.step:
            return
        self.guard.check()
        arrays = capture_state(self.model)
        name = first_non_finite(arrays)
        if name is not None:
            raise DivergedError(self.step, name)
        if self.store is not None:
            self.store.save(self.step, arrays)
        self._saved_step = self.step


@dataclasses.dataclass(eq=False)
class StopOnSignal(StepCallback):
    """Ends a run that was asked to stop, after a checkpoint."""

    # Steps between two questions among several workers, which have to stop at the same step.
    every: int
    signals: StopSignals
    checkpointer: Checkpointer
    workers: Workers

    def after_steps(self, previous: int, logs: dict[str, Any]) -> None:
        """Raises `Terminated` when a signal has come and the state stands in a checkpoint."""
        if self.workers.number > 1 and not self.is_due(previous, self.every):
            return
        received = self.workers.maximum(self.signals.received)
        if received:
            self.checkpointer.save()
            raise Terminated(received, self.step)

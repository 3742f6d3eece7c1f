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
    """A callback that knows the number of completed steps without asking the device.

    Attributes:
      span: the steps of the session.
      step: completed steps, all sessions of the run counted.
    """

    span: Span

    def __post_init__(self) -> None:
        super().__init__()
        self.step = self.span.start

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Counts; `batch` is the number of the execution's last step, were it a full one."""
        previous, self.step = self.step, min(self.span.start + batch + 1, self.span.end)
        self.after_steps(previous, logs or {})

    def after_steps(self, previous: int, logs: dict[str, Any]) -> None:
        """Called after each execution, of one step or more.

        Args:
          previous: completed steps before the execution; `self.step` are those after it.
          logs: the scalar logs of the last step, yet on the device.
        """
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
    """Ends a run whose losses are not finite, before anything of it is written.

    Attributes:
      intervals: steps between two looks; each writer's interval belongs here.
    """

    intervals: Iterable[int]

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
    """Writes the model's state; every worker checks it, the chief writes it.

    Attributes:
      every: steps between two checkpoints; the last step has one in any case.
      guard: is asked before each checkpoint.
      store: where they go, `None` on workers that do not write.
    """

    every: int
    guard: DivergenceGuard
    store: CheckpointStore | None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._saved_step = self.step

    def after_steps(self, previous: int, logs: dict[str, Any]) -> None:
        if self.is_due(previous, self.every):
            self.save()

    def save(self) -> None:
        """Writes the state after the current step unless it stands already.

        Raises:
          DivergedError: a loss was, or a variable is, not finite. Nothing was written.
        """
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
    """Ends a run that was asked to stop, after a checkpoint.

    Attributes:
      every: steps between two questions among several workers, which have to stop at the same
        step and need a message for each question.
      signals: what was received.
      checkpointer: writes the checkpoint.
      workers: the processes of the run.
    """

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

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
    """The steps of one session.

    Attributes:
      start: steps completed before the session.
      end: steps completed when the run is done.
    """

    start: int
    end: int


class StepCallback(keras.callbacks.Callback):
    """A callback that knows the number of completed steps without asking the device.

    Args:
      span: the steps of the session.

    Attributes:
      step: completed steps, all sessions of the run counted.
    """

    def __init__(self, span: Span) -> None:
        super().__init__()
        self.span = span
        self.step = span.start

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
    """Hands the logs to the callbacks as they are.

    The list of Keras turns every log into a number after every step, which makes the host wait
    for the device.
    """

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Calls every callback in order."""
        for callback in self.callbacks:
            callback.on_train_batch_end(batch, logs)


class DivergenceGuard(StepCallback):
    """Ends a run whose losses are not finite, before anything of it is written.

    Args:
      span: the steps of the session.
      intervals: steps between two looks; each writer's interval belongs here.
    """

    def __init__(self, span: Span, intervals: Iterable[int]) -> None:
        super().__init__(span)
        self._intervals = tuple(intervals)

    def after_steps(self, previous: int, logs: dict[str, Any]) -> None:
        """Looks when one of the intervals ends."""
        if any(self.is_due(previous, every) for every in self._intervals):
            self.check()

    def check(self) -> None:
        """Looks now.

        Raises:
          DivergedError: names the first step at which a loss was not finite, and the loss.
        """
        found = self.model.divergence()
        if found is not None:
            raise DivergedError(*found)


class Checkpointer(StepCallback):
    """Writes the model's state; every worker checks it, the chief writes it.

    Args:
      span: the steps of the session.
      every: steps between two checkpoints; the last step has one in any case.
      guard: is asked before each checkpoint.
      store: where they go, `None` on workers that do not write.
    """

    def __init__(
        self, span: Span, every: int, guard: DivergenceGuard, store: CheckpointStore | None
    ) -> None:
        super().__init__(span)
        self._every = every
        self._guard = guard
        self._store = store
        self._saved_step = span.start

    def after_steps(self, previous: int, logs: dict[str, Any]) -> None:
        """Writes when a checkpoint is due."""
        if self.is_due(previous, self._every):
            self.save()

    def save(self) -> None:
        """Writes the state after the current step unless it stands already.

        Raises:
          DivergedError: a loss was, or a variable is, not finite. Nothing was written.
        """
        if self._saved_step == self.step:
            return
        self._guard.check()
        arrays = capture_state(self.model)
        name = first_non_finite(arrays)
        if name is not None:
            raise DivergedError(self.step, name)
        if self._store is not None:
            self._store.save(self.step, arrays)
        self._saved_step = self.step


class StopOnSignal(StepCallback):
    """Ends a run that was asked to stop, after a checkpoint.

    Several workers have to stop at the same step: there they ask each other at the end of every
    interval, since every question takes a message.

    Args:
      span: the steps of the session.
      every: steps between two questions among several workers.
      signals: what was received.
      checkpointer: writes the checkpoint.
      workers: the processes of the run.
    """

    def __init__(
        self,
        span: Span,
        every: int,
        signals: StopSignals,
        checkpointer: Checkpointer,
        workers: Workers,
    ) -> None:
        super().__init__(span)
        self._every = every
        self._signals = signals
        self._checkpointer = checkpointer
        self._workers = workers

    def after_steps(self, previous: int, logs: dict[str, Any]) -> None:
        """Stops when a signal has come.

        Raises:
          Terminated: the state after this step stands in a checkpoint.
        """
        if self._workers.number > 1 and not self.is_due(previous, self._every):
            return
        received = self._workers.maximum(self._signals.received)
        if received:
            self._checkpointer.save()
            raise Terminated(received, self.step)

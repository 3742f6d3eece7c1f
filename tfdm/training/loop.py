"""The one resumable loop: steps, evaluations, checkpoints, signals, progress.

The critics, the classifiers that measure samples, the fits of the estimators and the synthetic
Gaussians train by it; a run's model trains by `fit` of Keras. What a step does is a function of the
state and the number of the step, so that a training that was killed and started again ends with the
same bits as one that was not.
"""

from __future__ import annotations

import abc
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tfdm.errors import DivergedError, Terminated
from tfdm.runs.checkpoints import CheckpointStore, NonFiniteError
from tfdm.training.graphs import repeatable_graphs
from tfdm.training.signals import StopSignals
from tfdm.training.state import capture_state, restore_state

_logger = logging.getLogger("tfdm")


class ResumableTraining(abc.ABC):
    """What the loop trains."""

    optimizers: Mapping[str, Any]  # by name, built
    owner = ""  # whose variables they are, for the report of one that is not finite

    @property
    @abc.abstractmethod
    def variables(self) -> list[Any]:
        """All variables but those of the optimisers, always in the same order."""

    @abc.abstractmethod
    def take_steps(self, step: int, number: int) -> Mapping[str, float] | None:
        """Takes `number` steps after `step` completed ones; returns terms to show, such as losses.

        Raises `DivergedError` where a value is not finite.
        """

    def evaluate(self, step: int) -> None:
        """Evaluates what `step` completed steps have come to."""
        raise NotImplementedError

    @property
    def is_over(self) -> bool:
        """Whether the training ends before its last step."""
        return False

    def state(self) -> dict[str, np.ndarray]:
        """Returns the whole state as named arrays."""
        return capture_state(self)

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Puts a state back; raises `ValueError` when it is that of another training."""
        restore_state(self, arrays)


def run_resumable(
    training: ResumableTraining,
    num_steps: int,
    *,
    store: CheckpointStore | None = None,
    steps_a_save: int = 100,
    evaluate_every: int | None = None,
    steps_a_call: int = 1,
    progress: Callable[..., None] | None = None,
) -> int:
    """Trains from the newest checkpoint or the start to the end; returns the completed steps.

    Args:
      training: what is trained.
      num_steps: the steps of the whole training.
      store: of checkpoints; without one nothing is saved, and signals end the process as ever.
      steps_a_save: a checkpoint is written whenever a multiple of it is completed, and at the end.
      evaluate_every: `evaluate` is called at every multiple of it, 0 included, and at the last
        step, unless the training is over; `None` never calls it.
      steps_a_call: the most steps of one call of `take_steps`.
      progress: called after every call with (steps completed, steps), and with the terms, if any.

    Raises:
      DivergedError: a value is not finite; the last good checkpoint stands.
      Terminated: SIGTERM or SIGINT asked to stop; a checkpoint was written.
    """
    signals, step = StopSignals(), 0
    with contextlib.ExitStack() as stack:
        stack.enter_context(repeatable_graphs())
        if store is not None:
            stack.enter_context(signals)
            stack.enter_context(signals.deferred())
        checkpoint = None if store is None else store.latest()
        if checkpoint is not None:
            training.restore(checkpoint.arrays)
            step = checkpoint.step
            if step >= num_steps or training.is_over:
                _logger.info("%s is complete: %d steps are trained", checkpoint.path.parent, step)
        elif evaluate_every is not None:
            training.evaluate(0)
        intervals = [evaluate_every] if store is None else [evaluate_every, steps_a_save]
        while step < num_steps and not training.is_over:
            ends = [step - step % every + every for every in intervals if every is not None]
            until = min(step + steps_a_call, num_steps, *ends)
            terms = training.take_steps(step, until - step)
            step = until
            is_last = step == num_steps
            if evaluate_every is not None and (step % evaluate_every == 0 or is_last):
                if not training.is_over:
                    training.evaluate(step)
            if progress is not None:
                progress(step, num_steps, *([terms] if terms else []))
            if store is None:
                continue
            if signals.received or step % steps_a_save == 0 or is_last or training.is_over:
                try:
                    store.save(step, training.state())
                except NonFiniteError as error:
                    raise DivergedError(step, f"{training.owner} {error.name}".strip()) from error
            if signals.received:
                raise Terminated(signals.received, step)
    return step

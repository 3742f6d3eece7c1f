"""Fits a network on fresh codes at every step, and stops when held-out codes say so.

The batches of a step are a function of the step; many steps run in one traced call, since a step
on codes costs little more than the call itself. Shapes: T steps of a call, B batch, L latent
dimension.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfdm.training.adam import FusedAdam

FloatArray = npt.NDArray[np.float64]
Progress = Callable[[int, int], None]

# Numbers in the batches of one call: some MiB.
_NUMBERS = 2**20


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How a fit runs.

    Attributes:
      steps: the most steps that it takes.
      learning_rate: of Adam.
      adam_beta_1: decay of the first moment.
      adam_beta_2: decay of the second moment.
      evaluate_every: steps between two looks at held-out codes.
      patience: looks without improvement after which the fit stops; 0 never stops it.
      keep_best: whether the variables of the best look are put back at the end.
      clip_norm: largest norm of the whole gradient; 0 does not clip.
    """

    steps: int
    learning_rate: float
    adam_beta_1: float
    adam_beta_2: float
    evaluate_every: int
    patience: int
    keep_best: bool
    clip_norm: float = 0.0


@dataclasses.dataclass(frozen=True)
class Fit:
    """What became of a fit.

    Attributes:
      steps: how many steps were taken.
      best_step: the step with the lowest held-out loss; that of the variables, if they were kept.
      held_out_loss: the lowest held-out loss, in nats.
      stopped_early: whether patience ran out.
      diverged_at: the step at which a loss was not finite, `None` if none was. The variables are
        then those of the best look before it.
      curve: (step, held-out loss) at every look.
    """

    steps: int
    best_step: int
    held_out_loss: float
    stopped_early: bool
    diverged_at: int | None
    curve: tuple[tuple[int, float], ...]


def fit(
    variables: Sequence[tf.Variable | keras.Variable],
    loss: Callable[[Mapping[str, tf.Tensor], tf.Tensor], tf.Tensor],
    batch: Callable[[int], Mapping[str, FloatArray]],
    held_out_loss: Callable[[], float],
    schedule: Schedule,
    progress: Progress | None = None,
) -> Fit:
    """Minimises a loss by Adam.

    Args:
      variables: what is moved.
      loss: (the arrays of a batch, the step) -> scalar; traced, anything random in it a function of
        the step.
      batch: step -> the arrays of its batch.
      held_out_loss: the loss on codes that are never trained on.
      schedule: how long and how fast.
      progress: called with (steps done, steps) after every look.

    Raises:
      ValueError: the loss is not finite before the first look at held-out codes that is.
    """
    variables = [v.value if isinstance(v, keras.Variable) else v for v in variables]
    optimizer = FusedAdam(
        schedule.learning_rate, schedule.adam_beta_1, schedule.adam_beta_2, epsilon=1e-8
    )
    optimizer.build(variables)
    run = _make_run(variables, loss, optimizer, schedule.clip_norm)
    best = _Best(variables)
    best.look(0, held_out_loss())
    step, diverged_at = 0, None
    chunk = _steps_of_a_call(batch(0))
    while step < schedule.steps and diverged_at is None and not best.exhausted(schedule.patience):
        until = min(step + schedule.evaluate_every, schedule.steps)
        while step < until and diverged_at is None:
            number = min(chunk, until - step)
            batches = [batch(step + i) for i in range(number)]
            stacked = {
                name: np.stack([b[name] for b in batches]).astype(np.float32) for name in batches[0]
            }
            bad = int(run(stacked, tf.constant(step, tf.int64)))
            diverged_at = step + bad if bad >= 0 else None
            step += number
        if diverged_at is None:
            value = held_out_loss()
            best.look(step, value)
            diverged_at = None if math.isfinite(value) else step
        if progress is not None:
            progress(step, schedule.steps)
    if diverged_at is not None and not math.isfinite(best.value):
        raise ValueError(
            f"the loss is not finite at step {diverged_at}, expected a finite one: "
            "choose a smaller learning rate"
        )
    stopped_early = best.exhausted(schedule.patience)
    if schedule.keep_best or diverged_at is not None:
        best.restore()
    return Fit(
        steps=step,
        best_step=best.step,
        held_out_loss=best.value,
        stopped_early=stopped_early,
        diverged_at=diverged_at,
        curve=tuple(best.curve),
    )


class _Best:
    """The variables at the lowest held-out loss, and how long ago it was."""

    def __init__(self, variables: Sequence[tf.Variable]) -> None:
        self._variables = variables
        self._values: list[np.ndarray] = []
        self.step, self.value, self._since = 0, math.inf, 0
        self.curve: list[tuple[int, float]] = []

    def look(self, step: int, value: float) -> None:
        """Takes a held-out loss in."""
        self.curve.append((step, value))
        self._since += 1
        if value < self.value:
            self.step, self.value, self._since = step, value, 0
            self._values = [variable.numpy() for variable in self._variables]

    def exhausted(self, patience: int) -> bool:
        """Says whether there were `patience` looks without improvement."""
        return 0 < patience <= self._since

    def restore(self) -> None:
        """Puts the best variables back."""
        for variable, value in zip(self._variables, self._values, strict=True):
            variable.assign(value)


def _steps_of_a_call(arrays: Mapping[str, FloatArray]) -> int:
    numbers = sum(array.size for array in arrays.values())
    return max(1, min(100, _NUMBERS // max(1, numbers)))


def _make_run(
    variables: Sequence[tf.Variable],
    loss: Callable[[Mapping[str, tf.Tensor], tf.Tensor], tf.Tensor],
    optimizer: FusedAdam,
    clip_norm: float,
) -> Callable[[Mapping[str, npt.NDArray[np.float32]], tf.Tensor], tf.Tensor]:
    """Returns a traced function: batches [T, ...] -> the first step with a bad loss, or −1.

    From a bad step on nothing is moved any more.
    """

    def one_step(batch: Mapping[str, tf.Tensor], step: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            value = loss(batch, step)
        gradients = tape.gradient(value, variables)
        norm = tf.linalg.global_norm(gradients)
        if clip_norm > 0.0:
            gradients, _ = tf.clip_by_global_norm(gradients, clip_norm, norm)
        is_good = tf.math.is_finite(value) & tf.math.is_finite(norm)

        def move() -> tf.Tensor:
            optimizer.apply(gradients, variables)
            return tf.constant(True)

        return tf.cond(is_good, move, lambda: tf.constant(False))

    @tf.function(autograph=False, reduce_retracing=True)
    def run(batches: Mapping[str, tf.Tensor], start: tf.Tensor) -> tf.Tensor:
        number = tf.shape(next(iter(batches.values())))[0]

        def body(index: tf.Tensor, bad: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            batch = {name: array[index] for name, array in batches.items()}
            is_good = one_step(batch, start + tf.cast(index, tf.int64))
            return index + 1, tf.where(is_good, bad, index)

        _, bad = tf.while_loop(
            lambda index, bad: (index < number) & (bad < 0),
            body,
            (tf.constant(0), tf.constant(-1)),
            parallel_iterations=1,
        )
        return bad

    return run

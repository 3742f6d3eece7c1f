"""Fits a network on fresh codes at every step, and stops when held-out codes say so.

The batches of a step are a function of the step; many steps run in one traced call, since a step
on codes costs little more than the call itself. Shapes: T steps of a call, B batch, L latent
dimension.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfdm.runs.checkpoints import CheckpointStore
from tfdm.training.loop import ResumableTraining, run_resumable

FloatArray = npt.NDArray[np.float64]
Progress = Callable[[int, int], None]

# Numbers in the batches of one call: some MiB.
_NUMBERS = 2**20
_STEPS_A_SAVE = 2000


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
    state: Path | None = None,
) -> Fit:
    """Minimises a loss by Adam.

    Args:
      variables: what is moved.
      loss: (the arrays of a batch, the step) -> scalar; traced, anything random in it a function of
        the step.
      batch: step -> the arrays of its batch.
      held_out_loss: the loss on codes that are never trained on.
      schedule: how long and how fast.
      progress: called with (steps done, steps).
      state: a folder of this fit alone, from which a fit that was broken off goes on to the same
        bits; `None` keeps nothing.

    Raises:
      ValueError: the loss is not finite before the first look at held-out codes that is.
      Terminated: with `state`, SIGTERM or SIGINT asked to stop; a checkpoint was written.
    """
    training = _FitTraining(variables, loss, batch, held_out_loss, schedule)
    steps = run_resumable(
        training,
        schedule.steps,
        # The held-out losses may be infinite.
        store=None if state is None else CheckpointStore(state, keep=1, finite=False),
        steps_a_save=_STEPS_A_SAVE,
        steps_a_look=schedule.evaluate_every,
        steps_a_call=_steps_of_a_call(batch(0)),
        progress=progress,
    )
    best = training.best
    if training.diverged_at is not None and not math.isfinite(best.value):
        raise ValueError(
            f"the loss is not finite at step {training.diverged_at}, expected a finite one: "
            "choose a smaller learning rate"
        )
    stopped_early = best.exhausted(schedule.patience)
    if schedule.keep_best or training.diverged_at is not None:
        best.put_back()
    return Fit(
        steps=steps,
        best_step=best.step,
        held_out_loss=best.value,
        stopped_early=stopped_early,
        diverged_at=training.diverged_at,
        curve=tuple(best.curve),
    )


class _FitTraining(ResumableTraining):
    """The variables on their way to the lowest held-out loss."""

    def __init__(
        self,
        variables: Sequence[tf.Variable | keras.Variable],
        loss: Callable[[Mapping[str, tf.Tensor], tf.Tensor], tf.Tensor],
        batch: Callable[[int], Mapping[str, FloatArray]],
        held_out_loss: Callable[[], float],
        schedule: Schedule,
    ) -> None:
        self._variables = [v.value if isinstance(v, keras.Variable) else v for v in variables]
        optimizer = keras.optimizers.Adam(
            schedule.learning_rate, schedule.adam_beta_1, schedule.adam_beta_2, epsilon=1e-8
        )
        optimizer.build(self._variables)
        self.optimizers = {"adam": optimizer}
        self.best = _Best(self._variables)
        self.diverged_at: int | None = None
        self._batch, self._held_out_loss, self._patience = batch, held_out_loss, schedule.patience
        self._run = _make_run(self._variables, loss, optimizer, schedule.clip_norm)

    @property
    def variables(self) -> list[tf.Variable]:
        """What is moved."""
        return self._variables

    @property
    def is_over(self) -> bool:
        """Whether the loss is not finite any more, or patience ran out."""
        return self.diverged_at is not None or self.best.exhausted(self._patience)

    def take_steps(self, step: int, number: int) -> None:
        """Takes steps in one call; from a bad one on nothing is moved."""
        batches = [self._batch(step + i) for i in range(number)]
        stacked = {
            name: np.stack([b[name] for b in batches]).astype(np.float32) for name in batches[0]
        }
        bad = int(self._run(stacked, tf.constant(step, tf.int64)))
        self.diverged_at = step + bad if bad >= 0 else None

    def look(self, step: int) -> None:
        """Takes the held-out loss in."""
        value = self._held_out_loss()
        self.best.look(step, value)
        if step > 0 and not math.isfinite(value):
            self.diverged_at = step

    def state(self) -> dict[str, np.ndarray]:
        """The variables, the optimiser, and what was seen at the looks."""
        diverged_at = -1 if self.diverged_at is None else self.diverged_at
        return {**super().state(), **self.best.state(), "diverged_at": np.array(diverged_at)}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Puts a state back."""
        own = {name: a for name, a in arrays.items() if name.startswith(("model/", "optimizers/"))}
        super().restore(own)
        self.best.restore(arrays)
        diverged_at = int(arrays["diverged_at"])
        self.diverged_at = None if diverged_at < 0 else diverged_at


class _Best:
    """The variables at the lowest held-out loss, and the looks until now."""

    def __init__(self, variables: Sequence[tf.Variable]) -> None:
        self._variables = variables
        self._values: list[np.ndarray] = []
        self.step, self.value, self._since = 0, math.inf, 0
        self.curve: list[tuple[int, float]] = []

    def look(self, step: int, value: float) -> None:
        """Takes a held-out loss in."""
        if self._improves(step, value):
            self._values = [variable.numpy() for variable in self._variables]

    def _improves(self, step: int, value: float) -> bool:
        self.curve.append((step, value))
        self._since += 1
        if value < self.value:
            self.step, self.value, self._since = step, value, 0
        return self._since == 0

    def exhausted(self, patience: int) -> bool:
        """Says whether there were `patience` looks without improvement."""
        return 0 < patience <= self._since

    def put_back(self) -> None:
        """Puts the best variables back."""
        for variable, value in zip(self._variables, self._values, strict=True):
            variable.assign(value)

    def state(self) -> dict[str, np.ndarray]:
        """The looks and the best variables as named arrays."""
        steps, losses = zip(*self.curve, strict=True)
        values = {f"best/{i:04d}": value for i, value in enumerate(self._values)}
        return {"curve/steps": np.array(steps), "curve/losses": np.array(losses), **values}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes the looks in again."""
        for step, loss in zip(arrays["curve/steps"], arrays["curve/losses"], strict=True):
            self._improves(int(step), float(loss))
        self._values = [arrays[name] for name in sorted(arrays) if name.startswith("best/")]


def _steps_of_a_call(arrays: Mapping[str, FloatArray]) -> int:
    numbers = sum(array.size for array in arrays.values())
    return max(1, min(100, _NUMBERS // max(1, numbers)))


def _make_run(
    variables: Sequence[tf.Variable],
    loss: Callable[[Mapping[str, tf.Tensor], tf.Tensor], tf.Tensor],
    optimizer: keras.optimizers.Adam,
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

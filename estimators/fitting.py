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

from tfdm.estimators.config import FitConfig
from tfdm.runs.checkpoints import CheckpointStore
from tfdm.statistics import FloatArray
from tfdm.training.loop import ResumableTraining, run_resumable

Loss = Callable[[Mapping[str, tf.Tensor], tf.Tensor], tf.Tensor]
Batch = Callable[[int], Mapping[str, FloatArray]]

# Numbers in the batches of one call: some MiB.
_NUMBERS = 2**20
_STEPS_A_SAVE = 2000


@dataclasses.dataclass(frozen=True)
class Fit:
    """What became of a fit; one that diverged has the variables of the best evaluation before."""

    steps: int  # how many were taken
    best_step: int  # with the lowest held-out loss
    held_out_loss: float  # the lowest, in nats
    stopped_early: bool  # whether patience ran out
    diverged_at: int | None  # the step at which a loss was not finite
    curve: tuple[tuple[int, float], ...]  # (step, held-out loss) of every evaluation

    @property
    def still_improving(self) -> bool:
        """Whether the last evaluation was the best, at the step limit."""
        ended = self.stopped_early or self.diverged_at is not None
        return not ended and self.best_step == self.steps > 0


def fit(
    variables: Sequence[tf.Variable | keras.Variable],
    loss: Loss,
    batch: Batch,
    held_out_loss: Callable[[], float],
    config: FitConfig,
    *,
    keep_best: bool = True,
    clip_norm: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
    state: Path | None = None,
) -> Fit:
    """Minimises a loss by Adam.

    Args:
      variables: what is moved.
      loss: (the arrays of a batch, the step) -> scalar, traced, a function of these alone.
      batch: step -> the arrays of its batch.
      held_out_loss: the loss on codes that are never trained on.
      config: how long and how fast.
      keep_best: whether the variables of the best evaluation are put back at the end.
      clip_norm: largest norm of the whole gradient; 0 does not clip.
      progress: called with (steps done, steps).
      state: a folder of this fit alone, from which an interrupted fit is resumed.

    Raises:
      ValueError: the loss is not finite before the first evaluation that is.
      Terminated: with `state`, SIGTERM or SIGINT asked to stop; a checkpoint was written.
    """
    training = _FitTraining(variables, loss, batch, held_out_loss, config, clip_norm)
    numbers = sum(array.size for array in batch(0).values())
    steps = run_resumable(
        training,
        config.steps,
        # The held-out losses may be infinite.
        store=None if state is None else CheckpointStore(state, keep=1, finite=False),
        steps_a_save=_STEPS_A_SAVE,
        evaluate_every=config.evaluate_every,
        steps_a_call=max(1, min(100, _NUMBERS // max(1, numbers))),
        progress=progress,
    )
    best_step, best_value = training.best
    diverged_at, stopped_early = training.diverged_at, training.is_exhausted
    if diverged_at is not None and not math.isfinite(best_value):
        raise ValueError(
            f"the loss is not finite at step {diverged_at}, expected a finite one: "
            "choose a smaller learning rate"
        )
    if keep_best or diverged_at is not None:
        training.put_back()
    return Fit(steps, best_step, best_value, stopped_early, diverged_at, tuple(training.curve))


class _FitTraining(ResumableTraining):
    def __init__(
        self,
        variables: Sequence[tf.Variable | keras.Variable],
        loss: Loss,
        batch: Batch,
        held_out_loss: Callable[[], float],
        config: FitConfig,
        clip_norm: float,
    ) -> None:
        self._variables = [v.value if isinstance(v, keras.Variable) else v for v in variables]
        betas = config.adam_beta_1, config.adam_beta_2
        adam = keras.optimizers.Adam(config.learning_rate, *betas, epsilon=1e-8)
        adam.build(self._variables)
        self.optimizers = {"adam": adam}
        self.curve: list[tuple[int, float]] = []
        self.diverged_at: int | None = None
        self._best_values: list[np.ndarray] = []
        self._loss, self._batch, self._held_out_loss = loss, batch, held_out_loss
        self._patience, self._clip_norm = config.patience, clip_norm
        self._traced = tf.function(self._run, autograph=False, reduce_retracing=True)

    @property
    def variables(self) -> list[tf.Variable]:
        return self._variables

    @property
    def best(self) -> tuple[int, float]:
        """Step and value of the lowest held-out loss, (0, inf) where there is none."""
        known = [point for point in self.curve if point[1] < math.inf]
        return min(known, key=lambda point: point[1], default=(0, math.inf))

    @property
    def is_exhausted(self) -> bool:
        """Whether there were `patience` evaluations without improvement."""
        best_step = self.best[0]
        return 0 < self._patience <= sum(step > best_step for step, _ in self.curve)

    @property
    def is_over(self) -> bool:
        return self.diverged_at is not None or self.is_exhausted

    def take_steps(self, step: int, number: int) -> None:
        """Takes steps in one call; from a bad one on nothing is moved."""
        batches = [self._batch(step + i) for i in range(number)]
        stacked = {
            name: np.stack([b[name] for b in batches]).astype(np.float32) for name in batches[0]
        }
        bad = int(self._traced(stacked, tf.constant(step, tf.int64)))
        self.diverged_at = step + bad if bad >= 0 else None

    def evaluate(self, step: int) -> None:
        value = self._held_out_loss()
        if value < self.best[1]:
            self._best_values = [variable.numpy() for variable in self._variables]
        self.curve.append((step, value))
        if step > 0 and not math.isfinite(value):
            self.diverged_at = step

    def put_back(self) -> None:
        for variable, value in zip(self._variables, self._best_values, strict=True):
            variable.assign(value)

    def state(self) -> dict[str, np.ndarray]:
        best = {f"best/{i:04d}": value for i, value in enumerate(self._best_values)}
        diverged_at = np.array(-1 if self.diverged_at is None else self.diverged_at)
        curve = np.array(self.curve)
        return {**super().state(), **best, "curve": curve, "diverged_at": diverged_at}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        own = {name: a for name, a in arrays.items() if name.startswith(("model/", "optimizers/"))}
        super().restore(own)
        self.curve = [(int(step), float(value)) for step, value in arrays["curve"]]
        self._best_values = [arrays[name] for name in sorted(arrays) if name.startswith("best/")]
        diverged_at = int(arrays["diverged_at"])
        self.diverged_at = None if diverged_at < 0 else diverged_at

    def _step(self, batch: Mapping[str, tf.Tensor], step: tf.Tensor) -> tf.Tensor:
        """Moves the variables, unless the loss or its gradient is not finite; says whether."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._variables)
            value = self._loss(batch, step)
        gradients = tape.gradient(value, self._variables)
        norm = tf.linalg.global_norm(gradients)
        if self._clip_norm > 0.0:
            gradients, _ = tf.clip_by_global_norm(gradients, self._clip_norm, norm)

        def move() -> tf.Tensor:
            self.optimizers["adam"].apply(gradients, self._variables)
            return tf.constant(True)

        is_good = tf.math.is_finite(value) & tf.math.is_finite(norm)
        return tf.cond(is_good, move, lambda: tf.constant(False))

    def _run(self, batches: Mapping[str, npt.NDArray[np.float32]], start: tf.Tensor) -> tf.Tensor:
        """Batches [T, ...] -> the first step with a bad loss, or −1; none is taken after it."""
        number = tf.shape(next(iter(batches.values())))[0]

        def body(index: tf.Tensor, bad: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            batch = {name: array[index] for name, array in batches.items()}
            is_good = self._step(batch, start + tf.cast(index, tf.int64))
            return index + 1, tf.where(is_good, bad, index)

        _, bad = tf.while_loop(
            lambda index, bad: (index < number) & (bad < 0),
            body,
            (tf.constant(0), tf.constant(-1)),
            parallel_iterations=1,
        )
        return bad

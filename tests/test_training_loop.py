"""The resumable loop: its calls, evaluations, saves and reports, resuming, signals, divergence."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfdm.errors import DivergedError, Terminated
from tfdm.runs import CheckpointStore
from tfdm.training.loop import ResumableTraining, run_resumable


class Sum(ResumableTraining):
    """Adds up the numbers of its steps and notes what the loop calls."""

    optimizers: Mapping[str, object] = {}
    owner = "the sum's"

    def __init__(self, over_at: int = 10**6, bad_at: int = 10**6) -> None:
        self.total = tf.Variable(0.0)
        self.calls: list[tuple[int, int]] = []
        self.evaluations: list[int] = []
        self._over_at, self._bad_at = over_at, bad_at

    @property
    def variables(self) -> list[tf.Variable]:
        """The sum."""
        return [self.total]

    @property
    def is_over(self) -> bool:
        """Whether the sum is large enough."""
        return float(self.total) >= self._over_at

    def take_steps(self, step: int, number: int) -> dict[str, float] | None:
        """Adds the numbers."""
        self.calls.append((step, number))
        for current in range(step, step + number):
            self.total.assign_add(np.nan if current == self._bad_at else current + 1.0)
        return {"total": float(self.total)} if step else None

    def evaluate(self, step: int) -> None:
        """Notes the step."""
        self.evaluations.append(step)


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    """An empty store that keeps everything."""
    return CheckpointStore(tmp_path, keep=100)


def test_calls_end_at_evaluations_and_saves(store: CheckpointStore) -> None:
    training, reports = Sum(), []
    steps = run_resumable(
        training,
        14,
        store=store,
        steps_a_save=6,
        evaluate_every=5,
        steps_a_call=4,
        progress=lambda *report: reports.append(report),
    )
    assert steps == 14 and float(training.total) == 14 * 15 / 2
    assert training.calls == [(0, 4), (4, 1), (5, 1), (6, 4), (10, 2), (12, 2)]
    assert training.evaluations == [0, 5, 10, 14]
    assert store.steps() == [14, 12, 6]
    assert reports == [
        (4, 14),
        *((step, 14, {"total": step * (step + 1) / 2}) for step in (5, 6, 10, 12, 14)),
    ]


@pytest.mark.parametrize("cut", [1, 6, 7])
def test_a_training_goes_on_from_the_newest_checkpoint(
    cut: int, store: CheckpointStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="tfdm")

    def stop(step: int, *_: object) -> None:
        if step == cut:
            raise KeyboardInterrupt

    options = {"store": store, "steps_a_save": 3, "evaluate_every": 2}
    with pytest.raises(KeyboardInterrupt):
        run_resumable(Sum(), 8, **options, progress=stop)  # type: ignore[arg-type]
    resumed = Sum()
    assert run_resumable(resumed, 8, **options) == 8  # type: ignore[arg-type]
    start = {1: 0, 6: 3, 7: 6}[cut]
    assert resumed.calls[0][0] == start
    # An evaluation at the start belongs to the state.
    assert resumed.evaluations == [step for step in (0, 2, 4, 6, 8) if step > start or start == 0]
    assert float(resumed.total) == 36.0 and not caplog.messages
    again = Sum()
    assert run_resumable(again, 8, **options) == 8  # type: ignore[arg-type]
    assert again.calls == [] and float(again.total) == 36.0
    assert caplog.messages == [f"{store.folder} is complete: 8 steps are trained"]


def test_a_training_may_end_early_and_stays_there(store: CheckpointStore) -> None:
    training = Sum(over_at=10)
    assert run_resumable(training, 100, store=store, evaluate_every=2) == 4
    # What is over is not evaluated.
    assert training.evaluations == [0, 2] and store.steps() == [4]
    assert run_resumable(Sum(over_at=10), 100, store=store) == 4


def test_a_signal_ends_it_after_a_checkpoint(store: CheckpointStore) -> None:
    def signalled(step: int, *_: object) -> None:
        if step == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Terminated) as raised:
        run_resumable(Sum(), 100, store=store, progress=signalled)
    assert (raised.value.signum, raised.value.step) == (signal.SIGTERM, 5)
    assert store.steps() == [5]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_variable_that_is_not_finite_is_named(store: CheckpointStore) -> None:
    with pytest.raises(DivergedError, match="the sum's model/0000/variable .* at step 6"):
        run_resumable(Sum(bad_at=4), 100, store=store, steps_a_save=3)
    assert store.steps() == [3]
    lenient = CheckpointStore(store.folder, finite=False)
    training = Sum(bad_at=4)
    assert run_resumable(training, 7, store=lenient) == 7
    checkpoint = lenient.latest()
    assert checkpoint is not None and np.isnan(checkpoint.arrays["model/0000/variable"])

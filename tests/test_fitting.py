"""The fit: Adam's steps, early stopping, the best weights, and a loss that stops being finite."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfdm.estimators import fitting
from tfdm.estimators.config import FitConfig
from tfdm.estimators.fitting import fit

CONFIG = FitConfig(
    steps=30, learning_rate=0.1, adam_beta_1=0.9, adam_beta_2=0.99, evaluate_every=7, patience=0
)


def _batch(step: int) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(step).normal(size=(4, 3))}


def _adam(start: np.ndarray, gradients, steps: int, clip: float = 0.0) -> np.ndarray:
    """Kingma and Ba, Algorithm 1, in float64."""
    w, m, v = start.copy(), np.zeros_like(start), np.zeros_like(start)
    for t in range(1, steps + 1):
        g = gradients(w, t - 1)
        if clip:
            g = g * min(1.0, clip / np.linalg.norm(g))
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g**2
        w = w - 0.1 * m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.99**t)) + 1e-8)
    return w


@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_steps_are_adams_on_the_batches_of_each_step(clip):
    w = tf.Variable([1.0, -2.0, 0.5])

    def gradient(weights: np.ndarray, step: int) -> np.ndarray:
        x = _batch(step)["x"].astype(np.float32).astype(np.float64)
        return 2 * x.T @ (x @ weights - 1.0) / 4

    expected = _adam(np.array([1.0, -2.0, 0.5]), gradient, 30, clip)
    outcome = fit(
        [w],
        lambda batch, step: tf.reduce_mean((tf.linalg.matvec(batch["x"], w) - 1.0) ** 2),
        _batch,
        lambda: 0.0,
        CONFIG,
        keep_best=False,
        clip_norm=clip,
    )
    np.testing.assert_allclose(w.numpy(), expected, rtol=2e-3, atol=1e-4)
    assert (outcome.steps, outcome.diverged_at, outcome.stopped_early) == (30, None, False)
    assert [step for step, _ in outcome.curve] == [0, 7, 14, 21, 28, 30]


def test_the_step_reaches_the_loss():
    seen = tf.Variable(0.0)
    fit(
        [w := tf.Variable(0.0)],
        lambda batch, step: tf.stop_gradient(tf.cast(step, tf.float32)) * w,
        _batch,
        lambda: float(seen.assign_add(1.0)),
        dataclasses.replace(CONFIG, steps=5, learning_rate=0.0),
    )
    assert float(w) == 0.0
    assert float(seen) == 2.0


def test_patience_stops_and_the_best_weights_come_back():
    w = tf.Variable(0.0)
    # The held-out loss is best at w = 0.9, the training loss pulls on.
    outcome = fit(
        [w],
        lambda batch, step: -w,
        _batch,
        lambda: abs(float(w) - 0.9),
        dataclasses.replace(CONFIG, steps=100, evaluate_every=3, patience=2),
    )
    assert outcome.stopped_early
    assert outcome.steps == outcome.best_step + 6
    assert outcome.held_out_loss == min(value for _, value in outcome.curve)
    assert abs(float(w) - 0.9) == pytest.approx(outcome.held_out_loss)


def test_a_fit_says_whether_it_still_improved() -> None:
    def still(steps: int, losses: list[float]) -> bool:
        weight, values = tf.Variable([1.0]), iter(losses)
        config = FitConfig(steps=steps, evaluate_every=1, patience=2)
        return fit(
            [weight],
            lambda batch, step: tf.reduce_sum(weight * batch["x"]),
            lambda step: {"x": np.ones(1)},
            lambda: next(values),
            config,
        ).still_improving

    assert still(2, [3.0, 2.0, 1.0])
    assert not still(2, [3.0, 1.0, 2.0])
    assert not still(9, [3.0, 1.0, 2.0, 2.0])


def test_a_bad_step_moves_nothing_and_is_named():
    w = tf.Variable(1.0)
    outcome = fit(
        [w],
        lambda batch, step: w * tf.where(step == 11, np.float32(np.nan), 1.0),
        _batch,
        lambda: float(w),
        CONFIG,
    )
    assert outcome.diverged_at == 11
    assert outcome.best_step == 7
    # Adam moves a variable with a constant gradient by its learning rate.
    assert float(w) == pytest.approx(1.0 - 0.7, abs=1e-5)


def test_an_infinite_gradient_of_a_finite_loss_is_bad_too():
    w = tf.Variable(0.0)
    outcome = fit([w], lambda batch, step: tf.sqrt(w), _batch, lambda: 1.0, CONFIG)
    assert outcome.diverged_at == 0
    assert float(w) == 0.0


def test_a_fit_that_was_never_finite_raises():
    w = tf.Variable(0.0)
    with pytest.raises(ValueError, match="not finite at step 0, expected a finite one"):
        fit([w], lambda batch, step: w + np.inf, _batch, lambda: float("nan"), CONFIG)


@pytest.mark.parametrize(
    ("cut", "changes", "bad_step"),
    [(13, {}, -1), (10, {"patience": 2, "evaluate_every": 4}, -1), (16, {}, 22), (24, {}, 22)],
)
def test_a_fit_broken_off_goes_on_to_the_same_bits(cut, changes, bad_step, tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "_STEPS_A_SAVE", 5)
    monkeypatch.setattr(fitting, "_NUMBERS", 36)  # three steps a call
    config = dataclasses.replace(CONFIG, **changes)

    def run(state: Path | None, stop_at: int = 10**6) -> tuple[np.ndarray, fitting.Fit]:
        w = tf.Variable([1.0, -2.0, 0.5])

        def loss(batch: Any, step: tf.Tensor) -> tf.Tensor:
            error = tf.reduce_mean((tf.linalg.matvec(batch["x"], w) - 1.0) ** 2)
            return tf.where(step == bad_step, np.float32(np.nan), error)

        def stop(step: int, total: int) -> None:
            if step >= stop_at:
                raise KeyboardInterrupt

        def held_out_loss() -> float:
            return abs(float(w[1]) + 1.4)

        outcome = fit([w], loss, _batch, held_out_loss, config, progress=stop, state=state)
        return w.numpy(), outcome

    weights, outcome = run(None)
    assert (outcome.diverged_at == bad_step) == (bad_step >= 0)
    assert outcome.stopped_early == ("patience" in changes)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stop_at=cut)
    for _ in range(2):  # to the end, and with nothing left to do
        resumed = run(tmp_path)
        np.testing.assert_array_equal(resumed[0], weights)
        assert resumed[1] == outcome

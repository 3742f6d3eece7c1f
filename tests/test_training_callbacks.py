"""When things happen during training, and what stops it."""

from __future__ import annotations

import os
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.tiny_training import DivergingAutoencoder, fit, tiny_model
from tfdm.errors import DivergedError
from tfdm.runs import CheckpointStore
from tfdm.training.callbacks import Checkpointer, DivergenceGuard, Span, StepCallback
from tfdm.training.signals import StopSignals


class Seen(StepCallback):
    """Notes what it sees."""

    def __init__(self, span, every=3):
        super().__init__(span)
        self.every, self.steps, self.due, self.kinds = every, [], [], set()

    def after_steps(self, previous, logs):
        self.steps.append((previous, self.step))
        if self.is_due(previous, self.every):
            self.due.append(self.step)
        self.kinds |= {type(value) for value in logs.values()}


@pytest.mark.parametrize(
    ("start", "steps_per_execution", "steps", "due"),
    [
        (0, 1, [(k, k + 1) for k in range(10)], [3, 6, 9, 10]),
        (0, 4, [(0, 4), (4, 8), (8, 10)], [4, 8, 10]),
        (5, 4, [(5, 9), (9, 10)], [9, 10]),
        (8, 16, [(8, 10)], [10]),
    ],
)
def test_callbacks_see_completed_steps(start, steps_per_execution, steps, due):
    model = tiny_model()
    seen = Seen(Span(start, 10))
    fit(model, start, 10 - start, [seen], steps_per_execution=steps_per_execution)
    assert seen.steps == steps and seen.due == due
    assert int(model.step.numpy()) == 10 - start  # Its own counter began at 0 here.


def test_logs_reach_the_callbacks_as_tensors():
    seen = Seen(Span(0, 2))
    fit(tiny_model(), 0, 2, [seen])
    assert all(issubclass(kind, tf.Tensor) for kind in seen.kinds) and seen.kinds


def _diverging_model():
    return DivergingAutoencoder({"latent_dim": 3}, (28, 28, 1))


@pytest.mark.parametrize("steps_per_execution", [1, 4])
def test_a_loss_that_is_not_finite_stops_the_run_and_is_named(tmp_path, steps_per_execution):
    """The loss is NaN at step 7; the guard looks at 4, 8, 12; the checkpoint of 4 stands."""
    span, store = Span(0, 12), CheckpointStore(tmp_path)
    guard = DivergenceGuard(span, [4])
    later = Seen(span)
    callbacks = [guard, Checkpointer(span, 4, guard, store), later]
    with pytest.raises(DivergedError, match="generator_loss is not finite at step 7") as caught:
        fit(_diverging_model(), 0, 12, callbacks, steps_per_execution=steps_per_execution)
    assert (caught.value.step, caught.value.term) == (7, "generator_loss")
    assert store.steps() == [4]
    assert later.step < 8


def test_no_checkpoint_of_a_diverged_model_is_written_between_two_looks(tmp_path):
    span, store = Span(0, 12), CheckpointStore(tmp_path)
    guard = DivergenceGuard(span, [12])
    with pytest.raises(DivergedError, match="step 7"):
        fit(_diverging_model(), 0, 12, [guard, Checkpointer(span, 3, guard, store)])
    assert store.steps() == [6, 3]


class PoisonedWeight(keras.callbacks.Callback):
    """Makes a weight infinite after the third step, in a way that no loss shows yet."""

    def on_train_batch_end(self, batch, logs=None):
        if batch == 2:
            bias = self.model.generator.get_layer("pixels").bias
            bias.assign(np.full(bias.shape, np.inf, np.float32))


def test_a_variable_that_is_not_finite_is_never_written(tmp_path):
    span, store = Span(0, 3), CheckpointStore(tmp_path)
    guard = DivergenceGuard(span, [1])
    callbacks = [PoisonedWeight(), guard, Checkpointer(span, 2, guard, store)]
    with pytest.raises(DivergedError, match=r"pixels/bias is not finite at step 3"):
        fit(tiny_model(), 0, 3, callbacks)
    assert store.steps() == [2]


def test_signals_are_noted_while_deferred_and_end_the_process_otherwise():
    before = signal.getsignal(signal.SIGTERM)
    with StopSignals() as signals:
        with signals.deferred():
            os.kill(os.getpid(), signal.SIGTERM)
            assert signals.received == signal.SIGTERM
            with pytest.raises(SystemExit) as caught:
                os.kill(os.getpid(), signal.SIGTERM)  # A second one does not wait.
            assert caught.value.code == 143
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before

"""The averaged end of a classifier's training: when it starts, what it averages, its moments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tfdm.datasets.order import batch_indices
from tfdm.eval.classifiers.config import ClassifierConfig
from tfdm.eval.classifiers.training import ClassifierTraining, OneCycle
from tfdm.runs import CheckpointStore
from tfdm.training.loop import run_resumable
from tfdm.training.state import capture_state


def _training(rng_seed: int, **changes: object) -> ClassifierTraining:
    rng = np.random.default_rng(rng_seed)
    images = rng.integers(0, 256, (20, 24, 24, 3), dtype=np.uint8)
    fields = {
        "width1": 4, "width2": 8, "width3": 8, "batch_size": 5, "epochs": 3, "average_epochs": 1,
        "average_rate": 0.3, "small_share": 0.0, "cutout": 0, "translate": 2,
        "precision": "float32", "learning_rate": 0.05,
    }  # fmt: skip
    config = ClassifierConfig(**{**fields, **changes})
    return ClassifierTraining(images, rng.integers(0, 10, 20), config)


def test_the_rate_stays_at_its_floor() -> None:
    falling, floored = OneCycle(2.0, 100, 0.2), OneCycle(2.0, 100, 0.2, floor=0.25)
    rates = np.array([[float(rate(step)) for step in range(130)] for rate in (falling, floored)])
    np.testing.assert_allclose(rates[1, :80], rates[0, :80])
    np.testing.assert_allclose(rates[1, 80:], 0.5)
    assert rates[0, 80] < 0.5 < rates[0, 79]
    assert rates[0, 100:].max() == 0.0


@pytest.mark.parametrize(("epochs", "share"), [(3, 0.3), (52, 0.05), (5, 1.0)])
def test_averaging_starts_with_the_floor(epochs: int, share: float) -> None:
    training = _training(0, epochs=epochs, average_rate=share)
    schedule = OneCycle(1.0, training.cycle_steps, training.config.warm_up)
    start = training.average_start
    assert float(schedule(start)) <= share + 1e-6
    assert float(schedule(start - 1)) > share or start == round(
        training.cycle_steps * training.config.warm_up
    )
    assert training.num_steps == start + 4  # One epoch of 20 images in batches of 5.


def test_without_averaging_the_cycle_goes_to_its_end() -> None:
    training = _training(0, average_epochs=0)
    assert training.average_start == training.num_steps == training.cycle_steps == 12
    assert training.finish() is training.network


def test_averages_are_the_mean_over_the_last_steps(seed: int) -> None:
    training = _training(seed)
    trained = training._kernels + training._biases
    seen: list[list[np.ndarray]] = []
    run_resumable(
        training,
        training.num_steps,
        progress=lambda *_: seen.append([variable.numpy().copy() for variable in trained]),
    )
    last = seen[training.average_start :]
    assert len(last) == 4
    expected = [np.mean(values, axis=0) for values in zip(*last, strict=True)]
    assert any(
        np.abs(e - values).max() > 1e-4 for e, values in zip(expected, last[-1], strict=True)
    )
    network = training.finish()
    for variable, value in zip(trained, expected, strict=True):
        np.testing.assert_allclose(variable.numpy(), value, rtol=1e-4, atol=1e-6)
    # The first moments are those of the first convolution over further batches.
    layers = ("whitening", "block0_conv0")
    means, variances = [], []
    for step in range(training.num_steps, training.num_steps + 40):
        batch = training._batch(batch_indices(20, 5, training.config.seed, step), step)
        hidden = np.maximum(np.asarray(network.get_layer(layers[0])(batch)), 0)
        outputs = np.asarray(network.get_layer(layers[1])(hidden), np.float64)
        number, height, width, maps = outputs.shape
        height, width = height // 2, width // 2
        cells = outputs[:, : 2 * height, : 2 * width].reshape(number, height, 2, width, 2, maps)
        pooled = cells.max(axis=(2, 4))
        means.append(pooled.mean(axis=(0, 1, 2)))
        variances.append(pooled.var(axis=(0, 1, 2)))
    norm = network.get_layer("block0_norm0")
    np.testing.assert_allclose(norm.moving_mean.numpy(), np.mean(means, axis=0), atol=1e-4)
    np.testing.assert_allclose(norm.moving_variance.numpy(), np.mean(variances, axis=0), rtol=1e-3)
    assert norm.momentum == 0.8


def test_a_training_stopped_among_averages_goes_on(seed: int, tmp_path: Path) -> None:
    changes = {"precision": "mixed_bfloat16", "small_share": 0.5, "small_side": 23, "cutout": 4}
    whole = _training(seed, **changes)
    run_resumable(whole, whole.num_steps)
    stop_at = whole.average_start + 2

    def stop(step: int, *_: object) -> None:
        if step == stop_at + 1:
            raise KeyboardInterrupt

    store = CheckpointStore(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        options = {"store": store, "steps_a_save": stop_at, "progress": stop}
        run_resumable(_training(seed, **changes), whole.num_steps, **options)
    assert store.steps() == [stop_at]
    resumed = _training(seed, **changes)
    run_resumable(resumed, whole.num_steps, store=store)
    for training in (whole, resumed):
        training.finish()
    state, expected = capture_state(resumed), capture_state(whole)
    assert state.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(state[name], array, err_msg=name)

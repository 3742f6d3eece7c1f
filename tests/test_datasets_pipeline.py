"""The order of training examples and the batches made of it."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfdm.datasets import batch_indices, train_batches
from tfdm.seeds import stream


def all_indices(num_examples, batch_size, seed, num_steps):
    return [batch_indices(num_examples, batch_size, seed, t) for t in range(num_steps)]


@pytest.mark.parametrize(
    ("num_examples", "batch_size"), [(12, 4), (10, 4), (3, 4), (4, 13), (1, 3), (7, 7)]
)
def test_batches_cut_the_epochs_laid_end_to_end(num_examples, batch_size):
    seed, num_steps = 5, 20
    batches = all_indices(num_examples, batch_size, seed, num_steps)
    assert all(b.dtype == np.int64 and b.shape == (batch_size,) for b in batches)
    flat = np.concatenate(batches)
    for p, index in enumerate(flat):
        epoch, offset = divmod(p, num_examples)
        assert index == stream(seed, "data/order", epoch).permutation(num_examples)[offset]
    # Every example exactly once in each whole epoch.
    whole = len(flat) // num_examples
    epochs = flat[: whole * num_examples].reshape(whole, num_examples)
    np.testing.assert_array_equal(np.sort(epochs, 1), [np.arange(num_examples)] * whole)


def test_indices_do_not_depend_on_what_was_asked_before():
    forward = all_indices(50, 8, 0, 30)
    backward = [batch_indices(50, 8, 0, t) for t in reversed(range(30))][::-1]
    np.testing.assert_array_equal(forward, backward)
    batch_indices(50, 8, 0, 0)[:] = 0  # The result belongs to the caller.
    np.testing.assert_array_equal(batch_indices(50, 8, 0, 0), forward[0])


def test_late_steps_do_not_overflow_and_numbers_out_of_range_are_refused():
    indices = batch_indices(60_000, 64, 0, 10**12)
    epoch, offset = divmod(10**12 * 64, 60_000)
    expected = stream(0, "data/order", epoch).permutation(60_000)[offset : offset + 64]
    np.testing.assert_array_equal(indices, expected)
    names = {"num_examples": 1, "batch_size": 1, "seed": 0, "step": 0}
    for place, (name, least) in enumerate(names.items()):
        arguments = [4, 4, 0, 0]
        arguments[place] = least - 1
        with pytest.raises(ValueError, match=f"{name} is {least - 1}, expected at least {least}"):
            batch_indices(*arguments)


@pytest.fixture
def images(tmp_path, rng):
    """Memory-mapped, every image different."""
    array = rng.integers(0, 256, (21, 6, 5, 3), dtype=np.uint8)
    np.save(tmp_path / "images.npy", array)
    return np.load(tmp_path / "images.npy", mmap_mode="r")


def read(dataset: tf.data.Dataset) -> np.ndarray:
    return np.stack(list(dataset.as_numpy_iterator()))


def test_element_j_is_the_batch_of_step_start_plus_j(images):
    dataset = train_batches(images, batch_size=8, seed=3, start_step=0, num_steps=12)
    assert dataset.element_spec == tf.TensorSpec((8, 6, 5, 3), tf.uint8)
    assert dataset.cardinality() == 12
    expected = [images[batch_indices(21, 8, 3, t)] for t in range(12)]
    np.testing.assert_array_equal(read(dataset), expected)
    np.testing.assert_array_equal(read(dataset), expected)  # Iterated anew, the same again.
    resumed = train_batches(images, batch_size=8, seed=3, start_step=7, num_steps=5)
    np.testing.assert_array_equal(read(resumed), expected[7:])
    assert list(train_batches(images, batch_size=8, seed=3, start_step=7, num_steps=0)) == []


def test_several_batches_a_step_stand_on_the_second_axis(images):
    dataset = train_batches(
        images, batch_size=4, seed=3, start_step=0, num_steps=6, batches_per_step=5
    )
    assert dataset.element_spec == tf.TensorSpec((4, 5, 6, 5, 3), tf.uint8)
    steps = read(dataset)
    single = read(train_batches(images, batch_size=4, seed=3, start_step=0, num_steps=30))
    for t in range(6):
        for k in range(5):
            np.testing.assert_array_equal(steps[t][:, k], single[5 * t + k])
    resumed = train_batches(
        images, batch_size=4, seed=3, start_step=2, num_steps=4, batches_per_step=5
    )
    np.testing.assert_array_equal(read(resumed), steps[2:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((3, 2, 2, 3), np.float32)}, r"images are float32 \[3, 2, 2, 3\]"),
        ({"images": np.zeros((3, 2, 2), np.uint8)}, r"images are uint8 \[3, 2, 2\]"),
        ({"images": np.zeros((0, 2, 2, 3), np.uint8)}, r"images are uint8 \[0, 2, 2, 3\]"),
        ({"num_steps": -2}, "num_steps is -2"),
        ({"batch_size": 0}, "batch_size is 0, expected at least 1"),
        ({"seed": -1}, "seed is -1"),
        ({"start_step": -1}, "start_step is -1"),
        ({"batches_per_step": 0}, "batches_per_step is 0"),
    ],
)
def test_train_batches_refuses_what_is_out_of_range(change, message):
    arguments = {"images": np.zeros((3, 2, 2, 3), np.uint8), "batch_size": 2, "seed": 0}
    arguments |= {"start_step": 0, "num_steps": 1}
    with pytest.raises(ValueError, match=message):
        train_batches(**(arguments | change))

"""The noise of a step: a function of (seed, step, name), the same for one device and for many."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.model_cases import two_replicas
from tfdm.training.noise import ROW_STEP, StepNoise, stateless_normal

NUM = 20_000


def step_noise(seed: int = 0, step: int = 0, batch_size: int = NUM) -> StepNoise:
    return StepNoise(seed, tf.constant(step, tf.int64), batch_size)


def correlation(first: tf.Tensor, second: tf.Tensor) -> float:
    return float(np.corrcoef(np.ravel(first), np.ravel(second))[0, 1])


def test_noise_depends_on_seed_step_and_name_alone(seed):
    tf.random.stateless_normal([3], [1, 2])
    first = step_noise(seed, 5)
    first.uniform("before", [2])
    again = step_noise(seed, 5)
    np.testing.assert_array_equal(first.normal("codes", [3]), again.normal("codes", [3]))
    np.testing.assert_array_equal(first.normal("codes", [3]), first.normal("codes", [3]))
    np.testing.assert_array_equal(
        stateless_normal([4, 2], seed, "codes"), stateless_normal([4, 2], seed, "codes")
    )


@pytest.mark.parametrize("width", [1, 3, 8])
def test_draws_of_blocks_of_rows_are_the_draw_of_all(width):
    rows, cut = 3 * ROW_STEP + 5, 2 * ROW_STEP
    whole = stateless_normal([rows, width], 7, "codes")
    blocks = [stateless_normal([n, width], 7, "codes", s) for n, s in ((cut, 0), (rows - cut, cut))]
    np.testing.assert_array_equal(tf.concat(blocks, 0), whole)
    with pytest.raises(ValueError, match="start is 3, expected a multiple of 16"):
        stateless_normal([2, width], 7, "codes", 3)


def test_noise_leaves_the_global_generator_alone():
    before = tf.random.get_global_generator().state.numpy()
    step_noise().normal("codes", [3])
    stateless_normal([4, 2], 0, "codes")
    np.testing.assert_array_equal(tf.random.get_global_generator().state.numpy(), before)


OTHERS = [(0, 0, "posterior"), (0, 1, "prior"), (0, 2**33, "prior"), (1, 0, "prior")]
OTHERS += [(2**32, 0, "prior"), (np.int32(2**31 - 1), 0, "prior")]


@pytest.mark.parametrize(("other_seed", "other_step", "other_name"), OTHERS)
@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_another_seed_step_or_name_is_independent(kind, other_seed, other_step, other_name):
    """Correlations of independent numbers have a standard error of 1 / sqrt(n)."""
    noise = getattr(step_noise(0, 0), kind)("prior", [2])
    other = getattr(step_noise(other_seed, other_step), kind)(other_name, [2])
    assert abs(correlation(noise, other)) < 5 / np.sqrt(2 * NUM)
    shifted = correlation(noise[1:], other[:-1])
    assert abs(shifted) < 5 / np.sqrt(2 * NUM - 2)


def test_step_draws_and_plain_draws_are_of_the_same_law_but_of_another_stream():
    """`generate(seed=s)` must not repeat the codes of a training step."""
    plain = stateless_normal([NUM, 2], 7, "prior")
    for step in (0, 1):
        noise = step_noise(7, step).normal("prior", [2])
        assert abs(correlation(plain, noise)) < 5 / np.sqrt(2 * NUM)


def test_normal_has_the_moments_of_the_standard_normal():
    numbers = np.ravel(step_noise(seed=2, step=9).normal("prior", [4])).astype(np.float64)
    n = numbers.size
    assert abs(numbers.mean()) < 5 / np.sqrt(n)
    assert abs((numbers**2).mean() - 1.0) < 5 * np.sqrt(2.0 / n)
    assert abs((numbers**3).mean()) < 5 * np.sqrt(15.0 / n)
    assert abs((numbers**4).mean() - 3.0) < 5 * np.sqrt(96.0 / n)
    plain = np.ravel(stateless_normal([n], 1, "codes")).astype(np.float64)
    assert abs(plain.mean()) < 5 / np.sqrt(n)
    assert abs((plain**2).mean() - 1.0) < 5 * np.sqrt(2.0 / n)


def test_uniform_is_uniform_on_the_half_open_interval():
    numbers = np.ravel(step_noise(seed=2).uniform("weights", [4])).astype(np.float64)
    n = numbers.size
    assert numbers.min() >= 0.0 and numbers.max() < 1.0
    counts, _ = np.histogram(numbers, bins=20, range=(0.0, 1.0))
    expected = n / 20
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi_squared - 19) < 5 * np.sqrt(2 * 19)


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.75])
def test_keep_mask_drops_at_the_rate_and_keeps_the_mean(rate):
    mask = step_noise(seed=4).keep_mask("dropout", [3], rate).numpy().astype(np.float64)
    assert mask.shape == (NUM, 3)
    if rate == 0.0:
        np.testing.assert_array_equal(mask, 1.0)
        return
    np.testing.assert_allclose(np.unique(mask), [0.0, 1.0 / (1.0 - rate)], rtol=1e-6)
    error = np.sqrt(rate * (1.0 - rate) / mask.size)
    assert abs((mask == 0.0).mean() - rate) < 5 * error
    assert abs(mask.mean() - 1.0) < 5 * error / (1.0 - rate)


def test_a_batch_size_known_only_when_run_draws_the_same():
    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
    def draw(examples: tf.Tensor) -> tf.Tensor:
        return StepNoise(1, tf.constant(2, tf.int64), tf.shape(examples)[0]).normal("prior", [3])

    np.testing.assert_array_equal(draw(tf.zeros([6])), step_noise(1, 2, 6).normal("prior", [3]))


@pytest.mark.parametrize("kind", ["normal", "uniform"])
@pytest.mark.parametrize("shape", [[], [3], [2, 2, 1]])
def test_slices_of_the_replicas_joined_are_the_draw_of_one_device(kind, shape):
    strategy = two_replicas()

    def draw() -> tf.Tensor:
        return getattr(StepNoise(1, tf.constant(2, tf.int64), 3), kind)("prior", shape)

    shares = strategy.experimental_local_results(strategy.run(tf.function(draw)))
    assert [share.shape for share in shares] == [[3, *shape]] * 2
    whole = getattr(step_noise(1, 2, 6), kind)("prior", shape)
    np.testing.assert_array_equal(tf.concat(shares, axis=0), whole)


def test_numbers_under_xla_are_the_same_to_rounding():
    def draw(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        noise = StepNoise(1, step, 64)
        return noise.normal("prior", [3]), noise.uniform("weights", [3])

    step = tf.constant(2, tf.int64)
    normal, uniform = tf.function(draw, jit_compile=True)(step)
    np.testing.assert_allclose(normal, draw(step)[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(uniform, draw(step)[1])

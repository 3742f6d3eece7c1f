"""Losses and density ratios against NumPy in float64, closed forms and known Gaussians."""

import numpy as np
import pytest
import tensorflow as tf

from tfdm import losses

# Up to the 1e4 that an overconfident discriminator reaches, both signs, and the region around zero.
LOGITS = np.concatenate([-np.logspace(4, -3, 29), [0.0], np.logspace(-3, 4, 29)])


def log_sigmoid(logits: np.ndarray) -> np.ndarray:
    """log D in float64."""
    return -np.logaddexp(0.0, -logits)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """D in float64."""
    return np.exp(log_sigmoid(logits))


# name -> (value, derivative), written with log D = log_sigmoid(l) and log(1 - D) = log_sigmoid(-l).
ELEMENTWISE = {
    "real_cross_entropy": (lambda x: -log_sigmoid(x), lambda x: -sigmoid(-x)),
    "fake_cross_entropy": (lambda x: -log_sigmoid(-x), sigmoid),
    "non_saturating_loss": (lambda x: -log_sigmoid(x), lambda x: -sigmoid(-x)),
    "saturating_loss": (lambda x: log_sigmoid(-x), lambda x: -sigmoid(x)),
    "reverse_kl_loss": (lambda x: -log_sigmoid(x) + log_sigmoid(-x), lambda x: -np.ones_like(x)),
    "wasserstein_generator_loss": (lambda x: -x, lambda x: -np.ones_like(x)),
}


def value_and_gradient(function, *arrays, jit_compile=None):
    """Value and gradients in every argument; eager when `jit_compile` is None."""

    def compute(*inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            value = function(*inputs)
        return value, tape.gradient(value, inputs)

    if jit_compile is not None:
        compute = tf.function(compute, jit_compile=jit_compile)
    return compute(*map(tf.constant, arrays))


@pytest.mark.parametrize(
    ("dtype", "jit_compile"),
    [(np.float64, None), (np.float32, None), (np.float32, False), (np.float32, True)],
)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_losses_match_float64_numpy(name, dtype, jit_compile):
    expected_value, expected_derivative = ELEMENTWISE[name]
    logits = LOGITS.astype(dtype).reshape(59, 1)
    value, (gradient,) = value_and_gradient(getattr(losses, name), logits, jit_compile=jit_compile)
    tolerance = 2e-6 if dtype == np.float32 else 1e-12
    assert value.shape == logits.shape and value.dtype == dtype
    exact = logits.astype(np.float64)
    np.testing.assert_allclose(value, expected_value(exact), rtol=tolerance, atol=1e-37)
    np.testing.assert_allclose(
        gradient, expected_derivative(exact), rtol=10 * tolerance, atol=tolerance / 10
    )


def test_integers_are_refused():
    with pytest.raises(ValueError, match="int32.*expected a floating type"):
        losses.reverse_kl_loss(tf.constant([1, 2]))


def test_accuracies_count_signs_and_share_ties():
    real, fake = tf.constant([2.0, 0.1, -1.0, 3.0]), tf.constant([-1.0, 0.0, 5.0, -2.0])
    assert float(losses.real_accuracy(real)) == 0.75
    assert float(losses.fake_accuracy(fake)) == 0.625
    assert float(losses.discriminator_accuracy(real, fake)) == 0.6875
    assert float(losses.discriminator_accuracy(tf.zeros([3]), tf.zeros([2]))) == 0.5
    assert np.isnan(losses.real_accuracy(tf.constant([1.0, np.nan])))


# The model N(LOC, SCALE^2) against the data N(0, 1), in one dimension.
LOC, SCALE = 0.7, 0.6
KL_MODEL_DATA = 0.5 * (LOC**2 + SCALE**2 - 1.0) - np.log(SCALE)
KL_DATA_MODEL = np.log(SCALE) + (1.0 + LOC**2) / (2 * SCALE**2) - 0.5


def optimal_logits(x):
    """log N(x; 0, 1) - log N(x; LOC, SCALE^2): the label 1 density on top."""
    return -0.5 * x**2 + 0.5 * ((x - LOC) / SCALE) ** 2 + np.log(SCALE)


def test_optimal_discriminator_gives_the_kl_of_known_gaussians(rng):
    assert abs(KL_MODEL_DATA - KL_DATA_MODEL) > 0.5  # a swapped direction would be seen
    logits = optimal_logits(rng.normal(LOC, SCALE, 100_000))
    estimate = float(losses.kl_from_model_logits(tf.constant(logits)))
    standard_error = np.std(logits) / np.sqrt(logits.size)
    assert standard_error < 0.01
    assert abs(estimate - KL_MODEL_DATA) < 4 * standard_error


# --- Reconstruction ---------------------------------------------------------------------------


def test_bfloat16_is_summed_in_float32():
    ones = tf.ones([2, 1000], tf.bfloat16)
    error = losses.reconstruction_error(ones, tf.zeros([2, 1000]), "l1", "sum")
    assert error.dtype == tf.float32
    np.testing.assert_array_equal(error, [1000.0, 1000.0])


@pytest.mark.parametrize(
    ("first", "second", "norm", "reduction", "message"),
    [
        ([2, 3], [2, 1], "l1", "sum", r"reconstructions has shape \[2, 1\], expected \[2, 3\]"),
        ([2, 3], [1, 3], "l1", "sum", "expected"),
        ([2, 3], [2, 3], "l2", "sum", "norm is 'l2', expected one of l1, squared"),
        ([2, 3], [2, 3], "l1", "max", "reduction is 'max', expected one of sum, mean"),
    ],
)
def test_bad_arguments_are_refused(first, second, norm, reduction, message):
    with pytest.raises(ValueError, match=message):
        losses.reconstruction_error(tf.zeros(first), tf.zeros(second), norm, reduction)

"""Losses and density ratios against NumPy in float64, closed forms and known Gaussians."""

import numpy as np
import pytest
import tensorflow as tf

from tfdm import losses as ratios

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
    value, (gradient,) = value_and_gradient(getattr(ratios, name), logits, jit_compile=jit_compile)
    tolerance = 2e-6 if dtype == np.float32 else 1e-12
    assert value.shape == logits.shape and value.dtype == dtype
    exact = logits.astype(np.float64)
    np.testing.assert_allclose(value, expected_value(exact), rtol=tolerance, atol=1e-37)
    np.testing.assert_allclose(
        gradient, expected_derivative(exact), rtol=10 * tolerance, atol=tolerance / 10
    )


@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float16])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_half_precision_logits_are_cast_up_before_the_loss(name, dtype):
    logits = tf.constant([-3.0, 0.5, 4.0], dtype)  # exact in both types
    value = getattr(ratios, name)(logits)
    assert value.dtype == tf.float32
    np.testing.assert_allclose(value, ELEMENTWISE[name][0](np.array([-3.0, 0.5, 4.0])), rtol=1e-6)


def test_integers_are_refused():
    with pytest.raises(ValueError, match="int32.*expected a floating type"):
        ratios.reverse_kl_loss(tf.constant([1, 2]))


def test_accuracies_count_signs_and_share_ties():
    real, fake = tf.constant([2.0, 0.1, -1.0, 3.0]), tf.constant([-1.0, 0.0, 5.0, -2.0])
    assert float(ratios.real_accuracy(real)) == 0.75
    assert float(ratios.fake_accuracy(fake)) == 0.625
    assert float(ratios.discriminator_accuracy(real, fake)) == 0.6875
    assert float(ratios.discriminator_accuracy(tf.zeros([3]), tf.zeros([2]))) == 0.5
    assert np.isnan(ratios.real_accuracy(tf.constant([1.0, np.nan])))


# The model N(LOC, SCALE^2) against the data N(0, 1), in one dimension.
LOC, SCALE = 0.7, 0.6
KL_MODEL_DATA = 0.5 * (LOC**2 + SCALE**2 - 1.0) - np.log(SCALE)
KL_DATA_MODEL = np.log(SCALE) + (1.0 + LOC**2) / (2 * SCALE**2) - 0.5


def optimal_logits(x):
    """log N(x; 0, 1) - log N(x; LOC, SCALE^2): the label 1 density on top."""
    return -0.5 * x**2 + 0.5 * ((x - LOC) / SCALE) ** 2 + np.log(SCALE)


def test_reverse_kl_gradient_through_the_samples_is_that_of_the_kl(rng):
    epsilon = rng.normal(size=400_000)
    loc, scale = tf.constant(LOC, tf.float64), tf.constant(SCALE, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch([loc, scale])
        loss = tf.reduce_mean(ratios.reverse_kl_loss(optimal_logits(loc + scale * epsilon)))
    gradients = np.array(tape.gradient(loss, [loc, scale]))
    # Derivatives of the loss of one sample: x - (x - LOC) / SCALE^2, and that times epsilon.
    sample = LOC + SCALE * epsilon
    slope = sample - (sample - LOC) / SCALE**2
    standard_errors = np.array([np.std(slope), np.std(slope * epsilon)]) / np.sqrt(400_000)
    expected = np.array([LOC, SCALE - 1.0 / SCALE])
    assert np.all(np.abs(gradients - expected) < 4 * standard_errors)
    assert np.all(standard_errors < 0.02)


def test_discriminator_trained_to_convergence_recovers_log_ratio_and_kl(rng):
    """Newton's method on `discriminator_loss` over quadratic logits, which hold the optimum."""
    size = 20_000

    def features(x):
        return np.stack([np.ones_like(x), x, x**2], axis=1)

    real, fake = features(rng.normal(size=size)), features(rng.normal(LOC, SCALE, size))

    both = np.concatenate([real, fake])
    weights = np.zeros(3)
    for _ in range(12):
        _, gradients = value_and_gradient(ratios.discriminator_loss, real @ weights, fake @ weights)
        gradient = gradients[0].numpy() @ real + gradients[1].numpy() @ fake
        curvature = sigmoid(both @ weights) * sigmoid(-both @ weights) / size
        hessian = (curvature[:, None] * both).T @ both
        weights -= np.linalg.solve(hessian, gradient)
    assert np.max(np.abs(gradient)) < 1e-10

    # Sandwich covariance of the fit: the loss is a sum of two means over `size` samples each.
    scores_real = -sigmoid(-real @ weights)[:, None] * real
    scores_fake = sigmoid(fake @ weights)[:, None] * fake
    inverse = np.linalg.inv(hessian)
    covariance = inverse @ (np.cov(scores_real.T) + np.cov(scores_fake.T)) @ inverse / size
    optimum = np.array(
        [np.log(SCALE) + LOC**2 / (2 * SCALE**2), -LOC / SCALE**2, (1 / SCALE**2 - 1) / 2]
    )
    errors = np.sqrt(np.diag(covariance))
    assert np.all(np.abs(weights - optimum) < 4 * errors)
    assert np.all(errors < 0.1)

    # The estimate on fresh samples, with the error of the mean and that of the fit.
    fresh = features(rng.normal(LOC, SCALE, 100_000))
    logits = fresh @ weights
    estimate = float(ratios.kl_from_model_logits(tf.constant(logits)))
    slope = fresh.mean(axis=0)
    standard_error = np.sqrt(np.var(logits) / logits.size + slope @ covariance @ slope)
    assert standard_error < 0.02
    assert abs(estimate - KL_MODEL_DATA) < 4 * standard_error

"""Pixel likelihoods against NumPy, numerical integration and the discrete probabilities."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdm.distributions.pixels import Bernoulli, QuantizedNormal

SHAPE = (2, 4, 3, 2)
LEVELS = np.arange(256)


@pytest.fixture
def batch(rng):
    """Decoder outputs, uint8 levels and dequantisation noise, of shape SHAPE."""
    return (
        rng.normal(0.0, 2.0, SHAPE),
        rng.integers(0, 256, SHAPE, dtype=np.uint8),
        rng.uniform(size=SHAPE),
    )


def sigmoid(values):
    return 1.0 / (1.0 + np.exp(-values))


def likelihoods():
    return [
        Bernoulli(),
        QuantizedNormal(SHAPE[1:], "global"),
        QuantizedNormal(SHAPE[1:], "pixel", initial_scale=0.2, minimum_scale=0.01),
    ]


def test_bernoulli_of_binary_pixels_is_a_probability_and_survives_extreme_logits():
    likelihood = Bernoulli()
    both = np.array([0.0, 1.0], np.float32).reshape(2, 1, 1, 1)
    log_prob = likelihood.log_prob(np.full([2, 1, 1, 1], 0.8, np.float32), both)
    assert float(tf.reduce_sum(tf.exp(log_prob))) == pytest.approx(1.0, abs=1e-6)
    extreme = likelihood.log_prob(np.full([2, 1, 1, 1], 1e4, np.float32), both)
    np.testing.assert_array_equal(extreme, [-1e4, 0.0])


def discrete_probability(location, scale):
    """P(v) of the 256 levels: normal mass of [v/256, (v+1)/256], by erfc in float64."""
    # From the nearer tail, so that no difference of numbers close to one is taken.
    edges = (np.arange(257) / 256 - location) / (scale * math.sqrt(2))
    upper = np.array([0.5 * math.erfc(edge) for edge in edges])
    lower = np.array([0.5 * math.erfc(-edge) for edge in edges])
    return np.where(edges[:-1] > 0, upper[:-1] - upper[1:], lower[1:] - lower[:-1])


def log_densities_of_all_levels(location, scale, nodes):
    """`log_prob` of one-pixel images, [256, nodes], float64: every level at every u."""
    likelihood = QuantizedNormal((1, 1, 1), initial_scale=scale)
    shape = [256 * len(nodes), 1, 1, 1]
    log_prob = likelihood.log_prob(
        np.full(shape, np.log(location / (1 - location))),
        np.repeat(LEVELS, len(nodes)).astype(np.int32).reshape(shape),
        np.tile(nodes, 256).reshape(shape),
    )
    return log_prob.numpy().reshape(256, len(nodes))


@pytest.mark.parametrize("location", [0.31, 0.62])
@pytest.mark.parametrize("scale", [0.004, 0.02, 0.1])
def test_quantized_normal_is_a_tight_bound_on_the_discrete_likelihood(location, scale):
    points, weights = np.polynomial.legendre.leggauss(12)
    nodes, weights = 0.5 * (points + 1), 0.5 * weights  # on [0, 1]
    log_density = log_densities_of_all_levels(location, scale, nodes)
    exact = discrete_probability(location, scale)
    distance = np.abs((LEVELS + 0.5) / 256 - location)
    near = distance < 4 * scale

    # Averaged over u, the density is the discrete probability: P(v) = E_u exp(log_prob).
    np.testing.assert_allclose(
        (np.exp(log_density) @ weights)[near], exact[near], rtol=3e-4, atol=0
    )
    # These probabilities sum to one, save for the mass outside [0, 1].
    outside = 0.5 * math.erfc(location / scale / math.sqrt(2))
    outside += 0.5 * math.erfc((1 - location) / scale / math.sqrt(2))
    assert np.sum(np.exp(log_density) @ weights) == pytest.approx(1.0 - outside, abs=1e-4)

    # Jensen: averaged over u, log_prob is below log P(v), by the documented gap.
    gap = np.log(exact[near]) - log_density[near] @ weights
    assert np.all(gap > 0)
    if scale > 0.01:
        predicted = (distance / (256 * scale**2)) ** 2 / 24 + (1 / (256 * scale)) ** 4 / 1440
        np.testing.assert_allclose(gap, predicted[near], rtol=0.1, atol=1e-5)
    else:  # as wide as a level: the bound is loose
        assert np.max(gap) > 0.05


@pytest.mark.parametrize("scale_type", ["global", "pixel"])
@pytest.mark.parametrize("initial_scale", [0.0011, 0.1, 50.0])
def test_scale_starts_where_it_was_told(scale_type, initial_scale):
    likelihood = QuantizedNormal(SHAPE[1:], scale_type, initial_scale=initial_scale)
    expected_shape = () if scale_type == "global" else SHAPE[1:]
    np.testing.assert_allclose(
        likelihood.scale, np.full(expected_shape, initial_scale), rtol=1e-5, strict=False
    )
    assert likelihood.scale.shape == expected_shape
    likelihood.raw_scale.assign(np.full(expected_shape, -1e4))
    np.testing.assert_allclose(likelihood.scale, np.full(expected_shape, 1e-3), rtol=1e-6)


def test_levels_and_pixels_are_the_same_image(batch):
    outputs, levels, noise = batch
    pixels = (levels / np.float32(255)).astype(np.float32)
    for likelihood in likelihoods():
        np.testing.assert_allclose(
            likelihood.log_prob(outputs, levels, noise),
            likelihood.log_prob(outputs, pixels, noise),
            rtol=1e-6,
        )


def test_quantized_normal_rounds_pixels_to_the_nearest_level(batch):
    outputs, levels, noise = batch
    likelihood = QuantizedNormal(SHAPE[1:])
    expected = likelihood.log_prob(outputs, levels, noise)
    for offset in (-0.4, 0.4):
        pixels = (levels + offset) / 255
        np.testing.assert_array_equal(likelihood.log_prob(outputs, pixels, noise), expected)


def test_mean_is_the_sigmoid_of_the_outputs(batch):
    outputs = batch[0].astype(np.float32)
    for likelihood in likelihoods():
        for mean in (likelihood.mean(outputs), likelihood(outputs)):
            assert mean.dtype == tf.float32
            np.testing.assert_allclose(mean, sigmoid(outputs.astype(np.float64)), rtol=1e-5)


def test_half_precision_outputs_and_policies_stay_float32_inside(batch):
    outputs = tf.cast(batch[0], tf.bfloat16)
    exact_outputs = tf.cast(outputs, tf.float32)
    noise = batch[2].astype(np.float32)

    class HalfPrecisionModel(keras.layers.Layer):
        """Its call runs with the variables of its layers cast to bfloat16."""

        def __init__(self, likelihood):
            super().__init__(dtype="mixed_bfloat16")
            self.likelihood = likelihood

        def call(self, outputs):
            return self.likelihood.log_prob(outputs, batch[1], noise), self.likelihood(outputs)

    for likelihood in likelihoods():
        log_prob, mean = HalfPrecisionModel(likelihood)(outputs)
        assert log_prob.dtype == tf.float32 and mean.dtype == tf.float32
        exact = likelihood.log_prob(exact_outputs, batch[1], noise)
        np.testing.assert_array_equal(log_prob, exact)
        np.testing.assert_array_equal(mean, likelihood.mean(exact_outputs))


def test_likelihoods_survive_serialisation(batch, tmp_path):
    outputs = keras.Input(SHAPE[1:])
    for likelihood in likelihoods():
        for variable in likelihood.variables:
            variable.assign(variable.numpy() - 1.0)
        keras.Model(outputs, likelihood(outputs)).save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras").layers[-1]
        assert type(loaded) is type(likelihood)
        for field in ("image_shape", "scale_type", "initial_scale", "minimum_scale"):
            assert getattr(loaded, field, None) == getattr(likelihood, field, None)
        assert len(loaded.trainable_variables) == len(likelihood.trainable_variables)
        np.testing.assert_array_equal(loaded.log_prob(*batch), likelihood.log_prob(*batch))


def test_face_tells_who_needs_noise(batch):
    assert not Bernoulli.needs_noise and QuantizedNormal.needs_noise
    with pytest.raises(ValueError, match="noise is None"):
        QuantizedNormal(SHAPE[1:]).log_prob(batch[0], batch[1])


def test_arrays_that_would_broadcast_are_refused(batch):
    outputs, levels, noise = batch
    for likelihood in likelihoods():
        with pytest.raises(ValueError, match=r"images has shape \[1, 4, 3, 2\], expected \[2, 4"):
            likelihood.log_prob(outputs, levels[:1], noise)
        with pytest.raises(ValueError, match=r"parameters has shape \[2, 4, 3\], expected \[B, H"):
            likelihood.log_prob(outputs[..., 0], levels[..., 0], noise[..., 0])
    with pytest.raises(ValueError, match=r"noise has shape \[2, 4, 3, 1\], expected"):
        QuantizedNormal(SHAPE[1:]).log_prob(outputs, levels, noise[..., :1])
    with pytest.raises(ValueError, match=r"expected \[None, 4, 3, 1\]"):
        QuantizedNormal((4, 3, 1)).log_prob(outputs, levels, noise)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_shape": (28, 28)}, r"image_shape is \(28, 28\)"),
        ({"image_shape": (28, 28, 0)}, "image_shape"),
        ({"scale_type": "row"}, "scale_type is 'row', expected 'global' or 'pixel'"),
        ({"initial_scale": 0.001}, "0 < minimum_scale < initial_scale"),
        ({"minimum_scale": 0.0}, "0 < minimum_scale < initial_scale"),
        ({"initial_scale": float("nan")}, "0 < minimum_scale < initial_scale"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        QuantizedNormal(**{"image_shape": (4, 3, 2), **arguments})

"""Gaussian posteriors and the prior: against TFP, NumPy, and an exact marginal likelihood."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfdm.distributions.posteriors import (
    MINIMUM_SCALE,
    DeterministicPosterior,
    GaussianPosterior,
    ImplicitPosterior,
    gaussian_kl_to_standard_normal,
    gaussian_loc_and_scale,
    kl_to_prior,
)
from tfdm.distributions.priors import StandardNormal, prior_entropy


def test_kl_of_each_dimension_matches_tfp_and_closed_form_gradients(rng):
    loc = rng.normal(0.0, 2.0, [5, 3])
    scale = np.exp(rng.uniform(-9.0, 3.0, [5, 3]))
    inputs = [tf.constant(loc), tf.constant(scale)]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        kl = gaussian_kl_to_standard_normal(*inputs)
    loc_gradient, scale_gradient = tape.gradient(kl, inputs)
    one = tf.constant(1.0, tf.float64)
    expected = tfd.kl_divergence(tfd.Normal(loc, scale), tfd.Normal(0.0 * one, one))
    np.testing.assert_allclose(kl, expected, rtol=1e-10)
    np.testing.assert_allclose(loc_gradient, loc, rtol=1e-12)
    np.testing.assert_allclose(scale_gradient, scale - 1.0 / scale, rtol=1e-10)


def test_encoder_output_becomes_location_and_scale():
    raw = np.array([[0.3, -2.0, 0.0, -3.0], [1e4, -1e4, 1e4, -1e4]], np.float32)
    loc, scale = gaussian_loc_and_scale(raw)
    np.testing.assert_array_equal(loc, raw[:, :2])
    exact = np.logaddexp(0.0, raw[:, 2:].astype(np.float64) + np.log(np.e - 1)) + MINIMUM_SCALE
    np.testing.assert_allclose(scale, exact, rtol=1e-6)
    assert float(scale[0, 0]) == pytest.approx(1.0, abs=2 * MINIMUM_SCALE)


@pytest.mark.parametrize("jit_compile", [None, True])
def test_extreme_outputs_keep_value_and_gradient_finite(jit_compile):
    parameters = tf.constant([[1e4, 0.0, -1e4, 1e4, -1e4, 200.0]])

    def compute(parameters):
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            loc, scale = gaussian_loc_and_scale(parameters)
            kl = gaussian_kl_to_standard_normal(loc, scale)
            sample = GaussianPosterior(loc, scale).from_noise(tf.ones([1, 3]))
            total = tf.reduce_sum(kl) + tf.reduce_sum(sample)
        return kl, tape.gradient(total, parameters)

    if jit_compile:
        compute = tf.function(compute, jit_compile=True)
    kl, gradient = compute(parameters)
    assert np.all(np.isfinite(kl)) and np.all(np.isfinite(gradient))
    # At the smallest scale, -1/2 - log(1e-4) = 8.7 nats.
    assert float(kl[0, 1]) == pytest.approx(-0.5 - np.log(MINIMUM_SCALE), rel=1e-6)


def test_half_precision_outputs_give_a_float32_posterior():
    parameters = tf.constant([[0.5, -1.0, 0.25, 2.0]], tf.bfloat16)
    posterior = GaussianPosterior.from_parameters(parameters)
    exact = GaussianPosterior.from_parameters(tf.cast(parameters, tf.float32))
    for actual, expected in ((posterior.loc, exact.loc), (posterior.scale, exact.scale)):
        assert actual.dtype == tf.float32
        np.testing.assert_array_equal(actual, expected)


def test_kl_to_the_prior_is_closed_or_an_unbiased_estimate(rng):
    parameters = rng.normal(size=[6, 8]).astype(np.float32)
    posterior = GaussianPosterior.from_parameters(parameters)
    exact = tfd.MultivariateNormalDiag(posterior.loc, posterior.scale).kl_divergence(
        tfd.MultivariateNormalDiag(tf.zeros([4]))
    )
    closed = kl_to_prior(posterior, posterior.sample(), StandardNormal(4))
    np.testing.assert_allclose(closed, exact, rtol=1e-5)

    class Another(StandardNormal):
        """The same prior under another name, which leaves the estimate."""

    codes = posterior.sample([4000], seed=3)
    estimates = kl_to_prior(posterior, codes, Another(4)).numpy().astype(np.float64)
    assert estimates.shape == (4000, 6)
    error = estimates.std(axis=0) / np.sqrt(4000)
    assert np.all(error > 0) and np.all(np.abs(estimates.mean(axis=0) - exact) < 5 * error)


def test_prior_is_standard_normal(rng):
    prior, codes = StandardNormal(3), rng.normal(size=[2, 5, 3])
    expected = -0.5 * np.sum(codes**2, axis=-1) - 1.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(prior.log_prob(codes), expected, rtol=1e-14)
    assert prior.log_prob(codes.astype(np.float32)).dtype == tf.float32
    np.testing.assert_array_equal(prior.from_noise(codes), codes)
    entropy = 1.5 * np.log(2 * np.pi * np.e)
    assert float(prior_entropy(prior, codes)) == pytest.approx(entropy, rel=1e-6)
    with pytest.raises(ValueError, match="latent_dim is 0"):
        StandardNormal(0)


POSTERIORS = {
    "gaussian": lambda: GaussianPosterior.from_parameters(tf.reshape(tf.range(24.0), [4, 6]) / 9),
    "implicit": lambda: ImplicitPosterior(lambda noise: noise[:, :3] * noise[:, 3:6], 4, 9),
    "deterministic": lambda: DeterministicPosterior(tf.reshape(tf.range(12.0), [4, 3])),
}


@pytest.mark.parametrize("kind", POSTERIORS)
def test_posteriors_are_asked_by_capability(kind):
    posterior = POSTERIORS[kind]()
    single, many = posterior.sample(seed=1), posterior.sample([2, 5], seed=1)
    assert single.shape == [4, 3] and many.shape == [2, 5, 4, 3]
    np.testing.assert_array_equal(single, posterior.sample(seed=1))
    # All draws are different, but for a point mass.
    assert len(np.unique(many[..., 0])) == (4 if kind == "deterministic" else 40)
    for capability in ("log_prob", "loc", "scale"):
        assert hasattr(posterior, capability) == (kind == "gaussian")
    if kind == "gaussian":
        expected = tfd.MultivariateNormalDiag(posterior.loc, posterior.scale).log_prob(many)
        np.testing.assert_allclose(posterior.log_prob(many), expected, rtol=1e-4)
        assert posterior.log_prob(tf.cast(single, tf.float64)).dtype == tf.float64


@pytest.mark.parametrize("leading", [[], [2, 5]])
def test_codes_of_any_number_of_images_keep_their_dimension(leading):
    """A network of one's own may need it where the graph does not know the batch."""

    def codes_of(noise: tf.Tensor) -> tf.Tensor:
        implicit = ImplicitPosterior(lambda row: 2.0 * row[:, :3], tf.shape(noise)[-2], 9)
        return implicit.from_noise(noise)

    noise = tf.TensorSpec([*leading, None, 9], tf.float32)
    traced = tf.function(codes_of, input_signature=[noise], autograph=False)
    found = traced.get_concrete_function().output_shapes
    assert found.as_list() == [*leading, None, 3]
    drawn = tf.random.stateless_normal([*leading, 4, 9], [1, 2])
    np.testing.assert_array_equal(traced(drawn), 2.0 * drawn[..., :3])


def test_arrays_that_would_broadcast_are_refused():
    two, one = tf.zeros([4, 2]), tf.ones([4, 1])
    with pytest.raises(ValueError, match=r"noise has shape \[4, 1\], expected \[4, 2\]"):
        GaussianPosterior(two, two).from_noise(one)
    with pytest.raises(ValueError, match=r"scale has shape \[4, 1\], expected \[4, 2\]"):
        gaussian_kl_to_standard_normal(two, one)
    with pytest.raises(ValueError, match="3 columns, expected 2L"):
        GaussianPosterior.from_parameters(tf.zeros([4, 3]))
    with pytest.raises(ValueError, match=r"shape \[6\], expected \[B, 2L\]"):
        GaussianPosterior.from_parameters(tf.zeros([6]))

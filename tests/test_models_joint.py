"""ALI and AVB on linear-Gaussian models, where every log-ratio is known.

Images [1, 1, D] stand for vectors x, and q(z|x) is Gaussian.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.model_cases import FixedNoise
from tfdm.models.ali import ALI
from tfdm.models.avb import AVB

DATA_DIM, LATENT_DIM, NOISE_DIM = 3, 2, 3
NOISE_SCALE = 0.8  # σ of p(x|z)


def log_normal(values: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """log N(values; 0, covariance), values [n, d]."""
    squares = np.einsum("nd,de,ne->n", values, np.linalg.inv(covariance), values)
    return -0.5 * (squares + np.linalg.slogdet(2.0 * np.pi * covariance)[1])


# --- ALI ------------------------------------------------------------------------------------


class QuadraticJoint(keras.layers.Layer):
    """A discriminator linear in 1, x, z, x², x z, z²; its loss has one minimum."""

    def build(self, input_shape: Any) -> None:
        self.weights_ = self.add_weight(shape=(6,), initializer="zeros")

    def call(self, inputs: Any) -> tf.Tensor:
        return tf.linalg.matvec(self.features(*inputs), self.weights_.value)

    @staticmethod
    def features(images: tf.Tensor, codes: tf.Tensor) -> tf.Tensor:
        x, z = tf.reshape(images, [-1]), tf.reshape(codes, [-1])
        return tf.stack([tf.ones_like(x), x, z, x * x, x * z, z * z], axis=-1)


def quadratic(mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """The coefficients of log N([x, z]; mean, covariance)."""
    p = np.linalg.inv(covariance)
    shift = p @ mean
    constant = -0.5 * (mean @ shift + np.linalg.slogdet(2.0 * np.pi * covariance)[1])
    return np.array([constant, *shift, -0.5 * p[0, 0], -p[0, 1], -0.5 * p[1, 1]])


def test_the_log_ratio_of_the_joints_is_the_optimum_of_alis_discriminator(rng):
    """q(z|x) p*(x) and p(x|z) p(z) are Gaussians of two dimensions."""
    number, slope, intercept, noise_scale = 200_000, 0.7, 0.2, 0.6
    generator = keras.Sequential(
        [
            keras.Input([1]),
            keras.layers.Dense(1, kernel_initializer=keras.initializers.Constant(slope)),
            keras.layers.GaussianNoise(noise_scale, seed=1),
            keras.layers.Reshape([1, 1, 1]),
        ]
    )
    encoder = keras.Sequential(
        [
            keras.Input([1, 1, 1]),
            keras.layers.Flatten(),
            keras.layers.Dense(2, kernel_initializer="zeros"),
        ]
    )
    networks = {"encoder": encoder, "generator": generator, "discriminator": QuadraticJoint()}
    model = ALI(latent_dim=1, image_shape=(1, 1, 1), networks=networks)
    encoder.layers[-1].set_weights([np.array([[0.5, 0.0]]), np.array([intercept, 0.1])])
    data_mean, data_scale = 0.3, 0.9
    images = (data_mean + data_scale * rng.normal(size=[number, 1, 1, 1])).astype(np.float32)
    scale = float(model.infer(tf.constant(images[:1]), training=False).scale[0, 0])

    joint = np.array([[1.0, 0.5], [0.5, 0.25]]) * data_scale**2 + np.diag([0.0, scale**2])
    data = quadratic(np.array([data_mean, 0.5 * data_mean + intercept]), joint)
    covariance = np.array([[slope**2 + noise_scale**2, slope], [slope, 1.0]])
    log_ratio = data - quadratic(np.zeros(2), covariance)

    def gradient(weights: np.ndarray) -> np.ndarray:
        model.discriminator.set_weights([weights])
        with tf.GradientTape() as tape:
            losses, _ = model.player_losses(tf.constant(images), FixedNoise(rng, number), True)
        [found] = tape.gradient(losses["discriminator"], model.discriminator.trainable_variables)
        return found.numpy()

    # The spread of the gradient, from batches of which each has noise of its own.
    parts = np.array([gradient(log_ratio) for _ in range(8)])
    error = parts.std(0, ddof=1) / math.sqrt(len(parts)) + 1.0 / math.sqrt(number)
    assert np.all(np.abs(parts.mean(0)) < 5 * error)
    for index in range(6):
        moved = log_ratio + 0.1 * np.eye(6)[index]
        assert np.abs(gradient(moved)[index]) > 5 * error[index], index


# --- AVB ------------------------------------------------------------------------------------


@keras.saving.register_keras_serializable(package="tests")
class LinearEncoder(keras.layers.Layer):
    """f(x, ε) = A x + b + C ε: q(z|x) = N(A x + b, C Cᵀ)."""

    def build(self, input_shape: Any) -> None:
        shapes = (LATENT_DIM, DATA_DIM), (LATENT_DIM,), (LATENT_DIM, NOISE_DIM)
        self.a, self.b, self.c = (self.add_weight(shape=s, initializer="ones") for s in shapes)

    def call(self, inputs: Any) -> tf.Tensor:
        images, noise = inputs
        x = tf.reshape(images, [-1, DATA_DIM])
        loc = tf.matmul(x, self.a.value, transpose_b=True) + self.b.value
        return loc + tf.matmul(noise, self.c.value, transpose_b=True)


class GaussianLikelihood:
    """p(x|z) = N(W z, σ² I) on pixels; the model maps images to [0, 1], and the test back."""

    needs_noise = False

    @staticmethod
    def log_prob(parameters: tf.Tensor, pixels: tf.Tensor, noise: Any) -> tf.Tensor:
        residuals = (2.0 * pixels - 1.0 - parameters) / NOISE_SCALE
        constant = DATA_DIM * math.log(NOISE_SCALE * math.sqrt(2.0 * math.pi))
        return -0.5 * tf.reduce_sum(tf.square(residuals), [1, 2, 3]) - constant


class Conjugate:
    """A conjugate model, and an AVB whose adversary is the exact log-ratio."""

    def __init__(self, rng: np.random.Generator, is_posterior: bool, **options: Any) -> None:
        self.w = rng.normal(size=[DATA_DIM, LATENT_DIM])
        precision = np.eye(LATENT_DIM) + self.w.T @ self.w / NOISE_SCALE**2
        if is_posterior:
            covariance = np.linalg.inv(precision)
            self.a, self.b = covariance @ self.w.T / NOISE_SCALE**2, np.zeros(LATENT_DIM)
            root = np.linalg.cholesky(covariance)
            self.c = np.concatenate([root, np.zeros([LATENT_DIM, 1])], axis=1)
        else:
            self.a, self.b = rng.normal(size=[LATENT_DIM, DATA_DIM]), rng.normal(size=LATENT_DIM)
            self.c = 0.6 * rng.normal(size=[LATENT_DIM, NOISE_DIM])
        generator = keras.Sequential(
            [
                keras.Input([LATENT_DIM]),
                keras.layers.Dense(DATA_DIM, use_bias=False, kernel_initializer="zeros"),
                keras.layers.Reshape([1, 1, DATA_DIM]),
            ]
        )
        networks = {
            "encoder": LinearEncoder(),
            "generator": generator,
            "adversary": QuadraticAdversary(),
        }
        self.model = AVB(
            latent_dim=LATENT_DIM,
            noise_dim=NOISE_DIM,
            image_shape=(1, 1, DATA_DIM),
            networks=networks,
            **options,
        )
        self.model.encoder.set_weights([self.a, self.b, self.c])
        generator.set_weights([self.w.T])
        self.model.likelihood = GaussianLikelihood()
        self.covariance = self.c @ self.c.T

    def log_posterior(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        """log q(z|x)."""
        return log_normal(z - x @ self.a.T - self.b, self.covariance)

    def use_the_exact_adversary(self, noise: FixedNoise) -> None:
        """T is log q(z|x) − log p(z), or with the adaptive contrast log q(z̃|x) − log N(z̃)."""
        config, model = self.model.config, self.model
        inverse = tf.constant(np.linalg.inv(self.covariance), tf.float32)
        normalizer = 0.5 * np.linalg.slogdet(2.0 * np.pi * self.covariance)[1]
        a, b = tf.constant(self.a, tf.float32), tf.constant(self.b, tf.float32)

        def adversary(inputs: Any, training: bool) -> tf.Tensor:
            images, codes = inputs
            jacobian = tf.constant(0.0)
            log_prior = model.prior.log_prob(codes)
            if config.adaptive_contrast:
                moments = model.moments(images, noise, training)
                codes = moments.loc + moments.scale * codes
                jacobian = tf.reduce_sum(tf.math.log(moments.scale), axis=-1)
            x = tf.reshape(images, [-1, DATA_DIM])
            residuals = codes - tf.matmul(x, a, transpose_b=True) - b
            squares = tf.einsum("nd,de,ne->n", residuals, inverse, residuals)
            log_posterior = jacobian - 0.5 * squares - normalizer
            return log_posterior if config.log_prior_in_adversary else log_posterior - log_prior

        model.adversary = adversary

    def gradients(self, x: np.ndarray, noise: FixedNoise) -> tuple[float, list[np.ndarray]]:
        """The loss of the autoencoder and its gradients in A, b and C."""
        images = tf.constant(x.reshape([-1, 1, 1, DATA_DIM]), tf.float32)
        self.use_the_exact_adversary(noise)
        with tf.GradientTape() as tape:
            losses, terms = self.model.player_losses(images, noise, True)
        loss = losses["autoencoder"]
        assert float(terms["bound_estimate"]) == pytest.approx(-float(loss), rel=1e-6)
        return float(loss), tape.gradient(loss, self.model.encoder.trainable_variables)


VARIANTS = pytest.mark.parametrize(
    "options",
    [
        {"adaptive_contrast": contrast, "log_prior_in_adversary": log_prior}
        for contrast in (False, True)
        for log_prior in (False, True)
    ],
    ids=lambda options: "-".join(name for name, on in options.items() if on) or "plain",
)


class QuadraticAdversary(keras.layers.Layer):
    """An adversary linear in all products of two of 1, x and z."""

    def build(self, input_shape: Any) -> None:
        side = 1 + DATA_DIM + LATENT_DIM
        self.form = self.add_weight(shape=(side, side), initializer="zeros")

    def call(self, inputs: Any) -> tf.Tensor:
        images, codes = inputs
        x = tf.reshape(images, [-1, DATA_DIM])
        ones = tf.ones_like(codes[:, :1])
        features = tf.concat([ones, x, codes], axis=-1)
        return tf.einsum("nd,de,ne->n", features, self.form.value, features)


@VARIANTS
def test_at_the_posterior_the_bound_is_the_likelihood_and_nothing_moves(rng, options):
    """So for every noise: the optimum is that of the exact bound, with the contrast and without."""
    case = Conjugate(rng, is_posterior=True, **options)
    x = rng.normal(size=[50, DATA_DIM])
    marginal = case.w @ case.w.T + NOISE_SCALE**2 * np.eye(DATA_DIM)
    loss, gradients = case.gradients(x, FixedNoise(rng, 50))
    assert loss == pytest.approx(-log_normal(x, marginal).mean(), rel=1e-5)
    for gradient in gradients:
        np.testing.assert_allclose(gradient, 0.0, atol=2e-5)


@VARIANTS
def test_with_the_exact_ratio_loss_and_gradient_are_those_of_the_exact_bound(rng, options):
    case = Conjugate(rng, is_posterior=False, **options)
    number = 20_000
    x = np.tile(rng.normal(size=[4, DATA_DIM]), [number // 4, 1])
    noise = FixedNoise(rng, number)
    loss, gradients = case.gradients(x, noise)

    # The path derivative with the same noise: log q(z|x) moves by z alone.
    epsilon = noise.drawn["posterior"].astype(np.float64)
    loc, inverse = x @ case.a.T + case.b, np.linalg.inv(case.covariance)
    z = loc + epsilon @ case.c.T
    residuals = x - z @ case.w.T
    log_likelihood = log_normal(residuals, NOISE_SCALE**2 * np.eye(DATA_DIM))
    log_ratio = case.log_posterior(x, z) - log_normal(z, np.eye(LATENT_DIM))
    losses = log_ratio - log_likelihood
    assert loss == pytest.approx(losses.mean(), rel=1e-5)
    d_z = z - (z - loc) @ inverse - residuals @ case.w / NOISE_SCALE**2
    paths = [np.einsum("nd,ne->nde", d_z, x), d_z, np.einsum("nd,ne->nde", d_z, epsilon)]
    for gradient, path in zip(gradients, paths, strict=True):
        np.testing.assert_allclose(gradient, path.mean(0), rtol=1e-4, atol=1e-4)

    # The gradient of the exact bound, which knows the expectation over the noise.
    d_loc = loc - (x - loc @ case.w.T) @ case.w / NOISE_SCALE**2
    precision = np.eye(LATENT_DIM) + case.w.T @ case.w / NOISE_SCALE**2
    exact = [d_loc.T @ x / number, d_loc.mean(0), (precision - inverse) @ case.c]
    exact_loss = 0.5 * ((loc**2).sum(1) + np.trace(case.covariance) - LATENT_DIM)
    exact_loss -= 0.5 * np.linalg.slogdet(case.covariance)[1]
    exact_loss -= log_normal(x - loc @ case.w.T, NOISE_SCALE**2 * np.eye(DATA_DIM))
    spread = case.w @ case.covariance @ case.w.T
    exact_loss += 0.5 * np.trace(spread) / NOISE_SCALE**2
    assert abs(loss - exact_loss.mean()) < 5 * np.std(losses - exact_loss) / math.sqrt(number)
    for gradient, path, expected in zip(gradients, paths, exact, strict=True):
        # Within an image alone: the exact gradient knows the four images.
        error = np.mean([path[i::4].std(0) for i in range(4)], axis=0) / math.sqrt(number)
        assert np.all(np.abs(gradient - expected) < 6 * error)


@pytest.mark.parametrize("log_prior", [False, True])
def test_a_trained_adversary_approaches_the_log_ratio(rng, log_prior):
    case = Conjugate(
        rng,
        is_posterior=True,
        log_prior_in_adversary=log_prior,
        adversary_learning_rate=2e-2,
        learning_rate=0.0,
    )
    number = 4000
    model = case.model
    x = rng.normal(size=[number, DATA_DIM])
    pixels = tf.constant((x.reshape([-1, 1, 1, DATA_DIM]) + 1.0) / 2.0, tf.float32)
    step = tf.function(model.train_step, autograph=False)
    for _ in range(600):
        step(pixels)
    z = x @ case.a.T + case.b + rng.normal(size=[number, NOISE_DIM]) @ case.c.T
    expected = case.log_posterior(x, z) - log_normal(z, np.eye(LATENT_DIM))
    images = tf.constant(x.reshape([-1, 1, 1, DATA_DIM]), tf.float32)
    found = model.log_ratio(images, tf.constant(z, tf.float32), model.prior, False).numpy()
    assert expected.std() > 0.5
    assert np.sqrt(np.mean((found - expected) ** 2)) < 0.15 * expected.std()

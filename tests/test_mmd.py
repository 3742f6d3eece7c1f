"""The maximum mean discrepancy, and a step of the Wasserstein autoencoder by hand."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.mmd_cases import unbiased_mmd
from tfdm.mmd import SCALES, inverse_multiquadratics, mmd
from tfdm.models.wae import WAE
from tfdm.training.noise import StepNoise


@pytest.mark.parametrize(("number", "other"), [(7, 7), (2, 5)])
def test_the_discrepancy_is_that_of_a_double_loop(rng, number, other):
    first, second = rng.normal(size=[number, 3]), 2.0 * rng.normal(size=[other, 3]) + 1.0
    expected = unbiased_mmd(first, second)
    assert float(mmd(first, second)) == pytest.approx(expected, rel=1e-12)
    assert float(mmd(np.float32(first), np.float32(second))) == pytest.approx(expected, rel=1e-5)
    permuted = mmd(rng.permutation(first), rng.permutation(second))
    assert float(permuted) == pytest.approx(expected, rel=1e-12)
    assert float(mmd(second, first)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_the_estimate_is_unbiased(rng, shift):
    """Against averages over a million pairs; zero where both distributions are the same."""
    compute = tf.function(mmd, autograph=False)
    draws = rng.normal(size=[2, 2000, 4, 2])
    estimates = [float(compute(x, y + shift)) for x, y in zip(*draws, strict=True)]
    error = np.std(estimates) / np.sqrt(len(estimates))
    assert min(estimates) < 0.0
    expected = 0.0
    if shift:
        pairs = rng.normal(size=[2, 1_000_000, 2])
        distances = [((pairs[0] - pairs[1] - by) ** 2).sum(-1) for by in (0.0, shift)]
        constants = 4.0 * np.array(SCALES)[:, np.newaxis]
        within, across = [(constants / (constants + d)).sum(0) for d in distances]
        expected = 2.0 * (within.mean() - across.mean())
        error = np.hypot(error, 2.0 * np.std(within - across) / 1000.0)
        assert expected > 20 * error
    assert abs(np.mean(estimates) - expected) < 5 * error


def test_equal_codes_have_the_largest_kernel_and_finite_gradients(rng):
    codes = tf.constant(100.0 * rng.normal(size=[5, 3]), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(codes)
        kernels = inverse_multiquadratics(codes, codes)
    np.testing.assert_allclose(np.diag(kernels), 7.0, rtol=1e-2)
    assert np.max(kernels) <= 7.0
    assert np.isfinite(tape.gradient(kernels, codes)).all()
    with pytest.raises(ValueError, match="second holds 1 codes, expected 2 or more"):
        mmd(codes, codes[:1])
    with pytest.raises(ValueError, match=r"first has shape \[3\], expected \[n, L\]"):
        mmd(codes[0], codes)


@keras.saving.register_keras_serializable(package="tests")
class PlainWAE(WAE):
    """A WAE that goes straight down the gradient."""

    def add_player(self, name: str, networks: Any, rate: Any = None, **_: Any) -> None:
        super().add_player(name, networks, optimizer=keras.optimizers.SGD(rate))


def test_a_step_of_a_linear_autoencoder_is_that_of_numpy(rng):
    """ẑ = x A and x̂ = ẑ W, moved by hand down |x − x̂|² + λ MMD²."""
    number, dim, latents, rate, weight = 6, 5, 2, 1e-2, 7.0
    encoder = keras.Sequential(
        [
            keras.Input([1, 1, dim]),
            keras.layers.Flatten(),
            keras.layers.Dense(latents, use_bias=False, kernel_initializer="zeros"),
        ]
    )
    generator = keras.Sequential(
        [
            keras.Input([latents]),
            keras.layers.Dense(dim, use_bias=False, kernel_initializer="zeros"),
            keras.layers.Reshape([1, 1, dim]),
        ]
    )
    networks = {"encoder": encoder, "generator": generator}
    options = {"latent_dim": latents, "penalty_weight": weight, "learning_rate": rate}
    model = PlainWAE(image_shape=(1, 1, dim), networks=networks, **options)
    a, w = (rng.normal(size=v.shape) for v in model.trainable_variables)
    for variable, value in zip(model.trainable_variables, (a, w), strict=True):
        variable.assign(value)
    pixels = rng.random([number, 1, 1, dim]).astype(np.float32)
    prior = StepNoise(model.seed, tf.constant(0, tf.int64), number).normal("prior", [latents])
    terms = model.train_step(tf.constant(pixels))

    x = 2.0 * pixels.reshape([number, dim]).astype(np.float64) - 1.0
    z = x @ a
    residual = z @ w - x
    d_z = 2.0 * residual @ w.T / number
    p = prior.numpy().astype(np.float64)
    for i in range(number):
        for scale in SCALES:
            c = 2.0 * latents * scale
            for j in range(number):
                # ∂/∂z_i of c / (c + |z_i − y|²), and each pair of codes counts twice.
                for y, share in (
                    (z[j], 2.0 / (number * (number - 1)) if i != j else 0.0),
                    (p[j], -2.0 / number**2),
                ):
                    slope = -2.0 * c * (z[i] - y) / (c + ((z[i] - y) ** 2).sum()) ** 2
                    d_z[i] += weight * share * slope
    loss = (residual**2).sum(1).mean() + weight * unbiased_mmd(p, z)
    assert float(terms["autoencoder_loss"]) == pytest.approx(loss, rel=1e-5)
    expected = a - rate * x.T @ d_z, w - rate * 2.0 * z.T @ residual / number
    for variable, value in zip(model.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(variable, value, rtol=1e-4, atol=1e-5)

"""The layers that replace Keras's: batch norm for precision, the joint head for speed."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdm.networks.batch_norm import BatchNorm, kept_averages
from tfdm.networks.joint import TiledConcatConv


def _images(shape: list[int], seed: int = 0) -> tf.Tensor:
    rng = np.random.default_rng(seed)
    return tf.constant(rng.normal(1.0, 3.0, shape), tf.float32)


def _keras_batch_norm(**options: Any) -> keras.layers.Layer:
    return keras.layers.BatchNormalization(**{"epsilon": 1e-5, **options})


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("jit_compile", [True, False])
def test_batch_norm_values_gradients_and_moving_averages(training: bool, jit_compile: bool) -> None:
    """Outputs, gradients and moving averages after two calls are those of Keras's layer."""
    images = _images([8, 5, 4, 6])
    results = []
    for layer in (BatchNorm(momentum=0.9, epsilon=1e-5), _keras_batch_norm(momentum=0.9)):
        layer.build(images.shape)
        gain, shift = np.linspace(0.5, 2.0, 6), np.linspace(-1.0, 1.0, 6)
        layer.set_weights([gain, shift, np.full(6, 0.3), np.full(6, 1.7)])

        @tf.function(jit_compile=jit_compile)
        def run(inputs: tf.Tensor, layer: keras.layers.Layer = layer) -> list[tf.Tensor]:
            sources = [inputs, *(v.value for v in layer.trainable_variables)]
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                outputs = layer(inputs, training=training)
                loss = tf.reduce_sum(tf.sin(outputs))
            return [outputs, *tape.gradient(loss, sources)]

        run(images)
        results.append([*run(images), *layer.get_weights()])
    for got, expected in zip(*results, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=2e-4)
    moved = np.abs(results[0][-2] - 0.3).max() > 0.1
    assert moved == training


def test_averages_are_kept_where_a_block_says_so() -> None:
    frozen = keras.layers.Dense(
        4, kernel_initializer=keras.initializers.Identity(), trainable=False
    )
    two = {"moving_variance_initializer": keras.initializers.Constant(2.0)}
    network = keras.Sequential([frozen, _keras_batch_norm(**two), BatchNorm(**two)])
    images = _images([8, 4])
    expected = network(images, training=True)
    before = network.get_weights()
    assigned: list[str] = []
    frozen.kernel._direct_assign = lambda value: assigned.append("kernel")
    with kept_averages(network, training=True):
        np.testing.assert_array_equal(network(images, training=True), expected)
    for kept, value in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(kept, value)
    assert not assigned
    network(images, training=True)
    moved = [np.any(a != b) for a, b in zip(network.get_weights(), before, strict=True)]
    assert moved[5]  # the variance of the first batch norm
    assert moved[9]  # and of the second


def test_batch_norm_gradient_can_be_differentiated_again() -> None:
    """The gradient of a gradient penalty behind two layers is that of finite differences."""
    layers = [BatchNorm(epsilon=1e-3, dtype="float64") for _ in range(2)]
    images = tf.constant(np.random.default_rng(0).normal(1.0, 3.0, [6, 2, 2, 2]))

    def penalty(images: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(images)
            hidden = tf.tanh(layers[0](tf.square(images), training=True))
            value = tf.reduce_sum(tf.sin(layers[1](hidden, training=True)))
        return tf.reduce_sum(tf.square(tape.gradient(value, images)))

    with tf.GradientTape() as tape:
        tape.watch(images)
        value = penalty(images)
    gradient = tape.gradient(value, images).numpy()
    assert np.abs(gradient).max() > 1e-3
    for index in ((0, 0, 0, 0), (3, 1, 0, 1), (5, 1, 1, 0)):
        move = np.zeros(images.shape)
        move[index] = 1e-5
        difference = (penalty(images + move) - penalty(images - move)).numpy() / 2e-5
        assert gradient[index] == pytest.approx(difference, rel=1e-5)


def test_batch_norm_in_bfloat16_normalises_in_float32() -> None:
    """Under the mixed policy outputs are bfloat16 and the statistics float32, as in Keras."""
    images = tf.cast(_images([16, 4, 4, 3]), tf.bfloat16)
    ours, theirs = (
        BatchNorm(epsilon=1e-5, dtype="mixed_bfloat16"),
        _keras_batch_norm(dtype="mixed_bfloat16"),
    )
    outputs = [layer(images, training=True) for layer in (ours, theirs)]
    assert outputs[0].dtype == tf.bfloat16
    np.testing.assert_allclose(*[tf.cast(o, tf.float32) for o in outputs], atol=0.02)
    for got, expected in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("replicas", [1, 2])
def test_batch_norm_keeps_its_precision_far_from_zero(replicas: int) -> None:
    """Mean 1000 and deviation 1: variance and outputs are those of float64, on two replicas too."""
    rng = np.random.default_rng(0)
    images = rng.normal(1000.0, 1.0, [16, 4, 4, 3]).astype(np.float32)
    images[8:] += 3.0
    devices = [device.name for device in tf.config.list_logical_devices("CPU")]
    strategy = tf.distribute.MirroredStrategy(devices[:replicas]) if replicas > 1 else None
    strategy = strategy or tf.distribute.get_strategy()
    assert strategy.num_replicas_in_sync == replicas
    with strategy.scope():
        layer = BatchNorm(momentum=0.0, epsilon=1e-5)
        layer.build(images.shape)
    size = len(images) // replicas
    parts = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(images[size * context.replica_id_in_sync_group :][:size])
    )
    run = tf.function(lambda part: strategy.run(lambda x: layer(x, training=True), [part]))
    outputs = np.concatenate(strategy.experimental_local_results(run(parts)))
    exact = images.astype(np.float64)
    mean, variance = exact.mean((0, 1, 2)), exact.var((0, 1, 2))
    np.testing.assert_allclose(layer.moving_mean.numpy(), mean, rtol=1e-6)
    np.testing.assert_allclose(layer.moving_variance.numpy(), variance, rtol=1e-5)
    np.testing.assert_allclose(outputs, (exact - mean) / np.sqrt(variance + 1e-5), atol=1e-3)


def test_tiled_concat_conv_is_a_convolution_of_the_tiled_codes() -> None:
    """Values and gradients are those of tiling, concatenation and a VALID convolution."""
    initializer = keras.initializers.RandomNormal(stddev=0.1, seed=4)
    layer = TiledConcatConv(7, 3, kernel_initializer=initializer)
    maps, codes = _images([5, 4, 4, 6]), _images([5, 9], seed=1)
    layer([maps, codes])
    layer.bias.assign(np.linspace(-1.0, 1.0, 7))

    def directly(maps: tf.Tensor, codes: tf.Tensor) -> tf.Tensor:
        kernel = tf.concat([layer.image_kernel.value, layer.code_kernel.value], axis=2)
        tiled = tf.tile(codes[:, None, None, :], [1, 4, 4, 1])
        joined = tf.concat([maps, tiled], axis=-1)
        return tf.nn.conv2d(joined, kernel, 1, "VALID") + layer.bias.value

    results = []
    for function in (lambda m, c: layer([m, c]), directly):
        sources = [maps, codes, *(v.value for v in layer.trainable_variables)]
        with tf.GradientTape() as tape:
            tape.watch([maps, codes])
            outputs = function(maps, codes)
            loss = tf.reduce_sum(tf.sin(outputs))
        results.append([outputs, *tape.gradient(loss, sources)])
    assert results[0][0].shape == (5, 2, 2, 7)
    for got, expected in zip(*results, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_tiled_concat_conv_initial_kernel_has_the_fan_in_of_the_joined_input() -> None:
    """Truncated normal of variance 1 / (k² (C + U)) over both parts of the kernel."""
    initializer = keras.initializers.VarianceScaling(1.0, "fan_in", "truncated_normal", seed=3)
    layer = TiledConcatConv(64, 3, kernel_initializer=initializer)
    layer.build([(None, 4, 4, 30), (None, 70)])
    for kernel in (layer.image_kernel.numpy(), layer.code_kernel.numpy()):
        expected = 1.0 / (9 * 100)
        error = 4 * expected * np.sqrt(2.0 / kernel.size)
        assert abs(kernel.var() - expected) < error

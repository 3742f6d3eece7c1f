"""The layers and the optimiser that replace Keras's for speed do what Keras's do."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdm.networks.batch_norm import BatchNorm
from tfdm.networks.joint import TiledConcatConv
from tfdm.networks.leaky_relu import LeakyReLU
from tfdm.training.adam import FusedAdam


def _images(shape: list[int], seed: int = 0) -> tf.Tensor:
    rng = np.random.default_rng(seed)
    return tf.constant(rng.normal(1.0, 3.0, shape), tf.float32)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("jit_compile", [True, False])
def test_batch_norm_values_gradients_and_moving_averages(training: bool, jit_compile: bool) -> None:
    """Outputs, gradients and moving averages after two calls are those of Keras's layer."""
    ours = BatchNorm(momentum=0.9, epsilon=1e-5)
    theirs = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
    images = _images([8, 5, 4, 6])
    results = []
    for layer in (ours, theirs):
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


def test_batch_norm_gradient_can_be_differentiated_again() -> None:
    """A gradient penalty through batch norm has the gradient that Keras's layer gives."""
    images = _images([6, 3, 3, 2])
    gradients = []
    for layer in (BatchNorm(epsilon=1e-5), keras.layers.BatchNormalization(epsilon=1e-5)):
        layer.build(images.shape)
        with tf.GradientTape() as outer:
            outer.watch(images)
            with tf.GradientTape() as inner:
                inner.watch(images)
                value = tf.reduce_sum(tf.sin(layer(images, training=True)))
            penalty = tf.reduce_sum(tf.square(inner.gradient(value, images)))
        gradients.append(outer.gradient(penalty, images).numpy())
    assert np.abs(gradients[1]).max() > 1e-3
    np.testing.assert_allclose(gradients[0], gradients[1], rtol=1e-3, atol=1e-5)


def test_batch_norm_in_bfloat16_normalises_in_float32() -> None:
    """Under the mixed policy outputs are bfloat16 and the statistics float32, as in Keras."""
    images = tf.cast(_images([16, 4, 4, 3]), tf.bfloat16)
    ours, theirs = BatchNorm(dtype="mixed_bfloat16"), None
    theirs = keras.layers.BatchNormalization(dtype="mixed_bfloat16")
    outputs = [layer(images, training=True) for layer in (ours, theirs)]
    assert outputs[0].dtype == tf.bfloat16
    np.testing.assert_allclose(*[tf.cast(o, tf.float32) for o in outputs], atol=0.02)
    for got, expected in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)


def _traced_update(
    optimizer: keras.optimizers.Optimizer, variable: keras.Variable, jit_compile: bool
) -> Callable[[tf.Tensor], None]:
    @tf.function(jit_compile=jit_compile)
    def move(gradient: tf.Tensor) -> None:
        optimizer.apply([gradient], [variable])

    return move


@pytest.mark.parametrize("jit_compile", [True, False])
def test_fused_adam_moves_as_adam(jit_compile: bool) -> None:
    """Ten updates give the weights and moments of Keras's Adam."""
    rng = np.random.default_rng(1)
    start = rng.normal(size=(3, 4)).astype(np.float32)
    gradients = rng.normal(size=(10, 3, 4)).astype(np.float32)
    states = []
    for kind in (FusedAdam, keras.optimizers.Adam):
        variable = keras.Variable(start)
        optimizer = kind(learning_rate=0.01, beta_1=0.5, beta_2=0.9, epsilon=1e-8)
        optimizer.build([variable])

        move = _traced_update(optimizer, variable, jit_compile)
        for gradient in gradients:
            move(tf.constant(gradient))
        states.append([variable.numpy(), *(v.numpy() for v in optimizer.variables)])
    for got, expected in zip(*states, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


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


def test_leaky_relu_first_and_second_derivatives() -> None:
    """Values and gradients are the rectifier's; a penalty on the gradient has the same gradient."""
    kernel = _images([4, 5], seed=2)
    images = _images([8, 4], seed=3)
    results = []
    for layer in (LeakyReLU(0.2), keras.layers.LeakyReLU(0.2)):
        with tf.GradientTape(persistent=True) as outer:
            outer.watch([images, kernel])
            with tf.GradientTape() as inner:
                inner.watch(images)
                outputs = layer(images @ kernel)
                value = tf.reduce_sum(tf.square(outputs))
            gradient = inner.gradient(value, images)
            penalty = tf.reduce_sum(tf.square(gradient))
        results.append([outputs, gradient, outer.gradient(penalty, kernel)])
    for got, expected in zip(*results, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)

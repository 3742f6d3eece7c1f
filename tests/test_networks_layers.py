"""The factory of layers: widths, initial weights, seeds, precision."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdm.networks import images as networks
from tfdm.networks.code import code_discriminator
from tfdm.networks.layers import LayerFactory

LATENT_DIM = 50


def make(name: str = "network", **options: object) -> LayerFactory:
    return LayerFactory(name, **options)


def kernels(network: keras.Model) -> dict[str, np.ndarray]:
    """The kernels of a network by path."""
    found = {v.path: v.numpy() for v in network.trainable_variables if "kernel" in v.name}
    assert found
    return found


def normal_error(std: float, size: int) -> float:
    """Five standard errors of the standard deviation of `size` normal numbers."""
    return 5 * std / np.sqrt(2 * size)


def fan_in(layer: keras.layers.Layer) -> int:
    """How many inputs an output of the layer adds up, strides left out."""
    shape = layer.kernel.shape
    if isinstance(layer, keras.layers.Conv2DTranspose):
        return shape[0] * shape[1] * shape[3]
    return int(np.prod(shape[:-1]))


@pytest.mark.parametrize(
    "network",
    [
        lambda: networks.generator(make(), LATENT_DIM, (28, 28, 3)),
        lambda: networks.discriminator(make(), (28, 28, 3)),
        lambda: networks.encoder(make(), LATENT_DIM, (28, 28, 3), "gaussian"),
        lambda: code_discriminator(make(), LATENT_DIM),
    ],
    ids=["generator", "discriminator", "encoder", "code_discriminator"],
)
def test_weights_have_the_variance_of_their_fan_in(network):
    """A truncated normal: nothing beyond two standard deviations of the untruncated one."""
    layers = [layer for layer in network().layers if hasattr(layer, "kernel")]
    assert len(layers) >= 4
    for layer in layers:
        values, std = layer.kernel.numpy(), 1 / np.sqrt(fan_in(layer))
        assert abs(values.std() - std) < normal_error(std, values.size), layer.name
        assert abs(values.mean()) < 5 * std / np.sqrt(values.size)
        assert np.abs(values).max() <= 2 * std / 0.8796 * 1.001
        if layer.use_bias:
            np.testing.assert_array_equal(layer.bias, 0.0)


@pytest.mark.parametrize("size", [32, 64])
def test_dcgan_weights_and_gains_have_a_deviation_of_002(size):
    generator = networks.generator(make(), LATENT_DIM, (size, size, 3))
    discriminator = networks.discriminator(make(), (size, size, 3))
    for network in (generator, discriminator):
        for path, values in kernels(network).items():
            assert abs(values.std() - 0.02) < normal_error(0.02, values.size), path
            assert abs(values.mean()) < 5 * 0.02 / np.sqrt(values.size)
        gains = np.concatenate(
            [v.numpy() for v in network.trainable_variables if "gamma" in v.name]
        )
        assert abs(gains.std() - 0.02) < normal_error(0.02, gains.size)
        assert abs(gains.mean() - 1.0) < 5 * 0.02 / np.sqrt(gains.size)
        for variable in network.trainable_variables:
            if variable.name == "beta":
                np.testing.assert_array_equal(variable, 0.0)


def test_a_frozen_batch_norm_is_in_inference_mode():
    layer = make(batch_norm_momentum=0.75).batch_norm()
    assert (layer.momentum, layer.epsilon) == (0.75, 1e-5)
    images = tf.random.stateless_normal([8, 6, 6, 2], [1, 2]) + 5.0
    layer(images)
    layer.trainable = False
    np.testing.assert_array_equal(layer(images, training=True), layer(images, training=False))
    np.testing.assert_array_equal(layer.moving_mean, 0.0)


def all_networks(seed: int) -> list[keras.Model]:
    options = {"seed": seed, "width": 0.5}
    shape = (28, 28, 3)
    return [
        networks.generator(make("generator", **options), LATENT_DIM, shape),
        networks.generator(make("generator32", **options), LATENT_DIM, (32, 32, 3)),
        networks.encoder(make("encoder", **options), LATENT_DIM, shape, "implicit"),
        networks.discriminator(make("discriminator", **options), shape),
        code_discriminator(make("code_discriminator", **options), LATENT_DIM),
        networks.joint_discriminator(make("joint", **options), LATENT_DIM, shape, 64),
    ]


def test_no_two_kernels_begin_with_the_same_numbers():
    """A shared seed would show as equal, scaled, leading numbers, whatever the shapes."""
    heads = {}
    for seed in (0, 1):
        for network in all_networks(seed):
            for path, values in kernels(network).items():
                if values.size >= 200:
                    heads[seed, network.name, path] = values.ravel()[:200]
    assert len(heads) > 40
    for (first, one), (second, two) in itertools.combinations(heads.items(), 2):
        assert abs(np.corrcoef(one, two)[0, 1]) < 6 / np.sqrt(200), (first, second)


@pytest.mark.parametrize(("width", "expected"), [(1.0, 64), (0.5, 32), (1 / 64, 1), (2.0, 128)])
def test_width_scales_maps_and_units(width, expected):
    assert make(width=width).scaled(64) == expected
    assert make(width=width).scaled(1) >= 1


def test_width_scales_every_network_but_not_its_inputs_and_outputs():
    generator = networks.generator(make(width=0.25), 7, (28, 28, 3))
    assert generator.input.shape == (None, 7)
    assert generator.output.shape == (None, 28, 28, 3)
    maps = [v.shape[-1] for v in generator.trainable_variables if v.name == "gamma"]
    assert maps == [16, 16, 8]


@pytest.mark.parametrize("size", [28, 32])
def test_mixed_precision_keeps_weights_and_outputs_in_float32(size):
    options = {"width": 1 / 8, "dtype": "mixed_bfloat16"}
    shape = (size, size, 3)
    images, codes = tf.zeros([2, *shape]), tf.zeros([2, 5])
    calls = [
        (networks.generator(make(**options), 5, shape), codes),
        (networks.discriminator(make(**options), shape), images),
        (networks.discriminator(make(**options), shape, normalization="layer"), images),
        (networks.encoder(make(**options), 5, shape, "gaussian"), images),
        (networks.encoder(make(**options), 5, shape, "implicit"), [images, codes]),
        (networks.joint_discriminator(make(**options), 5, shape, 16), [images, codes]),
        (code_discriminator(make(**options), 5), codes),
    ]
    for network, inputs in calls:
        assert network(inputs, training=True).dtype == tf.float32
        assert {v.dtype for v in network.variables} == {"float32"}
        computing = {layer.compute_dtype for layer in network.layers if layer.weights}
        assert computing == {"bfloat16"}


def test_global_precision_policy_does_not_reach_the_networks():
    """The policy of a model is its own; the tests' guard puts the global one back."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = networks.generator(make(width=1 / 8), 5, (28, 28, 3))
        images = network(tf.fill([2, 5], 0.123))
    finally:
        keras.config.set_dtype_policy(before)
    expected = networks.generator(make(width=1 / 8), 5, (28, 28, 3))(tf.fill([2, 5], 0.123))
    np.testing.assert_array_equal(images, expected)

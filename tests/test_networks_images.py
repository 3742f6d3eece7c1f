"""The networks layer by layer against Tables 6, 7, 8 and the DCGAN of the WassersteinGAN code."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdm.eval.classifiers.network import image_classifier
from tfdm.networks import images as networks
from tfdm.networks.code import code_discriminator
from tfdm.networks.draw import DrawEncoder, DrawSizes
from tfdm.networks.layers import LayerFactory
from tfdm.networks.layouts import layout_of

LATENT_DIM = 50
SHAPES = {28: (28, 28, 3), 32: (32, 32, 3), 64: (64, 64, 3)}
NAMES = {
    "Dense": "dense", "Conv2D": "conv", "Conv2DTranspose": "transposed", "ReLU": "relu",
    "BatchNormalization": "norm", "LayerNormalization": "layer_norm", "LeakyReLU": "leaky",
    "Activation": "output", "Multiply": "mask",
}  # fmt: skip
KINDS = {getattr(keras.layers, name): kind for name, kind in NAMES.items()}


def make(name: str = "network", **options: object) -> LayerFactory:
    return LayerFactory(name, **options)


def kind_of(layer: keras.layers.Layer) -> str | None:
    return next((name for cls, name in reversed(KINDS.items()) if isinstance(layer, cls)), None)


def described(network: keras.Model) -> list[tuple]:
    """(kind, kernel, strides, output shape, whether there is a bias) of the layers with kernels."""
    rows = []
    for layer in network.layers:
        kind = kind_of(layer)
        if kind in ("conv", "transposed"):
            [kernel], [strides] = set(layer.kernel_size), set(layer.strides)
            rows.append((kind, kernel, strides, layer.output.shape[1:], layer.use_bias))
        elif kind == "dense":
            rows.append((kind, None, None, layer.output.shape[1:], layer.use_bias))
    return rows


def sequence(network: keras.Model) -> str:
    """The kinds of the layers in order."""
    return " ".join(kind for kind in map(kind_of, network.layers) if kind)


def count(network: keras.Model) -> int:
    return sum(int(np.prod(v.shape)) for v in network.trainable_variables)


# --- 28x28: Tables 6 and 7 ----------------------------------------------------------------


def test_generator_28_is_table_7():
    network = networks.generator(make(), LATENT_DIM, SHAPES[28])
    assert described(network) == [
        ("dense", None, None, (3136,), False),
        ("transposed", 5, 2, (14, 14, 64), False),
        ("transposed", 5, 1, (14, 14, 32), False),
        ("transposed", 5, 2, (28, 28, 3), True),
    ]
    assert sequence(network) == (
        "dense norm relu transposed norm relu transposed norm relu transposed output"
    )
    # Batch norm after the linear layer is over the 64 maps, not over 3136 units.
    assert [v.shape for v in network.non_trainable_variables] == [(64,)] * 4 + [(32,)] * 2


def test_discriminator_28_is_table_6():
    network = networks.discriminator(make(), SHAPES[28])
    assert described(network) == [
        ("conv", 5, 2, (14, 14, 8), True),
        ("conv", 5, 1, (14, 14, 16), False),
        ("conv", 5, 2, (7, 7, 32), False),
        ("conv", 5, 1, (7, 7, 64), False),
        ("conv", 5, 2, (4, 4, 64), False),
        ("dense", None, None, (1,), True),
    ]
    assert sequence(network) == "conv leaky " + "conv norm leaky " * 4 + "dense output"


@pytest.mark.parametrize(
    ("kind", "outputs"), [("deterministic", 50), ("gaussian", 100), ("implicit", 50)]
)
def test_encoder_28_is_table_7_transposed(kind, outputs):
    network = networks.encoder(make(), LATENT_DIM, SHAPES[28], kind)
    rows = [
        ("conv", 5, 2, (14, 14, 32), False),
        ("conv", 5, 1, (14, 14, 64), False),
        ("conv", 5, 2, (7, 7, 64), False),
    ]
    if kind == "implicit":
        rows.append(("dense", None, None, (512,), True))
    rows.append(("dense", None, None, (outputs,), True))
    assert described(network) == rows
    assert network.layers[-1].activation is keras.activations.linear


# --- 32x32 and 64x64: the DCGAN of the WassersteinGAN code ----------------------------------

MAPS = {32: [64, 128, 256], 64: [64, 128, 256, 512]}


@pytest.mark.parametrize("size", [32, 64])
def test_dcgan_networks(size):
    maps = MAPS[size]
    down = [(size >> (level + 1),) * 2 + (number,) for level, number in enumerate(maps)]
    up = [(8 << level,) * 2 + (m,) for level, m in enumerate([*maps[-2::-1], 3])]
    convs = [("conv", 4, 2, shape, False) for shape in down]
    assert down[-1][:2] == (4, 4)

    generator = networks.generator(make(), LATENT_DIM, SHAPES[size])
    transposed = [("transposed", 4, 2, shape, False) for shape in up]
    assert described(generator) == [("dense", None, None, (16 * maps[-1],), False), *transposed]
    between = "transposed norm relu " * (len(maps) - 1)
    assert sequence(generator) == f"dense norm relu {between}transposed output"
    assert generator.layers[-1].activation is keras.activations.tanh

    discriminator = networks.discriminator(make(), SHAPES[size])
    assert described(discriminator) == [*convs, ("dense", None, None, (1,), False)]
    # No batch norm on the first and the last layer.
    between = "conv norm leaky " * (len(maps) - 1)
    assert sequence(discriminator) == f"conv leaky {between}dense output"

    # The generator transposed.
    encoder = networks.encoder(make(), LATENT_DIM, SHAPES[size], "deterministic")
    assert described(encoder) == [*convs, ("dense", None, None, (50,), True)]
    assert sequence(encoder) == "conv norm relu " * len(maps) + "dense output"


# --- All sizes ----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [16, 28, 32, 64, 128])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_size_runs(size, channels):
    shape = (size, size, channels)
    small = {"width": 1 / 32}
    images = networks.generator(make("generator", **small), 5, shape)(tf.zeros([2, 5]))
    assert images.shape == [2, *shape]
    assert networks.discriminator(make("d", **small), shape)(images).shape == [2]
    assert networks.encoder(make("e", **small), 5, shape, "gaussian")(images).shape == [2, 10]


def test_generators_end_in_tanh_or_without_activation(rng):
    codes = tf.constant(30.0 * rng.normal(size=[16, 5]), tf.float32)
    bounded = networks.generator(make(width=0.25), 5, SHAPES[28])(codes)
    free = networks.generator(make(width=0.25), 5, SHAPES[28], "linear")(codes)
    assert np.abs(bounded).max() <= 1.0 < np.abs(free).max()
    np.testing.assert_allclose(bounded, np.tanh(free), atol=1e-5)


@pytest.mark.parametrize("size", [28, 32])
@pytest.mark.parametrize(
    ("normalization", "kind"), [("none", None), ("layer", "layer_norm"), ("batch", "norm")]
)
def test_normalization_of_the_critic(size, normalization, kind):
    network = networks.discriminator(make(), SHAPES[size], normalization=normalization)
    kinds = sequence(network).split()
    convs = kinds.count("conv")
    assert kinds.count("norm") == (convs - 1) * (kind == "norm")
    assert kinds.count("layer_norm") == (convs - 1) * (kind == "layer_norm")
    # Without batch norm the 28x28 convolutions need their biases; the DCGAN's have none.
    with_bias = {28: convs if kind != "norm" else 1, 32: 0}[size]
    assert sum(row[-1] for row in described(network) if row[0] == "conv") == with_bias


@pytest.mark.parametrize("normalization", ["none", "layer"])
def test_critic_treats_examples_apart(rng, normalization):
    critic = networks.discriminator(make(width=0.25), SHAPES[32], normalization=normalization)
    images = rng.uniform(-1, 1, [4, 32, 32, 3]).astype(np.float32)
    scores = critic(images, training=True)
    alone = [critic(images[i : i + 1], training=True)[0] for i in range(4)]
    np.testing.assert_allclose(scores, alone, rtol=1e-4, atol=1e-6)


def test_dropout_mask_multiplies_the_last_feature_maps(rng):
    network = networks.discriminator(make(width=0.5), SHAPES[28], dropout=True)
    plain = networks.discriminator(make(width=0.5), SHAPES[28])
    images = tf.constant(rng.uniform(-1, 1, [3, 28, 28, 3]), tf.float32)
    assert sequence(network).endswith("conv norm leaky mask dense output")
    assert network.inputs[1].shape == (None, 4, 4, 32)
    ones = tf.ones([3, 4, 4, 32])
    np.testing.assert_allclose(network([images, ones]), plain(images), rtol=1e-5)
    # Linear above the mask: a mask and its complement share the logit.
    mask = tf.constant(rng.integers(0, 2, [3, 4, 4, 32]), tf.float32)
    parts = network([images, mask]) + network([images, 1.0 - mask])
    np.testing.assert_allclose(parts, plain(images), rtol=1e-4, atol=1e-6)
    assert np.abs(network([images, mask]) - plain(images)).max() > 1e-4


def test_code_discriminator_has_three_layers_of_1000_units():
    network = code_discriminator(make(), LATENT_DIM)
    assert described(network) == [("dense", None, None, (1000,), True)] * 3 + [
        ("dense", None, None, (1,), True)
    ]
    assert sequence(network) == "dense leaky " * 3 + "dense output"
    assert network(tf.zeros([7, 50])).shape == [7]


@pytest.mark.parametrize("size", [28, 32, 64])
@pytest.mark.parametrize("head_maps", [512, 1024])
def test_joint_discriminator_is_table_8(size, head_maps):
    network = networks.joint_discriminator(make(), LATENT_DIM, SHAPES[size], head_maps)
    plain = networks.discriminator(make(), SHAPES[size])
    top = described(plain)[-2][3]
    assert top[:2] == (4, 4)

    def dense(inputs, units):
        return inputs * units + units

    # Beside the discriminator without its last layer: the codes' layers and the two convolutions.
    expected = count(plain) - 16 * top[2] - (size == 28) + dense(50, 1000) + 2 * dense(1000, 1000)
    expected += dense(9 * (top[2] + 1000), head_maps) + dense(4 * head_maps, head_maps)
    assert count(network) == expected + dense(head_maps, 1)
    assert network.output.shape == (None,)
    assert sequence(network).endswith("leaky conv leaky dense output")
    assert described(network)[-2][1:4] == (2, 1, (1, 1, head_maps))


def test_joint_discriminator_sees_images_and_codes(rng):
    network = networks.joint_discriminator(make(width=0.25), 5, SHAPES[28], 64)
    images = rng.uniform(-1, 1, [3, 28, 28, 3]).astype(np.float32)
    codes = rng.normal(size=[3, 5]).astype(np.float32)
    logits = network([images, codes])
    assert logits.shape == [3]
    assert np.abs(logits - network([images[::-1], codes]))[0] > 1e-4
    assert np.abs(logits - network([images, codes[::-1]]))[0] > 1e-4


def test_rectifiers_are_leaky_with_slope_02_in_discriminators_alone():
    joint = networks.joint_discriminator(make(width=1 / 8), 5, SHAPES[28], 16)
    critic = networks.discriminator(make(width=1 / 8), SHAPES[28], normalization="none")
    for network in (joint, critic, code_discriminator(make(width=1 / 8), 5)):
        assert "relu" not in sequence(network).split()
        for layer in network.layers:
            if isinstance(layer, keras.layers.LeakyReLU):
                np.testing.assert_allclose(
                    layer(tf.constant([-1.0, 0.0, 2.0])), [-0.2, 0.0, 2.0], rtol=1e-6
                )


def test_bad_names_and_images_without_networks_are_refused():
    with pytest.raises(ValueError, match="encoder is 'flow', expected one of deterministic"):
        networks.encoder(make(), 5, SHAPES[28], "flow")
    with pytest.raises(ValueError, match="normalisation is 'group', expected batch, layer or none"):
        networks.discriminator(make(), SHAPES[28], normalization="group")
    sides = [(28, 32, 3), (30, 30, 3), (8, 8, 3), (48, 48, 3), (28, 28, 0), (0, 0, 3)]
    for shape in sides:
        with pytest.raises(ValueError, match=r"image_shape is \(.*expected \(S, S, C\)"):
            layout_of(shape)


def test_the_data_format_of_the_user_does_not_matter(rng: np.random.Generator) -> None:
    images, codes = rng.normal(size=(2, 28, 28, 3)), rng.normal(size=(2, 4))

    def outputs() -> list[np.ndarray]:
        small = make(width=1 / 16)
        cell = DrawEncoder(DrawSizes((8, 8, 3), 1, 1, 4, 3), name="cell")
        return [
            networks.generator(small, 4, SHAPES[28])(codes),
            networks.discriminator(small, SHAPES[28])(images),
            networks.joint_discriminator(small, 4, SHAPES[28], 8)([images, codes]),
            cell.conv("conv", 2)(images),
            image_classifier([8, 8, 8])(images)[0],
        ]

    expected = outputs()
    keras.config.set_image_data_format("channels_first")
    try:
        found = outputs()
    finally:
        keras.config.set_image_data_format("channels_last")
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)

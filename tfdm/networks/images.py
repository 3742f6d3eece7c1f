"""The networks of Appendix K on images: generator, encoder, discriminator, joint discriminator.

`layouts` says which table applies to images of a given shape; `ValueError` where none does. Images
lie in [-1, 1], logits are float32.

Shapes: B batch, H W C image axes, L latent dimension, M noise dimension.
"""

from __future__ import annotations

import keras

from tfdm.networks.code import code_features
from tfdm.networks.joint import TiledConcatConv
from tfdm.networks.layers import LayerFactory, logit, sequential
from tfdm.networks.layouts import Layout, layout_of

ENCODER_OUTPUTS = {"deterministic": 1, "gaussian": 2, "implicit": 1}
IMPLICIT_UNITS = 512

ImageShape = tuple[int, int, int]


def generator(
    make: LayerFactory, latent_dim: int, image_shape: ImageShape, activation: str = "tanh"
) -> keras.Model:
    """Codes [B, L] -> images [B, H, W, C]; `activation` is linear for a likelihood's numbers."""
    layout = layout_of(image_shape)
    make = make.options(**layout.options)
    codes = keras.Input([latent_dim], name="codes")
    side, maps = layout.start[0], make.scaled(layout.start[1])
    reshape = keras.layers.Reshape([side, side, maps], dtype=make.dtype)
    layers = make.normalized(make.dense(side * side * maps, use_bias=False), reshape)
    for maps, strides in layout.generator:
        conv = make.transposed_conv(make.scaled(maps), layout.kernel, strides, use_bias=False)
        layers += make.normalized(conv)
    layers += [make.transposed_conv(image_shape[2], layout.kernel, 2), make.output(activation)]
    return keras.Model(codes, sequential(codes, layers), name=make.name)


def encoder(
    make: LayerFactory,
    latent_dim: int,
    image_shape: ImageShape,
    kind: str,
    noise_dim: int | None = None,
) -> keras.Model:
    """The generator transposed, without activation at the end (Appendix K.5), of one `kind`.

        deterministic   images -> codes [B, L]
        gaussian        images -> location and raw scale [B, 2L]
        implicit        (images, noise [B, M]) -> codes [B, L], M by default L

    The noise joins the features before one more hidden layer, so that the codes' distribution is
    not of a fixed family. `ValueError` for another kind.
    """
    if kind not in ENCODER_OUTPUTS:
        raise ValueError(f"encoder is {kind!r}, expected one of {', '.join(ENCODER_OUTPUTS)}")
    layout = layout_of(image_shape)
    make = make.options(**layout.options)
    images = keras.Input(list(image_shape), name="images")
    hidden = images
    for maps, strides in layout.encoder:
        conv = make.conv(make.scaled(maps), layout.kernel, strides, use_bias=False)
        hidden = sequential(hidden, make.normalized(conv))
    features = keras.layers.Flatten("channels_last", dtype=make.dtype)(hidden)
    outputs = [make.dense(ENCODER_OUTPUTS[kind] * latent_dim, use_bias=True), make.output("linear")]
    if kind != "implicit":
        return keras.Model(images, sequential(features, outputs), name=make.name)
    noise = keras.Input([noise_dim or latent_dim], name="noise")
    joined = keras.layers.Concatenate(dtype=make.dtype)([features, noise])
    hidden = sequential(joined, [make.dense(make.scaled(IMPLICIT_UNITS)), make.relu()])
    return keras.Model([images, noise], sequential(hidden, outputs), name=make.name)


def discriminator(
    make: LayerFactory,
    image_shape: ImageShape,
    *,
    normalization: str = "batch",
    dropout: bool = False,
) -> keras.Model:
    """Images [B, H, W, C] -> logits [B], log p*(x) - log p_θ(x) at the optimum.

    The `normalization` is `batch`, `layer` or `none`, in all layers but the first. With `dropout` a
    second input, a mask [B, H', W', C'], is multiplied onto the last feature maps.
    """
    layout = layout_of(image_shape)
    make = make.options(**layout.options)
    images = keras.Input(list(image_shape), name="images")
    features = _discriminator_features(make, layout, images, normalization)
    if not dropout:
        return keras.Model(images, logit(make, features), name=make.name)
    mask = keras.Input(features.shape[1:], name="mask")
    kept = keras.layers.Multiply(dtype=make.dtype)([features, mask])
    return keras.Model([images, mask], logit(make, kept), name=make.name)


def joint_discriminator(
    make: LayerFactory, latent_dim: int, image_shape: ImageShape, head_maps: int
) -> keras.Model:
    """Table 8: (images [B, H, W, C], codes [B, L]) -> logits [B].

    The images' feature maps end at 4x4; the codes' features are tiled over 4x4 and joined to
    them; VALID convolutions of 3x3 and 2x2 lead to 1x1 and one logit.
    """
    layout = layout_of(image_shape)
    make = make.options(**layout.options)
    images = keras.Input(list(image_shape), name="images")
    codes = keras.Input([latent_dim], name="codes")
    image_maps = _discriminator_features(make, layout, images, "batch")
    dense_make = make.options(name=f"{make.name}_codes", weight_scale=None, use_bias=True)
    maps = make.scaled(head_maps)
    head = TiledConcatConv(maps, 3, kernel_initializer=make.initializer(), dtype=make.dtype)
    hidden = head([image_maps, code_features(dense_make, codes)])
    conv = make.conv(maps, 2, 1, padding="valid", use_bias=True)
    hidden = sequential(hidden, [make.leaky_relu(), conv, make.leaky_relu()])
    logits = logit(make, hidden, use_bias=True)
    return keras.Model([images, codes], logits, name=make.name)


def _discriminator_features(
    make: LayerFactory, layout: Layout, images: keras.KerasTensor, normalization: str
) -> keras.KerasTensor:
    """Table 6 or K.5.2 without the linear layer: feature maps of side 4."""
    hidden = images
    for index, (maps, strides) in enumerate(layout.discriminator):
        normalize = make.normalization(normalization) if index else []
        bias = make.use_bias and (index == 0 or normalization != "batch")
        conv = make.conv(make.scaled(maps), layout.kernel, strides, use_bias=bias)
        hidden = sequential(hidden, [conv, *normalize, make.leaky_relu()])
    return hidden

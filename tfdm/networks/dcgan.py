"""The networks for 32x32 and 64x64 images: the DCGAN of the WassersteinGAN code (K.5.2).

Kernels of 4 and strides of 2 throughout, no convolution biases, weights N(0, 0.02²), gains of
batch norm N(1, 0.02²). Images lie in [-1, 1].

Shapes: B batch, S image side (a power of two from 16), C channels, L latent dimension.
"""

from __future__ import annotations

import keras

from tfdm.networks.layers import LayerFactory, sequential

BASE_MAPS = 64
WEIGHT_SCALE = 0.02


def dcgan_options(make: LayerFactory) -> LayerFactory:
    """Returns the factory with the initial weights and biases of the WassersteinGAN code."""
    return make.options(weight_scale=WEIGHT_SCALE, use_bias=False)


def is_dcgan_size(size: int) -> bool:
    """Whether these networks fit images of side `size`: a power of two from 16."""
    return size >= 16 and size & (size - 1) == 0


def _widths(size: int) -> list[int]:
    """The feature maps from side `size`/2 down to side 4: 64, 128, 256 at size 32."""
    return [BASE_MAPS << level for level in range(size.bit_length() - 3)]


def generator(
    make: LayerFactory, latent_dim: int, size: int, channels: int, activation: str = "tanh"
) -> keras.Model:
    """Codes [B, L] -> images [B, S, S, C]: 256@4, 128@8, 64@16, C@32 at S = 32."""
    codes = keras.Input([latent_dim], name="codes")
    widths = [make.scaled(maps) for maps in reversed(_widths(size))]
    # A 4x4 transposed convolution of a 1x1 map is a linear layer.
    hidden = sequential(
        codes,
        [
            make.dense(4 * 4 * widths[0]),
            keras.layers.Reshape([4, 4, widths[0]], dtype=make.dtype),
            make.batch_norm(),
            make.relu(),
        ],
    )
    for maps in widths[1:]:
        hidden = sequential(
            hidden, [make.transposed_conv(maps, 4, 2), make.batch_norm(), make.relu()]
        )
    images = sequential(hidden, [make.transposed_conv(channels, 4, 2), make.output(activation)])
    return keras.Model(codes, images, name=make.name)


def encoder_features(make: LayerFactory, images: keras.KerasTensor, size: int) -> keras.KerasTensor:
    """The generator transposed, up to the linear layer: [B, S, S, C] -> [B, 4 * 4 * 256]."""
    hidden = images
    for maps in _widths(size):
        hidden = sequential(
            hidden, [make.conv(make.scaled(maps), 4, 2), make.batch_norm(), make.relu()]
        )
    return keras.layers.Flatten(dtype=make.dtype)(hidden)


def discriminator_features(
    make: LayerFactory, images: keras.KerasTensor, size: int, normalization: str = "batch"
) -> keras.KerasTensor:
    """Images [B, S, S, C] -> feature maps [B, 4, 4, 256] at S = 32."""
    hidden = images
    for index, maps in enumerate(_widths(size)):
        normalize = make.normalization(normalization) if index else []
        conv = make.conv(make.scaled(maps), 4, 2)
        # Only critics do without batch norm, and their gradient is penalised.
        rectify = make.leaky_relu(penalized=normalization != "batch")
        hidden = sequential(hidden, [conv, *normalize, rectify])
    return hidden

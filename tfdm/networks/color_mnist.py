"""The networks for 28x28 images: Tables 6 and 7 of Appendix K.

Images lie in [-1, 1]. Batch norm stands after every layer but the first and last of the
discriminator and the last of the generator and the encoder.

Shapes: B batch, H W C image axes (28, 28, C), L latent dimension.
"""

from __future__ import annotations

import keras

from tfdm.networks.layers import LayerFactory, sequential

IMAGE_SIZE = 28
# (feature maps, kernel, strides) of the convolutions of Table 6, which end at 4x4.
DISCRIMINATOR = ((8, 5, 2), (16, 5, 1), (32, 5, 2), (64, 5, 1), (64, 5, 2))


def generator(
    make: LayerFactory, latent_dim: int, channels: int, activation: str = "tanh"
) -> keras.Model:
    """Table 7: codes [B, L] -> images [B, 28, 28, C]."""
    codes = keras.Input([latent_dim], name="codes")
    maps = make.scaled(64)
    reshape = keras.layers.Reshape([7, 7, maps], dtype=make.dtype)
    layers = [
        *make.normalized(make.dense(7 * 7 * maps, use_bias=False), reshape),
        *make.normalized(make.transposed_conv(maps, 5, 2, use_bias=False)),
        *make.normalized(make.transposed_conv(make.scaled(32), 5, 1, use_bias=False)),
        make.transposed_conv(channels, 5, 2),
        make.output(activation),
    ]
    return keras.Model(codes, sequential(codes, layers), name=make.name)


def encoder_features(make: LayerFactory, images: keras.KerasTensor) -> keras.KerasTensor:
    """Table 7 transposed, up to the linear layer: images [B, 28, 28, C] -> [B, 4, 4, 64]."""
    for maps, strides in ((32, 2), (64, 1), (64, 2)):
        conv = make.conv(make.scaled(maps), 5, strides, use_bias=False)
        images = sequential(images, make.normalized(conv))
    return images

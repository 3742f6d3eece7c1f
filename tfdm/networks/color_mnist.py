"""The networks for 28x28 images: Tables 6 and 7 of Appendix K.

Images lie in [-1, 1]. Batch norm stands after every layer but the first and last of the
discriminator and the last of the generator and the encoder.

Shapes: B batch, H W C image axes (28, 28, C), L latent dimension.
"""

from __future__ import annotations

import keras

from tfdm.networks.layers import LayerFactory, sequential

IMAGE_SIZE = 28
# (feature maps, strides) of the 5x5 convolutions of Table 6.
DISCRIMINATOR = ((8, 2), (16, 1), (32, 2), (64, 1), (64, 2))


def generator(
    make: LayerFactory, latent_dim: int, channels: int, activation: str = "tanh"
) -> keras.Model:
    """Table 7: codes [B, L] -> images [B, 28, 28, C]."""
    codes = keras.Input([latent_dim], name="codes")
    maps = make.scaled(64)
    hidden = sequential(
        codes,
        [
            make.dense(7 * 7 * maps, use_bias=False),
            keras.layers.Reshape([7, 7, maps], dtype=make.dtype),
            make.batch_norm(),
            make.relu(),
            make.transposed_conv(make.scaled(64), 5, 2, use_bias=False),
            make.batch_norm(),
            make.relu(),
            make.transposed_conv(make.scaled(32), 5, 1, use_bias=False),
            make.batch_norm(),
            make.relu(),
            make.transposed_conv(channels, 5, 2),
            make.output(activation),
        ],
    )
    return keras.Model(codes, hidden, name=make.name)


def encoder_features(make: LayerFactory, images: keras.KerasTensor) -> keras.KerasTensor:
    """Table 7 transposed, up to the linear layer: images [B, 28, 28, C] -> features [B, 3136]."""
    return sequential(
        images,
        [
            make.conv(make.scaled(32), 5, 2, use_bias=False),
            make.batch_norm(),
            make.relu(),
            make.conv(make.scaled(64), 5, 1, use_bias=False),
            make.batch_norm(),
            make.relu(),
            make.conv(make.scaled(64), 5, 2, use_bias=False),
            make.batch_norm(),
            make.relu(),
            keras.layers.Flatten(dtype=make.dtype),
        ],
    )


def discriminator_features(
    make: LayerFactory, images: keras.KerasTensor, normalization: str = "batch"
) -> keras.KerasTensor:
    """Table 6 without its linear layer: images [B, 28, 28, C] -> feature maps [B, 4, 4, 64]."""
    hidden = images
    for index, (maps, strides) in enumerate(DISCRIMINATOR):
        normalize = make.normalization(normalization) if index else []
        bias = make.use_bias and (index == 0 or normalization != "batch")
        conv = make.conv(make.scaled(maps), 5, strides, use_bias=bias)
        # Only critics do without batch norm, and their gradient is penalised.
        rectify = make.leaky_relu(penalized=normalization != "batch")
        hidden = sequential(hidden, [conv, *normalize, rectify])
    return hidden

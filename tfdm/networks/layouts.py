"""The sizes of the networks on images: which table of Appendix K applies to a shape.

28x28 images take the ColorMNIST networks (Tables 6 and 7), powers of two from 16 the DCGAN networks
of the WassersteinGAN code (K.5.2).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

COLOR_MNIST_SIZE = 28

# Feature maps and strides of convolutions, in the order of the network.
Convolutions = tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True)
class Layout:
    """The convolutions for images of one size, S; all have kernels of one side."""

    kernel: int
    discriminator: Convolutions  # to 4x4
    encoder: Convolutions  # the generator transposed, up to the linear layer
    start: tuple[int, int]  # side and feature maps of the generator's linear layer
    generator: Convolutions  # transposed ones, to side S / 2; the last one has strides of 2
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # of the `LayerFactory`


COLOR_MNIST = Layout(
    kernel=5,
    discriminator=((8, 2), (16, 1), (32, 2), (64, 1), (64, 2)),
    encoder=((32, 2), (64, 1), (64, 2)),
    start=(7, 64),
    generator=((64, 2), (32, 1)),
)


def layout_of(image_shape: tuple[int, int, int]) -> Layout:
    """Returns the layout for images (S, S, C); `ValueError` where no network of the paper fits."""
    size, width, channels = image_shape
    is_small = size == COLOR_MNIST_SIZE
    is_power = size >= 16 and size & (size - 1) == 0
    if size != width or channels < 1 or not (is_small or is_power):
        raise ValueError(
            f"image_shape is {tuple(image_shape)}, expected (S, S, C) with S = 28, 16, 32, 64, .. "
            "or networks of one's own"
        )
    return COLOR_MNIST if is_small else _dcgan(size)


def _dcgan(size: int) -> Layout:
    """64, 128, 256 feature maps from side 16 to side 4 at size 32."""
    down = tuple((64 << level, 2) for level in range(size.bit_length() - 3))
    # A 4x4 transposed convolution of a 1x1 map is a linear layer.
    (first, _), *up = reversed(down)
    # Weights are N(0, 0.02²), gains of batch norm N(1, 0.02²).
    options = {"weight_scale": 0.02, "use_bias": False}
    return Layout(4, down, down, (4, first), tuple(up), options)

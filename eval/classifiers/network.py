"""The small VGG-style classifier whose logits and features measure samples.

Its shape is that of the fast CIFAR-10 recipes (Jordan, *94% on CIFAR-10 in 3.29 Seconds on a
Single GPU*, 2024): a fixed whitening of 2x2 patches, three blocks of two 3x3 convolutions, and a
linear layer on the maximum over space.

Shapes: B batch, S image side (at least `MINIMUM_SIDE`), K classes.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

import keras
import numpy as np

from tfdm.networks.batch_norm import BatchNorm
from tfdm.seeds import derive

LOGIT_SCALE = 1 / 9
_CHANNELS = 3
_PATCH = 2
_DIM = _PATCH * _PATCH * _CHANNELS
_WHITENING_EPSILON = 5e-4


def image_classifier(
    widths: Sequence[int], *, num_classes: int = 10, seed: int = 0, dtype: str = "float32"
) -> keras.Model:
    """Builds the network: images [B, S, S, 3] in [0, 1] -> (logits [B, K], features [B, width]).

    `widths` are the feature maps of the three blocks; the last is the number of features. Logits
    and features are float32 whatever the dtype policy. The whitening is yet to be set by `whiten`.
    """
    seeds = (derive(seed, "classifier/weights", i, bits=31) for i in itertools.count())
    images = keras.Input((None, None, _CHANNELS), name="images")
    whitening = {"kernel_initializer": "zeros", "trainable": False, "name": "whitening"}
    last = {"data_format": "channels_last", "dtype": dtype}
    hidden = keras.layers.Conv2D(2 * _DIM, _PATCH, **last, **whitening)(images)
    hidden = keras.layers.ReLU(dtype=dtype)(hidden)
    plain = {"padding": "same", "use_bias": False, **last}
    convolution = functools.partial(keras.layers.Conv2D, **plain)
    for index, width in enumerate(widths):
        for half in range(2):
            kernel, name = PartialIdentity(next(seeds)), f"block{index}_conv{half}"
            hidden = convolution(width, 3, kernel_initializer=kernel, name=name)(hidden)
            if half == 0:
                hidden = keras.layers.MaxPooling2D(2, **last)(hidden)
            name = f"block{index}_norm{half}"
            norm = BatchNorm(momentum=0.8, epsilon=1e-5, dtype=dtype, name=name)
            hidden = keras.layers.ReLU(dtype=dtype)(norm(hidden))
            # The rectifier and the next batch norm make a gain superfluous.
            norm.gamma.trainable = False
    features = keras.layers.GlobalMaxPooling2D(**last)(hidden)
    features = keras.layers.Activation("linear", dtype="float32", name="features")(features)
    uniform = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform", seed=next(seeds))
    head = keras.layers.Dense(
        num_classes, use_bias=False, kernel_initializer=uniform, dtype="float32", name="head"
    )(features)
    logits = keras.layers.Rescaling(LOGIT_SCALE, dtype="float32", name="logits")(head)
    return keras.Model(images, [logits, features], name="classifier")


def whiten(network: keras.Model, images: np.ndarray) -> None:
    """Sets the first layer to the whitening of centred 2x2 patches, each direction with both signs.

    The patches are those of images [N, S, S, 3] in [0, 1], N of a few thousand.
    """
    windows = np.lib.stride_tricks.sliding_window_view(images, (_PATCH, _PATCH), axis=(1, 2))
    patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, _DIM).astype(np.float64)
    mean = patches.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(patches, rowvar=False))
    directions = vectors / np.sqrt(values + _WHITENING_EPSILON)
    kernel = np.concatenate([directions, -directions], axis=1)
    shape = (_PATCH, _PATCH, _CHANNELS, kernel.shape[1])
    network.get_layer("whitening").set_weights([kernel.reshape(shape), -mean @ kernel])


class PartialIdentity(keras.initializers.Initializer):
    """3x3 kernels of which the first maps pass the inputs on; the others are drawn uniformly."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> np.ndarray:
        height, width, inputs, outputs = shape
        bound = (height * width * inputs) ** -0.5
        kernel = np.random.default_rng(self.seed).uniform(-bound, bound, shape)
        passed = np.arange(min(inputs, outputs))
        kernel[..., passed] = 0
        kernel[height // 2, width // 2, passed, passed] = 1
        return keras.ops.convert_to_tensor(kernel, dtype=dtype or "float32")

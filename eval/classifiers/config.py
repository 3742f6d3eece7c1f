"""The recipe of the classifiers that measure samples; without TensorFlow."""

from __future__ import annotations

import dataclasses

from tfdm.fields import CheckedConfig, setting

MINIMUM_SIDE = 23


@dataclasses.dataclass(frozen=True)
class ClassifierConfig(CheckedConfig):
    """The recipe of a classifier; no label smoothing, which would cap the inception score."""

    epochs: int = setting(30, "passes over the training images in a whole cycle", minimum=1)
    average_epochs: int = setting(
        5, "passes that replace the end of the cycle, over which weights are averaged", minimum=0
    )
    average_rate: float = setting(
        0.1, "learning rate of these passes, as a share of the peak", minimum=0.0, maximum=1.0
    )
    small_share: float = setting(
        0.5, "share of the cycle, its first steps, on smaller images", minimum=0.0, maximum=1.0
    )
    small_side: int = setting(24, "side of the smaller images", minimum=MINIMUM_SIDE)
    batch_size: int = setting(500, "images a step", minimum=1)
    learning_rate: float = setting(0.36, "SGD learning rate at the peak", minimum=0.0)
    momentum: float = setting(0.9, "Nesterov momentum", minimum=0.0, maximum=1.0)
    weight_decay: float = setting(
        0.01, "decay of the kernels in each step, times the learning rate", minimum=0.0
    )
    bias_rate: float = setting(
        64.0, "learning rate of batch norm's biases over that of the kernels", minimum=0.0
    )
    warm_up: float = setting(
        0.23, "share of the steps in which the rate rises", minimum=0.0, maximum=1.0
    )
    translate: int = setting(4, "largest shift of a crop in pixels", minimum=0)
    flip: bool = setting(True, "mirror every image in every other epoch")
    cutout: int = setting(10, "side of the square that is cut out of an image", minimum=0)
    paint: bool = setting(False, "give digits new colours each time they are drawn")
    width1: int = setting(128, "feature maps of the first block", minimum=1)
    width2: int = setting(384, "feature maps of the second block", minimum=1)
    width3: int = setting(384, "feature maps of the third block", minimum=1)
    precision: str = setting(
        "mixed_bfloat16", "arithmetic of training", choices=("float32", "mixed_bfloat16")
    )
    seed: int = setting(0, "seed of weights, order and augmentation", minimum=0)

    @property
    def widths(self) -> tuple[int, int, int]:
        """The feature maps of the three blocks."""
        return self.width1, self.width2, self.width3


RECIPES = {
    "cifar10": ClassifierConfig(),
    "color_mnist": ClassifierConfig(
        epochs=10,
        average_epochs=0,
        average_rate=0.05,
        small_share=0.0,
        learning_rate=0.42,
        translate=2,
        flip=False,
        cutout=0,
        paint=True,
        width1=32,
        width2=64,
        width3=64,
    ),
}

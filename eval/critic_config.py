"""The recipe of the independent Wasserstein critic; without TensorFlow."""

from __future__ import annotations

import dataclasses

from tfdm.fields import CheckedConfig, adam_rate, setting


@dataclasses.dataclass(frozen=True)
class CriticConfig(CheckedConfig):
    """How the critics that compare a model's samples with images are trained (Appendix I).

    The distances of two models compare only under one recipe: penalty, steps and width all move
    the value.
    """

    steps: int = setting(500, "updates of each critic", minimum=1, maximum=10_000_000)
    batch_size: int = setting(
        64, "images, and as many samples, of an update", minimum=1, maximum=65_536
    )
    num_seeds: int = setting(
        3, "critics trained, each from weights and on batches of its own", minimum=1, maximum=1000
    )
    learning_rate: float = adam_rate(1e-4, "critic")
    beta_1: float = setting(0.5, "decay of Adam's first moment", minimum=0.0, maximum=0.999999)
    beta_2: float = setting(0.9, "decay of Adam's second moment", minimum=0.0, maximum=0.999999)
    # Not 0: nothing would then hold the critic's slope, and the value would have no unit.
    gradient_penalty: float = setting(
        10.0, "coefficient λ of the penalty", minimum=1e-3, maximum=1e6
    )
    # Not batch: it makes the penalty of one example depend on the others.
    normalization: str = setting(
        "none", "normalisation inside the critic", choices=("none", "layer")
    )
    width: float = setting(
        1.0, "factor on the feature maps of the critic", minimum=1 / 64, maximum=16.0
    )

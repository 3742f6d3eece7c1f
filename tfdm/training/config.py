"""The hyperparameters that every model shares; imports no TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import Self

from tfdm.fields import CheckedConfig, setting


@dataclasses.dataclass(frozen=True)
class ModelConfig(CheckedConfig):
    """What all models share: sizes, normalisation and the optimiser (Appendix K)."""

    latent_dim: int = setting(50, "dimension L of the codes z", minimum=1)
    width: float = setting(
        1.0, "factor on the feature maps and units of every network", minimum=1 / 64, maximum=16.0
    )
    batch_norm_momentum: float = setting(
        0.9, "share of the old value in the moving averages of batch norm", minimum=0.0, maximum=1.0
    )
    adam_beta_1: float = setting(0.5, "decay of Adam's first moment", minimum=0.0, maximum=0.999999)
    adam_beta_2: float = setting(
        0.9, "decay of Adam's second moment", minimum=0.0, maximum=0.999999
    )
    ema_decay: float = setting(
        0.0,
        "decay of the moving average of the generator's weights that samples use; 0 is off",
        minimum=0.0,
        maximum=0.999999,
    )

    def for_images(self, image_shape: tuple[int, int, int]) -> Self:
        """Returns the hyperparameters with those filled in that follow from the images' shape.

        Args:
          image_shape: (H, W, C).

        Raises:
          ValueError: a hyperparameter does not fit the images.
        """
        del image_shape
        return self

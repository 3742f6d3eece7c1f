"""The hyperparameters that the paper sweeps: Table 5, Appendices K.1, K.5.1 and K.5.3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Grid = Mapping[str, tuple[Any, ...]]

_RATES_GAN = (1e-4, 2e-4, 3e-4)
_RATES_AUTOENCODER = (1e-3, 5e-4, 5e-3)
_WEIGHTS = (1.0, 5.0, 10.0, 50.0)

_HYBRID: Grid = {
    "learning_rate": (1e-4, 5e-4),
    "discriminator_learning_rate": (5e-4,),
    "code_discriminator_learning_rate": (5e-4,),
    "encoder_reconstruction_weight": _WEIGHTS,
    "generator_reconstruction_weight": _WEIGHTS,
}
_GRIDS: Mapping[str, Grid] = {
    "vae": {"learning_rate": _RATES_AUTOENCODER},
    "dcgan": {"generator_learning_rate": _RATES_GAN, "discriminator_learning_rate": _RATES_GAN},
    "wgan_gp": {"generator_learning_rate": _RATES_GAN, "critic_learning_rate": _RATES_GAN},
    "aae": {
        "learning_rate": _RATES_AUTOENCODER,
        "code_discriminator_learning_rate": (5e-4, 5e-5, 1e-5),
    },
    "aae_plus_plus": _HYBRID,
    "aae_gan": _HYBRID,
    "veegan": {
        "learning_rate": (1e-3, 5e-4),
        "discriminator_learning_rate": (5e-5, 1e-4),
        "head_maps": (512, 1024),
    },
}
# K.5.1 sweeps them on ColorMNIST alone.
_COLOR_MNIST: Grid = {"latent_dim": (10, 50, 75)}


def paper_grid(model: str, dataset: str) -> Grid:
    """Returns the values that the paper sweeps by field; `{}` for a model that it does not sweep.

    Args:
      model: the name of a model.
      dataset: the name of a data set; on ColorMNIST the latents are swept too.
    """
    own = _GRIDS.get(model, {})
    return {**own, **_COLOR_MNIST} if own and dataset.startswith("color_mnist") else dict(own)

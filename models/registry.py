"""The models by name; imports no TensorFlow.

A model's class is imported only when it is asked for, so that a command can check its flags
and print its help before TensorFlow loads.
"""

from __future__ import annotations

import dataclasses
import importlib

from tfdm.errors import UserError, did_you_mean
from tfdm.models import config as model_configs
from tfdm.training.config import ModelConfig


@dataclasses.dataclass(frozen=True)
class ModelEntry:
    """Where a model lives and what configures it.

    Attributes:
      name: the name on the command line.
      module: the module of the model's class.
      class_name: the name of the class.
      config: the class of its hyperparameters.
      summary: one line for the help.
    """

    name: str
    module: str
    class_name: str
    config: type[ModelConfig]
    summary: str

    def load(self) -> type:
        """Imports the module and returns the model's class."""
        return getattr(importlib.import_module(self.module), self.class_name)


def _entry(name: str, class_name: str, summary: str) -> ModelEntry:
    config = getattr(model_configs, f"{class_name}Config")
    return ModelEntry(name, f"tfdm.models.{name}", class_name, config, summary)


MODELS: dict[str, ModelEntry] = {
    entry.name: entry
    for entry in (
        _entry("vae", "VAE", "variational autoencoder (eq. 3, Appendix B)"),
        _entry("draw", "DRAW", "convolutional DRAW, recurrent in steps (section 4.1)"),
        _entry("dcgan", "DCGAN", "GAN with the classifier's loss (section 3)"),
        _entry("wgan_gp", "WGANGP", "Wasserstein GAN with gradient penalty"),
        _entry("aae", "AAE", "adversarial autoencoder (section 6.1)"),
        _entry("veegan", "VEEGAN", "VEEGAN, joint discriminator (section 6.2, eq. 14)"),
        _entry("aae_plus_plus", "AAEPlusPlus", "AAE with a data discriminator (eq. 10)"),
        _entry("aae_gan", "AAEGAN", "AAE++ whose samples are judged too (eq. 11, Algorithm 4)"),
    )
}


def find_model(name: str) -> ModelEntry:
    """Returns the entry of a model.

    Raises:
      UserError: no model has this name.
    """
    if name not in MODELS:
        raise UserError(f"unknown model {name!r}: {did_you_mean(name, MODELS)}")
    return MODELS[name]

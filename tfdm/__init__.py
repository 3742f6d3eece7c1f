"""tfdm: distribution matching in variational inference, in TensorFlow 2 and Keras 3.

The reference implementation of *Distribution Matching in Variational Inference* (Rosca,
Lakshminarayanan, Mohamed, 2018): VAEs, GANs and their hybrids in one harness.

  tfdm.train          trains a model into a run folder
  tfdm.load_run       a run folder: its model, its data, its configuration
  tfdm.estimate_kl    how far the aggregate posterior q(z) is from the prior p(z)
  tfdm.evaluate       how good samples are
  tfdm.register_model makes a model of your own known to all of these

  tfdm.models, tfdm.estimators, tfdm.eval   the pieces, which need no run folder

Nothing heavy is imported here: TensorFlow loads with the first name that needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfdm.lazy import lazy_attributes

if TYPE_CHECKING:
    from tfdm import datasets as datasets
    from tfdm import distributions as distributions
    from tfdm import estimators as estimators
    from tfdm import eval as eval
    from tfdm import models as models
    from tfdm import networks as networks
    from tfdm import training as training
    from tfdm.experiments.estimate_kl import estimate_kl as estimate_kl
    from tfdm.experiments.load import load_run as load_run
    from tfdm.experiments.train import train as train
    from tfdm.models.registry import register_model as register_model

__version__ = "0.1.0"

_SUBPACKAGES = ("datasets", "distributions", "estimators", "eval", "models", "networks", "training")
_MODULES = {name: f"tfdm.{name}" for name in _SUBPACKAGES} | {
    "estimate_kl": "tfdm.experiments.estimate_kl",
    "load_run": "tfdm.experiments.load",
    "register_model": "tfdm.models.registry",
    "train": "tfdm.experiments.train",
}

__all__ = ["__version__", *sorted(_MODULES)]

__getattr__, __dir__ = lazy_attributes(__name__, _MODULES)

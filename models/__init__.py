"""The models of the paper, one file each: losses, players and a `train_step`.

Every model is a plain Keras model that works with `compile`, `fit` and `save` in any script:
`from tfdm.models import VAE`. The names come from the registry; a model's module, and with it
TensorFlow, is imported when the name is first used.
"""

from __future__ import annotations

from tfdm.lazy import lazy_attributes
from tfdm.models.registry import MODELS

_MODULES = {entry.class_name: entry.module for entry in MODELS.values()}

__all__ = sorted(_MODULES)

__getattr__, __dir__ = lazy_attributes(__name__, _MODULES)

"""tfdm: distribution matching in variational inference, in TensorFlow 2 and Keras 3.

The reference implementation of *Distribution Matching in Variational Inference* (Rosca,
Lakshminarayanan, Mohamed, 2018): VAEs, GANs and their hybrids in one harness.

  tfdm.models      the models, one file each
  tfdm.estimators  how far the aggregate posterior q(z) is from the prior p(z)
  tfdm.eval        how good the samples are

Nothing heavy is imported here: TensorFlow loads with the first module that needs it.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_SUBPACKAGES = ("datasets", "distributions", "estimators", "eval", "models", "networks", "training")

__all__ = ["__version__", *_SUBPACKAGES]


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return importlib.import_module(f"tfdm.{name}")
    raise AttributeError(f"module 'tfdm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

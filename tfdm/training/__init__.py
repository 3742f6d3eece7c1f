"""Training: the step of a model, the run around it, and the state that survives it.

* `capture_state` and `restore_state` take all variables as arrays and put them back;
* `make_strategy` says where to train: one device, several, several machines, a TPU;
* `GenerativeModel` is what every model shares.
"""

from __future__ import annotations

from tfdm.lazy import lazy_attributes

_MODULES = {
    "GenerativeModel": "tfdm.training.model",
    "InferenceModel": "tfdm.training.inference",
    "capture_state": "tfdm.training.state",
    "make_strategy": "tfdm.training.strategy",
    "restore_state": "tfdm.training.state",
}

__all__ = sorted(_MODULES)

__getattr__, __dir__ = lazy_attributes(__name__, _MODULES)

"""Training: the step of a model, the run around it, and the state that survives it.

* `train` trains a model into a run folder, or goes on where the folder stands;
* `load_run` gives the trained model of a run folder;
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
    "load_run": "tfdm.training.loading",
    "make_strategy": "tfdm.training.strategy",
    "restore_state": "tfdm.training.state",
    "train": "tfdm.training.trainer",
}

__all__ = sorted(_MODULES)

__getattr__, __dir__ = lazy_attributes(__name__, _MODULES)

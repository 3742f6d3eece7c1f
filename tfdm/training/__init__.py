"""Training: the step of a model, the run around it, and the state that survives it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfdm.lazy import lazy_attributes

if TYPE_CHECKING:
    from tfdm.training.inference import InferenceModel as InferenceModel
    from tfdm.training.model import GenerativeModel as GenerativeModel
    from tfdm.training.state import capture_state as capture_state, restore_state as restore_state
    from tfdm.training.strategy import make_strategy as make_strategy

__getattr__, __dir__, __all__ = lazy_attributes(__name__)

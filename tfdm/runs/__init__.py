"""Run folders: what a training run leaves on disk, and how it survives being killed.

Nothing here imports TensorFlow.
"""

from __future__ import annotations

from tfdm.runs.checkpoints import Checkpoint, CheckpointStore, NonFiniteError
from tfdm.runs.folder import RunFolder

__all__ = ["Checkpoint", "CheckpointStore", "NonFiniteError", "RunFolder"]

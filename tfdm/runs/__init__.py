"""Run folders: what a training run leaves on disk, and how it survives being killed.

`RunFolder` is the folder with its configuration, metrics and lock; `CheckpointStore` keeps the
newest good states in it; `atomic` writes files and folders that are whole or absent. Nothing
here imports TensorFlow.
"""

from __future__ import annotations

from tfdm.runs.checkpoints import Checkpoint, CheckpointStore, NonFiniteError
from tfdm.runs.folder import RunFolder

__all__ = ["Checkpoint", "CheckpointStore", "NonFiniteError", "RunFolder"]

"""`weights/last.weights.h5` of a run folder: the trained networks in the format of Keras."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np

from tfdm.runs.atomic import atomic_write_bytes
from tfdm.runs.sums import recorded_sums, write_sums

WEIGHTS_NAME = "last.weights.h5"


class _Memory(io.BytesIO):
    """A file in memory that Keras takes for one of weights.

    HDF5 ends the process with a segmentation fault when the disk is full.
    """

    def __str__(self) -> str:
        return WEIGHTS_NAME


def write_weights(model: Any, folder: Path) -> None:
    """Writes the weights of a model, and their digest."""
    memory = _Memory()
    model.save_weights(memory)
    atomic_write_bytes(folder / WEIGHTS_NAME, memory.getvalue())
    write_sums(folder)


def read_weights(model: Any, folder: Path) -> None:
    """Puts the weights into a model; one that could not take them is of no further use.

    A file without a recorded digest, of version 0.1.0, is taken as it is.

    Raises:
      ValueError: the file has another digest, cannot be read, lacks a variable of the model, or
        holds a value that is not finite.
    """
    content = (folder / WEIGHTS_NAME).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if recorded_sums(folder).get(WEIGHTS_NAME, digest) != digest:
        raise ValueError("its content does not have the SHA-256 digest that was recorded")
    # Keras passes over groups that it does not find: what is not read then stays NaN.
    floats = [v for v in model.variables if "float" in v.dtype]
    for variable in floats:
        variable.assign(np.full(variable.shape, np.nan))
    try:
        model.load_weights(_Memory(content))
    except Exception as error:  # HDF5 raises many kinds.
        raise ValueError(str(error) or type(error).__name__) from error
    for variable in floats:
        if not np.isfinite(np.asarray(variable.numpy(), np.float32)).all():
            raise ValueError(f"it lacks {variable.path}, or holds a value that is not finite")

"""What a finished run leaves: networks, and SavedModels that load without this package and Keras.

generator = tf.saved_model.load("export/generator").signatures["serving_default"]
images = generator(z=tf.random.normal([16, 100]))["images"]
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfdm.experiments.weights import WEIGHTS_NAME, write_weights
from tfdm.runs import RunFolder
from tfdm.runs.atomic import atomic_directory
from tfdm.runs.sums import is_intact, write_sums
from tfdm.training.grids import grid_path


def export_model(model: Any, folder: str | os.PathLike[str]) -> list[Path]:
    """Writes SavedModels `generator/` and, where the model has an encoder, `encoder/`.

    Each takes any number n of rows; batch norm is in inference mode.

    * `generator/`: `serving_default` maps standard normal noise `z` float32 [n, L] -> `images`
      float32 [n, H, W, C] in [0, 1]; `decode` maps `codes` [n, L] -> `images`. Both are the same
      function where the prior is the standard normal.
    * `encoder/`: `serving_default` maps `images` in [0, 1] -> `z` float32 [n, L]. With a Gaussian
      posterior `z` is its mean, and `loc` and `scale` [n, L] its parameters; with an implicit one
      `z` is a fresh sample at every call; with a deterministic one it is the code.

    The model was built outside of a strategy with several replicas. SavedModels of before are
    replaced. Returns the folders written.
    """
    signatures = model.export_signatures()
    return [_write(Path(folder, name), functions) for name, functions in signatures.items()]


def exported_folders(has_encoder: bool, folder: str | os.PathLike[str]) -> list[Path]:
    """Returns the folders that `export_model` writes."""
    names = ("generator", "encoder") if has_encoder else ("generator",)
    return [Path(folder, name) for name in names]


def is_exported(path: Path) -> bool:
    """Says whether a SavedModel stands at `path` as it was written."""
    return is_intact(path, "saved_model.pb")


def write_networks(model: Any, folder: RunFolder) -> None:
    """Writes `weights/last.weights.h5` and `export/` of a model that has one replica."""
    write_weights(model, folder.weights)
    export_model(model, folder.export)


def grid_paths(folder: RunFolder, step: int, has_encoder: bool) -> list[Path]:
    """Returns where the grids of a step stand."""
    folders = [folder.samples, folder.reconstructions] if has_encoder else [folder.samples]
    return [grid_path(path, step) for path in folders]


def is_whole(folder: RunFolder, step: int, has_encoder: bool) -> bool:
    """Says whether a finished run has all that it should have, undamaged, its summary apart."""
    has_grids = all(path.is_file() for path in grid_paths(folder, step, has_encoder))
    has_weights = is_intact(folder.weights, WEIGHTS_NAME)
    exported = map(is_exported, exported_folders(has_encoder, folder.export))
    return has_grids and has_weights and all(exported)


def read_summary(folder: RunFolder, steps: int) -> dict[str, Any] | None:
    """Returns `summary.json` if it tells of a run of so many steps, else `None`."""
    try:
        summary = json.loads(folder.summary_path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return summary if isinstance(summary, dict) and summary.get("steps") == steps else None


def peak_memory_mib() -> float | None:
    """Returns the largest resident memory of this process so far, `None` where unknown."""
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(used / (2**20 if sys.platform == "darwin" else 2**10), 1)


def _write(folder: Path, functions: Mapping[str, Any]) -> Path:
    signatures = {name: traced.get_concrete_function() for name, traced in functions.items()}
    module = tf.Module()
    # Only the variables that the functions read: no discriminator travels with a generator.
    read = {v.ref(): v for traced in signatures.values() for v in traced.graph.variables}
    module.networks = list(read.values())
    # By way of memory: what TensorFlow raises on a full disk says neither so nor where.
    memory = f"ram://tfdm-export/{secrets.token_hex(8)}"
    tf.saved_model.save(module, memory, signatures=signatures)
    try:
        with atomic_directory(folder) as temporary:
            for place, _, names in tf.io.gfile.walk(memory):
                target = temporary / os.path.relpath(place, memory)
                target.mkdir(exist_ok=True)
                for name in names:
                    with tf.io.gfile.GFile(f"{place}/{name}", "rb") as file:
                        (target / name).write_bytes(file.read())
            write_sums(temporary)
    finally:
        tf.io.gfile.rmtree(memory)
    return folder

"""What a finished run leaves beside its checkpoints: networks, SavedModels, last grids, summary."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tfdm.experiments.export import export_model, exported_folders, is_exported
from tfdm.experiments.load import WEIGHTS_NAME
from tfdm.runs import RunFolder
from tfdm.runs.atomic import atomic_file
from tfdm.training.grids import grid_path


def write_networks(model: Any, folder: RunFolder) -> None:
    """Writes `weights/last.weights.h5` and `export/` of a model that has one replica."""
    with atomic_file(folder.weights / WEIGHTS_NAME) as temporary:
        model.save_weights(temporary)
    export_model(model, folder.export)


def grid_paths(folder: RunFolder, step: int, has_encoder: bool) -> list[Path]:
    """Returns where the grids of a step stand, of a model with or without an encoder."""
    folders = [folder.samples, folder.reconstructions] if has_encoder else [folder.samples]
    return [grid_path(path, step) for path in folders]


def is_whole(folder: RunFolder, step: int, has_encoder: bool) -> bool:
    """Says whether a finished run has all that it should have, its summary apart."""
    files = [folder.weights / WEIGHTS_NAME, *grid_paths(folder, step, has_encoder)]
    saved_models = exported_folders(has_encoder, folder.export)
    return all(path.is_file() for path in files) and all(map(is_exported, saved_models))


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

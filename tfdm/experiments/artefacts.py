"""What a finished run leaves beside its checkpoints: networks, SavedModels, last grids, summary."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tfdm.experiments.config import RunConfig
from tfdm.experiments.export import export_model, exported_folders, is_exported
from tfdm.experiments.load import WEIGHTS_NAME
from tfdm.runs import RunFolder, provenance
from tfdm.runs.atomic import atomic_file
from tfdm.training import grids, metrics


def write_networks(model: Any, folder: RunFolder) -> None:
    """Writes `weights/last.weights.h5` and `export/`.

    Args:
      model: a trained model, built outside of a strategy with several replicas.
      folder: the run folder.
    """
    with atomic_file(folder.weights / WEIGHTS_NAME) as temporary:
        model.save_weights(temporary)
    export_model(model, folder.export)


def grid_paths(folder: RunFolder, step: int, has_encoder: bool) -> list[Path]:
    """Returns where the grids of a step stand, of a model with or without an encoder."""
    folders = [folder.samples, folder.reconstructions] if has_encoder else [folder.samples]
    return [grids.grid_path(path, step) for path in folders]


def missing_files(folder: RunFolder, step: int, has_encoder: bool) -> list[Path]:
    """Lists what a finished run should have and this one has not, its summary apart."""
    files = [folder.weights / WEIGHTS_NAME, *grid_paths(folder, step, has_encoder)]
    saved_models = exported_folders(has_encoder, folder.export)
    return [path for path in files if not path.is_file()] + [
        path for path in saved_models if not is_exported(path)
    ]


def read_summary(folder: RunFolder, steps: int) -> dict[str, Any] | None:
    """Returns `summary.json` if it tells of a run of so many steps, else `None`."""
    try:
        summary = json.loads(folder.summary_path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return summary if isinstance(summary, dict) and summary.get("steps") == steps else None


def summarize(
    config: RunConfig,
    folder: RunFolder,
    *,
    dataset_digest: str,
    replicas: int,
    wall_seconds: float,
    steps_per_second: float | None,
) -> dict[str, Any]:
    """Returns the summary of a finished run.

    Args:
      config: its configuration.
      folder: its folder; the last line of `metrics.jsonl` has the final logs.
      dataset_digest: SHA-256 of its data.
      replicas: how many replicas it was trained on.
      wall_seconds: time of all its sessions.
      steps_per_second: rate of the last session, `None` where it did not train.
    """
    record = metrics.last_record(folder)
    return {
        "model": config.model,
        "dataset": config.dataset,
        "steps": config.steps,
        "seed": config.seed,
        "wall_seconds": round(wall_seconds, 3),
        "steps_per_second": steps_per_second or record.get("steps_per_second"),
        "final": metrics.losses_of(record),
        "batch_size": config.batch_size,
        "replicas": replicas,
        "peak_memory_mib": peak_memory_mib(),
        "dataset_digest": dataset_digest,
        "versions": provenance.versions(),
        "git_revision": provenance.git_revision(),
    }


def peak_memory_mib() -> float | None:
    """Returns the largest resident memory of this process so far, `None` where unknown."""
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(used / (2**20 if sys.platform == "darwin" else 2**10), 1)

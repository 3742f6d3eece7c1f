"""The work of `tfdm-synthetic-gaussians`: every dimension and setting, kept on the way."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import numpy as np
import tqdm

from tfdm.errors import UserError
from tfdm.runs.atomic import atomic_write_bytes, atomic_write_json, json_ready

if TYPE_CHECKING:
    from tfdm.cli.synthetic_gaussians import SyntheticRequest
    from tfdm.estimators.synthetic import SyntheticExperiment

CONFIG_NAME, RESULTS_NAME = "config.json", "results.json"
_SERIES = ("true_kl", "estimate", "standard_error")
_LOOKS_A_SAVE = 10


def run(request: SyntheticRequest) -> str:
    """Runs or goes on with the experiment; returns the table.

    Raises:
      UserError: the folder holds another experiment, is in use, or cannot be written.
    """
    from tfdm.estimators.synthetic_plots import plot_synthetic

    folder, config = request.output_dir, request.config
    results: dict[str, dict[str, Any]] = {}
    with _claimed(folder, dataclasses.asdict(config)):
        for dim in request.dims:
            for setting in request.settings:
                record = _run_one(folder, setting, dim, request)
                results.setdefault(str(dim), {})[setting] = record
                merged = _merged(folder, results)
                atomic_write_json(folder / RESULTS_NAME, merged)
        shown = _merged(folder, results)["results"]
        title = (
            f"{config.num_layers} layers of {config.width}, rates "
            f"{config.discriminator_learning_rate:g} and {config.generator_learning_rate:g}, "
            f"{config.discriminator_steps} classifier steps, {config.num_seeds} seeds"
        )
        for setting in ("estimation", "learning"):
            if any(setting in of_dim for of_dim in shown.values()):
                picture = plot_synthetic(shown, setting, f"{setting}: {title}")
                atomic_write_bytes(folder / f"{setting}.png", picture)
    return results_table(shown) + f"\n{folder / RESULTS_NAME}\n"


def results_table(results: dict[str, dict[str, Any]]) -> str:
    """Returns a Markdown table of the last look of every dimension and setting."""
    lines = [
        "| d | setting | true KL at the start | at the end | estimate at the end | finite |",
        "|---|---|---|---|---|---|",
    ]
    for dim, of_dim in results.items():
        for setting, record in of_dim.items():
            initial = np.mean(record["initial_kl"])
            true, estimate = (_last(record[key]) for key in ("true_kl", "estimate"))
            finite = record["estimate"]["finite"][-1]
            cells = [dim, setting, f"{initial:.4g}", true, estimate]
            lines.append(f"| {' | '.join(cells)} | {finite} of {len(record['initial_kl'])} |")
    return "\n".join(lines) + "\n"


def _last(series: dict[str, list]) -> str:
    mean, spread = series["mean"][-1], series["spread"][-1]
    if mean is None or not math.isfinite(mean):
        return "diverged"
    return f"{mean:.4g}" + ("" if spread is None or math.isnan(spread) else f" ± {spread:.2g}")


def _run_one(folder: Path, setting: str, dim: int, request: SyntheticRequest) -> dict[str, Any]:
    """Trains one setting in one dimension to the end, from where its state stands."""
    from tfdm.estimators.synthetic import SyntheticExperiment, summarize

    config = request.config
    experiment = SyntheticExperiment(setting, dim, config)
    path = folder / "state" / f"{setting}-{dim}.npz"
    series = _restore(experiment, path)
    terminal = sys.stderr.isatty()
    with tqdm.tqdm(
        desc=f"{setting}, d = {dim}", unit="step", file=sys.stderr, total=config.steps,
        initial=experiment.step, mininterval=0.5 if terminal else 10.0, dynamic_ncols=terminal,
    ) as bar:  # fmt: skip
        if not series:
            series.append((0, experiment.look()))
        while experiment.step < config.steps:
            number = min(config.log_every, config.steps - experiment.step)
            experiment.train(number)
            series.append((experiment.step, experiment.look()))
            if len(series) % _LOOKS_A_SAVE == 0 or experiment.step >= config.steps:
                _save(experiment, series, path)
            bar.update(number)
    looks = [look for _, look in series]
    record: dict[str, Any] = {
        "steps": [step for step, _ in series],
        "initial_kl": experiment.initial_kl,
        "per_seed": {key: np.stack([look[key] for look in looks], axis=1) for key in _SERIES},
        "diverged_seeds": [
            config.seed + int(r) for r in np.flatnonzero(~np.isfinite(looks[-1]["estimate"]))
        ],
    }
    for key in ("true_kl", "estimate"):
        record[key] = summarize(looks, key)
    return json_ready(record)


def _save(experiment: SyntheticExperiment, series: list, path: Path) -> None:
    arrays: dict[str, Any] = {
        f"series_{key}": np.stack([look[key] for _, look in series]) for key in _SERIES
    }
    arrays |= {"series_steps": np.array([step for step, _ in series]), **experiment.state()}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    path.parent.mkdir(exist_ok=True)
    atomic_write_bytes(path, buffer.getvalue())


def _restore(experiment: SyntheticExperiment, path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Puts a state back; a missing or damaged one costs the steps behind it."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        experiment.restore(arrays)
        return [
            (int(step), {key: arrays[f"series_{key}"][i] for key in _SERIES})
            for i, step in enumerate(arrays["series_steps"])
        ]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return []


def _merged(folder: Path, results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Returns all results of the folder, those of earlier commands included."""
    from tfdm.runs.provenance import command, git_revision, versions

    path = folder / RESULTS_NAME
    earlier = json.loads(path.read_text(encoding="utf-8"))["results"] if path.exists() else {}
    dims = sorted({*earlier, *results}, key=int)
    return {
        "config": json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8")),
        "command": command(),
        "versions": versions(),
        "git_revision": git_revision(),
        "results": {dim: {**earlier.get(dim, {}), **results.get(dim, {})} for dim in dims},
    }


@contextmanager
def _claimed(folder: Path, config: dict[str, Any]) -> Iterator[None]:
    """Makes the folder, keeps other writers out, and refuses another experiment's."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / ".lock").acquire(blocking=False):
            path = folder / CONFIG_NAME
            if path.exists():
                _compare(json.loads(path.read_text(encoding="utf-8")), config, folder)
            elif any(entry.name != ".lock" for entry in folder.iterdir()):
                raise UserError(f"{folder} holds other files: choose another --output_dir")
            atomic_write_json(path, config)
            yield
    except filelock.Timeout:
        raise UserError(f"{folder} is in use by another experiment: wait for it to end") from None
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise UserError(f"cannot write into {folder}: {error.strerror}") from None


def _compare(recorded: dict[str, Any], asked: dict[str, Any], folder: Path) -> None:
    """Refuses another configuration; more steps go on, fewer would lose some."""
    differences = [
        f"{name} is {recorded.get(name)} there, {asked[name]} here"
        for name in asked
        if name != "steps" and recorded.get(name) != asked[name]
    ]
    if recorded.get("steps", 0) > asked["steps"]:
        differences.append(f"steps is {recorded['steps']} there, {asked['steps']} here")
    if differences:
        raise UserError(
            f"{folder} holds another experiment ({'; '.join(differences)}): choose another "
            "--output_dir"
        )

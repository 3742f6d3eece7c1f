"""The synthetic Gaussians: every dimension and setting, kept on the way (section 5, Appendix E)."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfdm.errors import UserError
from tfdm.estimators.config import SyntheticConfig
from tfdm.estimators.synthetic import SERIES, SyntheticExperiment, summarize
from tfdm.estimators.synthetic_plots import plot_synthetic
from tfdm.experiments.options import SyntheticGaussiansConfig
from tfdm.progress import ProgressOption, progress_bar
from tfdm.runs.atomic import atomic_write_bytes, atomic_write_json, json_ready
from tfdm.runs.checkpoints import CheckpointStore
from tfdm.runs.provenance import command, software
from tfdm.runs.results import differences, earlier_results, locked, merged, read_json
from tfdm.training.loop import run_resumable

CONFIG_NAME, RESULTS_NAME = "config.json", "results.json"
_EVALUATIONS_A_SAVE = 10
# Steps of one traced call: what a signal waits for.
_STEPS_A_CALL = 20


@dataclasses.dataclass(frozen=True)
class SyntheticGaussians:
    """The `results` of all dimensions and settings, `{dimension: {setting: record}}`, in nats.

    A record has `steps` of the evaluations, `initial_kl` of each repetition, `true_kl` and
    `estimate` with `mean`, `spread` and number of `finite` ones at each evaluation, `per_seed` with
    every repetition's series, and `diverged_seeds`. With an output folder those of earlier calls
    are there too, and `path` is its `results.json`.
    """

    results: dict[str, dict[str, Any]]
    path: Path | None

    def table(self) -> str:
        """Returns a Markdown table of the last evaluation of every dimension and setting."""
        lines = [
            "| d | setting | true KL at the start | at the end | estimate at the end | finite |",
            "|---|---|---|---|---|---|",
        ]
        for dim, of_dim in self.results.items():
            for setting, record in of_dim.items():
                initial = np.mean(record["initial_kl"])
                true, estimate = (_last(record[key]) for key in ("true_kl", "estimate"))
                finite = f"{record['estimate']['finite'][-1]} of {len(record['initial_kl'])}"
                cells = [dim, setting, f"{initial:.4g}", true, estimate, finite]
                lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"


def synthetic_gaussians(
    config: SyntheticGaussiansConfig | Mapping[str, Any] | None = None,
    *,
    progress: ProgressOption = True,
    **options: Any,
) -> SyntheticGaussians:
    """Trains classifiers between Gaussians of known divergence, or resumes it.

    Args:
      config: the experiment, or some of its fields.
      progress: whether to show bars, or a function of (steps done, steps).
      **options: fields that replace those of `config`. With `output_dir`, results, plots and
        states are written there, and the same call resumes one that was stopped.

    Raises:
      ValueError: a field is not admissible.
      UserError: the folder holds another experiment, is in use, or cannot be written.
      Terminated: with an output folder, SIGTERM or SIGINT asked to stop; a checkpoint was written.
    """
    config = SyntheticGaussiansConfig.of(config, **options)
    if config.output_dir is None:
        return SyntheticGaussians(_run_all(config, None, progress), None)
    folder = Path(config.output_dir).expanduser()
    with _claimed(folder, config.part(SyntheticConfig)):
        results = _run_all(config, folder, progress)
        for setting in ("estimation", "learning"):
            if any(setting in of_dim for of_dim in results.values()):
                picture = plot_synthetic(results, setting, f"{setting}: {_title(config)}")
                atomic_write_bytes(folder / f"{setting}.png", picture)
    return SyntheticGaussians(results, folder / RESULTS_NAME)


def _run_all(
    config: SyntheticGaussiansConfig, folder: Path | None, progress: ProgressOption
) -> dict[str, dict[str, Any]]:
    path = None if folder is None else folder / RESULTS_NAME
    results: dict[str, dict[str, Any]] = {}
    experiment = config.part(SyntheticConfig)  # what decides the numbers
    if path is not None:
        results = earlier_results(path, {}, (), groups=("results",)).get("results", {})
    for dim in dict.fromkeys(config.dims):
        for setting in dict.fromkeys(config.settings):
            state = None if folder is None else folder / "state" / f"{setting}-{dim}"
            record = _run_one(setting, dim, experiment, state, progress)
            results = merged(results, {str(dim): {setting: record}}, levels=2)
            results = {key: results[key] for key in sorted(results, key=int)}
            if path is not None:
                made_by = {"config": experiment.to_dict(), "command": command(), **software()}
                atomic_write_json(path, {**made_by, "results": results})
    return results


def _run_one(
    setting: str, dim: int, config: SyntheticConfig, state: Path | None, progress: ProgressOption
) -> dict[str, Any]:
    """Trains one setting in one dimension to the end, from where its state stands."""
    experiment = SyntheticExperiment(setting, dim, config)
    with progress_bar(f"{setting}, d = {dim}", "step", progress) as show:
        run_resumable(
            experiment,
            config.steps,
            # A repetition may diverge alone.
            store=None if state is None else CheckpointStore(state, keep=1, finite=False),
            steps_a_save=_EVALUATIONS_A_SAVE * config.log_every,
            evaluate_every=config.log_every,
            steps_a_call=_STEPS_A_CALL,
            progress=show,
        )
    steps, values = zip(*experiment.evaluations, strict=True)
    diverged = np.flatnonzero(~np.isfinite(values[-1]["estimate"]))
    return json_ready(
        {
            "steps": steps,
            "initial_kl": experiment.initial_kl,
            "per_seed": {key: np.stack([v[key] for v in values], axis=1) for key in SERIES},
            "diverged_seeds": [config.seed + int(r) for r in diverged],
            **{key: summarize(values, key) for key in ("true_kl", "estimate")},
        }
    )


@contextlib.contextmanager
def _claimed(folder: Path, config: SyntheticConfig) -> Iterator[None]:
    """Makes the folder, keeps other writers out, and refuses another experiment's."""
    with locked(folder):
        path, asked = folder / CONFIG_NAME, config.to_dict()
        if path.exists():
            recorded = read_json(path)
            # More steps go on, fewer would lose some.
            goes_on = recorded.get("steps", 0) <= config.steps
            found = differences(recorded, asked, ("steps",) if goes_on else ())
            if found:
                what = f"another experiment ({'; '.join(found)})"
                raise UserError(f"{folder} holds {what}: choose another --output_dir")
        elif any(entry.name != ".lock" for entry in folder.iterdir()):
            raise UserError(f"{folder} holds other files: choose another --output_dir")
        atomic_write_json(path, asked)
        yield


def _title(config: SyntheticConfig) -> str:
    return (
        f"{config.num_layers} layers of {config.width}, rates "
        f"{config.discriminator_learning_rate:g} and {config.generator_learning_rate:g}, "
        f"{config.discriminator_steps} classifier steps, {config.num_seeds} seeds"
    )


def _last(series: Mapping[str, list]) -> str:
    mean, spread = series["mean"][-1], series["spread"][-1]
    if mean is None or not math.isfinite(mean):
        return "diverged"
    return f"{mean:.4g}" + ("" if spread is None or math.isnan(spread) else f" ± {spread:.2g}")

"""A sweep: many runs of one model with other hyperparameters, each evaluated, as one function.

A trial is an ordinary run folder, `MODEL/FIELD=VALUE-..-seedN` in the folder of the sweep. What it
has done is read from there, so that the same call resumes a sweep that was stopped, and trials that
Ray lost are resumed bit for bit.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfdm.errors import UserError
from tfdm.eval.metrics import METRICS
from tfdm.eval.records import NAME as EVALUATION_NAME, read_evaluation
from tfdm.eval.tables import plot_comparison
from tfdm.experiments.config import RunConfig
from tfdm.experiments.sweep_config import SweepConfig
from tfdm.experiments.trials import Trial, Verdict, run_trials
from tfdm.models.grids import Grid, paper_grid
from tfdm.runs import RunFolder
from tfdm.runs.atomic import atomic_write_bytes, atomic_write_json, atomic_write_text
from tfdm.runs.provenance import command, git_revision, versions
from tfdm.runs.results import earlier_results, locked
from tfdm.seeds import stream

_logger = logging.getLogger("tfdm")

SWEEP_NAME = "sweep.json"


@dataclasses.dataclass(frozen=True)
class SweepResult:
    """What stands in the folder of a sweep.

    Attributes:
      models: by model its `grid`, and its `trials` with `folder`, `fields`, `seed`, `status`
        ("done", "diverged", "failed" or "pending"), `reason` and `metrics`.
      path: the folder.
    """

    models: Mapping[str, Mapping[str, Any]]
    path: Path

    def best(self, model: str, metric: str) -> str | None:
        """Returns the folder of a model's best trial, `None` where none is done or none is best."""
        quantity = METRICS[metric].quantities[0]
        if quantity.higher_is_better is None:
            return None
        done = {
            trial["folder"]: trial["metrics"][metric]
            for trial in self.models[model]["trials"]
            if trial["metrics"].get(metric) is not None
        }
        pick = max if quantity.higher_is_better else min
        return pick(done, key=lambda folder: done[folder], default=None)

    def table(self) -> str:
        """Returns a Markdown table with a row for each trial; the best of each metric is bold."""
        metrics = dict.fromkeys(m for record in self.models.values() for m in record["metrics"])
        lines = [f"| trial | status | {' | '.join(metrics)} |", "|---" * (len(metrics) + 2) + "|"]
        for model, record in self.models.items():
            best = {metric: self.best(model, metric) for metric in metrics}
            for trial in record["trials"]:
                cells = []
                for metric in metrics:
                    value = trial["metrics"].get(metric)
                    mark = "**" if trial["folder"] == best[metric] else ""
                    cells.append("–" if value is None else f"{mark}{value:.4g}{mark}")
                reason = f": {trial['reason']}" if trial["reason"] else ""
                row = [trial["folder"], f"{trial['status']}{reason}", *cells]
                lines.append(f"| {' | '.join(row)} |")
        return "\n".join(lines) + "\n"

    def plot(self) -> bytes:
        """Returns a PNG with a box over the trials of each model, and a dot at the best."""
        contents = {
            trial["folder"]: read_evaluation(self.path / trial["folder"])
            for record in self.models.values()
            for trial in record["trials"]
            if trial["status"] == "done"
        }
        return plot_comparison(contents, "Sweep")


def sweep(
    model: str,
    dataset: str,
    config: SweepConfig | None = None,
    *,
    grid: Mapping[str, Sequence[Any]] | None = None,
    fields: Mapping[str, Mapping[str, Any]] | None = None,
    register: Sequence[str] = (),
    progress: bool = True,
    **options: Any,
) -> SweepResult:
    """Trains and evaluates a model with many hyperparameters by Ray Tune.

    A trial that fails, diverges or is killed does not end the sweep. The same call resumes a sweep
    that was stopped: trials that are done or diverged are kept, others are resumed.

    Args:
      model: the name of a model.
      dataset: the name of a data set.
      config: the options of the sweep, see `SweepConfig`.
      grid: the values to try by hyperparameter; by default those of the paper (Table 5).
      fields: fields of metrics by metric.
      register: Python files that make models known, for the processes of the trials.
      progress: whether a table of the trials is shown.
      **options: fields that replace those of `config`, and fields of every run.

    Raises:
      UserError: Ray is not installed, the model has no grid, the folder is in use or holds a sweep
        on another data set, or a value of the grid is not admissible.
      ValueError: an option is not admissible.
    """
    names = {field.name for field in dataclasses.fields(SweepConfig)}
    own = {name: value for name, value in options.items() if name in names}
    run = {name: value for name, value in options.items() if name not in names}
    config = SweepConfig.of(config, **own)
    values = {name: tuple(given) for name, given in (grid or paper_grid(model, dataset)).items()}
    if not values:
        raise UserError(f"the paper sweeps nothing of {model}: give --grid.FIELD=VALUE,VALUE")
    folder = Path(config.output_dir or f"runs/sweep-{dataset}").expanduser()
    trials = list(_trials(model, dataset, config, values, run, folder))
    evaluation = {
        "metrics": config.metrics,
        "num_samples": config.num_samples,
        "fields": dict(fields or {}),
        "cache_dir": run.get("cache_dir"),
    }
    with locked(folder):
        asked = {"dataset": dataset}
        earlier = earlier_results(
            folder / SWEEP_NAME, asked, ("dataset",), groups=("models",), about="another data set"
        ).get("models", {})
        before = {t["folder"]: t for t in earlier.get(model, {}).get("trials", ())}
        record: dict[str, Any] = {
            "grid": {name: list(given) for name, given in values.items()},
            "order": config.order,
            "budget": config.budget,
            "metrics": list(config.metrics),
            "num_samples": config.num_samples,
            "trials": [_state(trial, config, folder, before) for trial in trials],
        }
        models: dict[str, Any] = {**earlier, model: record}
        content: dict[str, Any] = {**asked, "models": models, "command": command()}
        content |= {"versions": versions(), "git_revision": git_revision()}
        places = {entry["folder"]: place for place, entry in enumerate(record["trials"])}

        def note(verdict: Verdict) -> None:
            entry = record["trials"][places[verdict.folder]]
            entry |= {"status": verdict.status, "reason": verdict.reason}
            entry["metrics"] = _metrics(folder / verdict.folder, config)
            atomic_write_json(folder / SWEEP_NAME, content)

        atomic_write_json(folder / SWEEP_NAME, content)
        waiting = [t for t, e in zip(trials, record["trials"], strict=True) if _is_open(e)]
        if waiting:
            _logger.info("%d of %d trials are left", len(waiting), len(trials))
            run_trials(waiting, evaluation, config, folder, register, note, progress)
        result = SweepResult(models, folder)
        atomic_write_text(folder / "sweep.md", result.table())
        if any(e["status"] == "done" for r in result.models.values() for e in r["trials"]):
            atomic_write_bytes(folder / "sweep.png", result.plot())
    return result


def _trials(
    model: str,
    dataset: str,
    config: SweepConfig,
    grid: Grid,
    run: Mapping[str, Any],
    folder: Path,
) -> Iterator[Trial]:
    """The trials in the order in which they run, each with a configuration that was checked."""
    points = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    chosen = [(point, seed) for point in points for seed in config.seeds]
    if config.order == "random":
        order = stream(0, f"sweep/{model}/{dataset}").permutation(len(chosen))
        chosen = [chosen[place] for place in order]
    for point, seed in chosen[: config.budget or None]:
        shown = "-".join([*(f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
                            for name, value in point.items()), f"seed{seed}"])  # fmt: skip
        name = f"{model}/{shown}"
        values = {**run, **point, "model": model, "dataset": dataset, "seed": seed}
        yield Trial(name, point, RunConfig.of(values, output_dir=str(folder / name)))


def _state(
    trial: Trial, config: SweepConfig, folder: Path, before: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The record of a trial by what stands in its folder."""
    record = {"folder": trial.folder, "fields": dict(trial.fields), "seed": trial.config.seed}
    earlier = before.get(trial.folder, {})
    metrics = _metrics(folder / trial.folder, config)
    summary = RunFolder(folder / trial.folder).summary_path
    status, reason = "pending", ""
    if summary.is_file() and metrics.keys() == set(config.metrics):
        status = "done"
    elif earlier.get("status") == "diverged":  # As it would again.
        status, reason = "diverged", earlier["reason"]
    return record | {"status": status, "reason": reason, "metrics": metrics}


def _metrics(folder: Path, config: SweepConfig) -> dict[str, float]:
    """The first number of each metric that has been taken of a trial."""
    if not (folder / EVALUATION_NAME).is_file():
        return {}
    records = read_evaluation(folder)["metrics"]
    found = {name: records.get(name, {}) for name in config.metrics}
    values = {name: r.get(METRICS[name].quantities[0].field) for name, r in found.items()}
    return {name: value for name, value in values.items() if value is not None}


def _is_open(entry: Mapping[str, Any]) -> bool:
    return entry["status"] not in ("done", "diverged")

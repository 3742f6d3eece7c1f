"""A page of finished runs: what was trained, how, the pictures and the curves.

For every run a folder of the report holds run.json (command, configuration, summary), curves.json
(every logged term, thinned to some hundred steps), curves.png, samples.png and, where there are
some, reconstructions.png: the last grids. `README.md` shows them all. TensorFlow is not needed.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfdm.errors import UserError
from tfdm.experiments.config import RunConfig
from tfdm.fields import CheckedConfig, folder, setting
from tfdm.pictures import figure_png, new_figure
from tfdm.runs import atomic
from tfdm.runs.folder import MAY_CHANGE, NOT_COMPARED, RunFolder
from tfdm.runs.results import writing

MAX_POINTS = 200
COLUMNS = 3
# Fields that every run has and that a reader wants first; the others stand in run.json.
MAIN_FIELDS = ("dataset", "steps", "batch_size", "seed", "precision", "latent_dim")
# A run is told apart from others of its name by at most so many fields.
_MAX_FIELDS = 3


@dataclasses.dataclass(frozen=True)
class ReportConfig(CheckedConfig):
    """Where the page goes and what it is called."""

    output_dir: str | None = folder("where the page goes")
    title: str = setting("Runs", "the heading of the page")


@dataclasses.dataclass(frozen=True)
class RunReport:
    """What the page shows of one run: `config.json`, `summary.json` and the last grids.

    `name` is its folder in the report; `curves` are `{term: {"step": [..], "value": [..]}}`.
    """

    name: str
    config: dict[str, Any]
    summary: dict[str, Any]
    curves: dict[str, dict[str, list[float]]]
    samples: Path
    reconstructions: Path | None


@dataclasses.dataclass(frozen=True)
class Report:
    """A page of runs, whose names differ: Markdown, and where it was written, or `None`."""

    runs: tuple[RunReport, ...]
    page: str
    path: Path | None


def report(
    runs: Sequence[str | os.PathLike[str]], config: ReportConfig | None = None, **options: Any
) -> Report:
    """Makes a page of finished runs.

    With `output_dir` it is written too, as `README.md`, with a folder for each run; a folder of
    an earlier report is replaced.

    Args:
      runs: the run folders in the order of the page. Runs of the same model, data set and seed
        are told apart by the fields of their configurations that differ.
      config: the options, see `ReportConfig`.
      **options: fields that replace those of `config`.

    Raises:
      UserError: a folder holds no finished run, or `output_dir` cannot be written.
      ValueError: an option is not admissible.
    """
    config = ReportConfig.of(config, **options)
    reports = _with_names([_read_run(RunFolder.open(path)) for path in runs])
    page = _page(reports, config.title)
    if config.output_dir is None:
        return Report(reports, page, None)
    with writing(config.output_dir) as target:
        for run in reports:
            _write_run(run, target / run.name)
        atomic.atomic_write_text(target / "README.md", page)
    return Report(reports, page, target / "README.md")


def _read_run(folder: RunFolder) -> RunReport:
    config = folder.read_config()
    run = RunConfig.from_flat(config)
    if not folder.summary_path.is_file():
        raise UserError(f"{folder.path} is not finished: run the command that started it again")
    summary = json.loads(folder.summary_path.read_text(encoding="utf-8"))
    samples = folder.last_grid("samples")
    if samples is None:
        raise UserError(f"{folder.path} has no samples: run the command that started it again")
    name = f"{run.model}-{run.dataset}-seed{run.seed}"
    curves = read_curves(folder.metrics_path)
    return RunReport(name, config, summary, curves, samples, folder.last_grid("reconstructions"))


def read_curves(path: Path, max_points: int = MAX_POINTS) -> dict[str, dict[str, list[float]]]:
    """Reads `metrics.jsonl` as curves of at most about `max_points` steps, the last included."""
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    points: dict[str, list[tuple[int, float]]] = {}
    for record in records:
        for term, value in record.items():
            if term not in ("step", "wall_seconds", "steps_per_second"):
                points.setdefault(term, []).append((record["step"], float(f"{value:.6g}")))
    curves: dict[str, dict[str, list[float]]] = {}
    for term, found in points.items():  # Held-out terms have fewer points than the others.
        steps, values = zip(*found[:: -max(1, len(found) // max_points)][::-1], strict=True)
        curves[term] = {"step": list(steps), "value": list(values)}
    return curves


def plot_curves(curves: dict[str, dict[str, list[float]]], title: str) -> bytes:
    """Returns a PNG with one small plot for every term, with the held-out one dashed in it."""
    terms = [term for term in sorted(curves) if not term.startswith("val_")]
    rows = -(-len(terms) // COLUMNS)
    figure = new_figure(3.4 * COLUMNS, 2.0 * rows, title, fontsize=10)
    for index, term in enumerate(terms):
        axes = figure.add_subplot(rows, COLUMNS, index + 1)
        axes.plot(curves[term]["step"], curves[term]["value"], linewidth=0.9)
        if held_out := curves.get(f"val_{term}"):
            axes.plot(held_out["step"], held_out["value"], "--", linewidth=0.9)
        axes.set_title(term.replace("_", " "), fontsize=8)
        axes.tick_params(labelsize=7)
        axes.margins(x=0)
    return figure_png(figure, dpi=80)


def _with_names(runs: Sequence[RunReport]) -> tuple[RunReport, ...]:
    """Returns the runs with names that differ."""
    named: dict[str, RunReport] = {}
    for run in runs:
        alike = [other.config for other in runs if other.name == run.name]
        name = "-".join([run.name, *(_shown(run.config, f) for f in _differing(alike))])
        # Equal configurations in two folders are numbered.
        numbered = (f"{name}-{number}" for number in range(2, len(runs) + 1))
        name = next(n for n in (name, *numbered) if n not in named)
        named[name] = dataclasses.replace(run, name=name)
    return tuple(named.values())


def _differing(configs: Sequence[dict[str, Any]]) -> list[str]:
    """Lists the first fields that decide the weights and that are not the same in all."""
    fields = dict.fromkeys(field for config in configs for field in config)
    decisive = [field for field in fields if field not in NOT_COMPARED | MAY_CHANGE]
    first = configs[0]
    return [f for f in decisive if any(c.get(f) != first.get(f) for c in configs)][:_MAX_FIELDS]


def _shown(config: dict[str, Any], field: str) -> str:
    """A field and its value, as they may stand in the name of a file."""
    value = str(config.get(field, "absent"))
    return re.sub(r"[^\w.=-]+", "_", f"{field}={value[:16]}")


def _write_run(run: RunReport, folder: Path) -> None:
    record = {"command": run.config.get("command"), "config": run.config, "summary": run.summary}
    atomic.atomic_write_json(folder / "run.json", record)
    atomic.atomic_write_json(folder / "curves.json", run.curves)
    atomic.atomic_write_bytes(folder / "curves.png", plot_curves(run.curves, run.name))
    shutil.copyfile(run.samples, folder / "samples.png")
    if run.reconstructions is not None:
        shutil.copyfile(run.reconstructions, folder / "reconstructions.png")


def _page(runs: Sequence[RunReport], title: str) -> str:
    lines = [f"# {title}", "", "| run | steps | minutes | steps / s | final terms |"]
    lines.append("|---|---|---|---|---|")
    for run in runs:
        summary, rate = run.summary, run.summary["steps_per_second"]
        shown_rate = "-" if rate is None else f"{rate:.2f}"
        final = ", ".join(f"{name} {value:.4g}" for name, value in sorted(summary["final"].items()))
        row = f"| [{run.name}](#{run.name}) | {summary['steps']} "
        lines.append(f"{row}| {summary['wall_seconds'] / 60:.1f} | {shown_rate} | {final} |")
    return "\n".join([*lines, *(line for run in runs for line in _section(run))]) + "\n"


def _section(run: RunReport) -> list[str]:
    fields = ", ".join(f"{name} {run.config.get(name)}" for name in MAIN_FIELDS)
    versions = ", ".join(f"{k} {v}" for k, v in run.config.get("versions", {}).items())
    lines = ["", f"## {run.name}", "", f"{fields}."]
    if run.config.get("command"):
        lines += ["", "```", run.config["command"], "```"]
    lines += ["", f"![samples]({run.name}/samples.png)"]
    if run.reconstructions is not None:
        lines += ["", f"![images beside their reconstructions]({run.name}/reconstructions.png)"]
    return [*lines, "", f"![curves]({run.name}/curves.png)", "", f"Versions: {versions}."]

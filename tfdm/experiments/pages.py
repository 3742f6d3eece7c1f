"""A page of finished runs: what was trained, how, the pictures and the curves.

For every run folder a small folder of the report holds

    run.json             command, seed, configuration, versions, summary
    curves.json          every logged term, thinned to some hundred steps
    curves.png           the same as a plot
    samples.png          the last grid of samples
    reconstructions.png  the last grid of reconstructions, where the model infers

and `README.md` shows them all. TensorFlow is not needed.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfdm.errors import UserError
from tfdm.pictures import figure_png, new_figure
from tfdm.runs import atomic
from tfdm.runs.folder import RunFolder

MAX_POINTS = 200
COLUMNS = 3
# Fields that every run has and that a reader wants first; the others stand in run.json.
MAIN_FIELDS = ("dataset", "steps", "batch_size", "seed", "precision", "latent_dim")


@dataclasses.dataclass(frozen=True)
class RunReport:
    """What the page shows of one run.

    Attributes:
      name: the folder of the run in the report.
      config: its `config.json`.
      summary: its `summary.json`.
      curves: `{term: {"step": [...], "value": [...]}}`.
      samples: the last grid of samples.
      reconstructions: the last grid of reconstructions, or `None`.
    """

    name: str
    config: dict[str, Any]
    summary: dict[str, Any]
    curves: dict[str, dict[str, list[float]]]
    samples: Path
    reconstructions: Path | None


def read_run(folder: RunFolder) -> RunReport:
    """Reads a finished run.

    Raises:
      UserError: the run is not finished, or left no samples.
    """
    config = folder.read_config()
    if not folder.summary_path.is_file():
        raise UserError(f"{folder.path} is not finished: run the command that started it again")
    summary = json.loads(folder.summary_path.read_text(encoding="utf-8"))
    samples = _last_grid(folder.samples)
    if samples is None:
        raise UserError(f"{folder.path} has no samples: run the command that started it again")
    name = f"{config['model']}-{config['dataset']}-seed{config['seed']}"
    curves = read_curves(folder.metrics_path)
    return RunReport(name, config, summary, curves, samples, _last_grid(folder.reconstructions))


def read_curves(path: Path, max_points: int = MAX_POINTS) -> dict[str, dict[str, list[float]]]:
    """Reads `metrics.jsonl` as curves of at most about `max_points` steps, the last included."""
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    stride = max(1, len(records) // max_points)
    kept = records[::-1][::stride][::-1]
    curves: dict[str, dict[str, list[float]]] = {}
    for record in kept:
        for term, value in record.items():
            if term not in ("step", "wall_seconds", "steps_per_second"):
                curve = curves.setdefault(term, {"step": [], "value": []})
                curve["step"].append(record["step"])
                curve["value"].append(float(f"{value:.6g}"))
    return curves


def write_report(runs: Sequence[RunReport], folder: Path, title: str) -> Path:
    """Writes the page and the folders of its runs; returns the path of the page.

    Args:
      runs: the runs in the order of the page; a folder of an earlier report is replaced.
      folder: where the report goes.
      title: the heading of the page.

    Raises:
      UserError: two runs have the same model, data set and seed.
    """
    names = [run.name for run in runs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"two runs are called {', '.join(twice)}: report them apart")
    for run in runs:
        _write_run(run, folder / run.name)
    page = folder / "README.md"
    atomic.atomic_write_text(page, _page(runs, title))
    return page


def plot_curves(curves: dict[str, dict[str, list[float]]], title: str) -> bytes:
    """Returns a PNG with one small plot for every term."""
    rows = -(-len(curves) // COLUMNS)
    figure = new_figure(3.4 * COLUMNS, 2.0 * rows, title, fontsize=10)
    for index, (term, curve) in enumerate(sorted(curves.items())):
        axes = figure.add_subplot(rows, COLUMNS, index + 1)
        axes.plot(curve["step"], curve["value"], linewidth=0.9)
        axes.set_title(term.replace("_", " "), fontsize=8)
        axes.tick_params(labelsize=7)
        axes.margins(x=0)
    return figure_png(figure, dpi=80)


def _write_run(run: RunReport, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
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
        summary = run.summary
        final = ", ".join(f"{k} {v:.4g}" for k, v in sorted(summary["final"].items()))
        minutes, rate = summary["wall_seconds"] / 60, summary["steps_per_second"]
        cells = [f"[{run.name}](#{run.name})", str(summary["steps"]), f"{minutes:.1f}"]
        lines.append(f"| {' | '.join([*cells, f'{rate:.2f}', final])} |")
    for run in runs:
        lines += ["", *_section(run)]
    return "\n".join(lines) + "\n"


def _section(run: RunReport) -> list[str]:
    fields = ", ".join(f"{name} {run.config[name]}" for name in MAIN_FIELDS)
    versions = ", ".join(f"{k} {v}" for k, v in run.config.get("versions", {}).items())
    lines = [f"## {run.name}", "", f"{fields}."]
    if run.config.get("command"):
        lines += ["", "```", run.config["command"], "```"]
    lines += ["", f"![samples]({run.name}/samples.png)"]
    if run.reconstructions is not None:
        lines += ["", f"![images beside their reconstructions]({run.name}/reconstructions.png)"]
    lines += ["", f"![curves]({run.name}/curves.png)", "", f"Versions: {versions}."]
    return lines


def _last_grid(folder: Path) -> Path | None:
    grids = sorted(folder.glob("step_*.png")) if folder.is_dir() else []
    return grids[-1] if grids else None

"""The page of finished runs: its content, its files, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tfdm.cli import report as command
from tfdm.errors import UserError
from tfdm.experiments.pages import read_curves, read_run, write_report
from tfdm.runs import RunFolder

STEPS = 450


def _make_run(path: Path, seed: int = 0, infers: bool = True) -> RunFolder:
    folder = RunFolder(path)
    folder.create()
    config = {
        "model": "vae",
        "dataset": "color_mnist_5k",
        "steps": STEPS,
        "batch_size": 64,
        "seed": seed,
        "precision": "float32",
        "latent_dim": 5,
        "command": "python scripts/train.py --model=vae",
        "versions": {"tensorflow": "2.21.0"},
    }
    folder.config_path.write_text(json.dumps(config))
    summary = {"steps": STEPS, "wall_seconds": 90.0, "steps_per_second": 5.0, "final": {"kl": 25.5}}
    folder.summary_path.write_text(json.dumps(summary))
    lines = [
        {"step": step, "wall_seconds": 0.2 * step, "steps_per_second": 5.0, "kl": 1.0 / step}
        for step in range(1, STEPS + 1)
    ]
    folder.metrics_path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for grids in (folder.samples, *([folder.reconstructions] if infers else [])):
        grids.mkdir()
        for step, level in ((100, 10), (STEPS, 200)):
            Image.new("RGB", (8, 8), (level, 0, 0)).save(grids / f"step_{step:06d}.png")
    return folder


def test_curves_keep_the_last_step_and_are_thinned_evenly(tmp_path: Path) -> None:
    """Values belong to their steps, the last one is there, and time is no curve."""
    curves = read_curves(_make_run(tmp_path / "run").metrics_path, max_points=100)
    assert set(curves) == {"kl"}
    steps = curves["kl"]["step"]
    assert steps[-1] == STEPS
    assert {b - a for a, b in zip(steps[:-1], steps[1:], strict=True)} == {4}
    expected = [1.0 / step for step in steps]
    assert curves["kl"]["value"] == pytest.approx(expected, rel=1e-5)


def test_page_shows_command_numbers_and_the_last_grids(tmp_path: Path) -> None:
    """The page names every run; the pictures are those of the last step."""
    runs = [
        read_run(_make_run(tmp_path / "a")),
        read_run(_make_run(tmp_path / "b", seed=1, infers=False)),
    ]
    page = write_report(runs, tmp_path / "report", "Two runs").read_text()
    assert page.startswith("# Two runs\n")
    assert page.count("python scripts/train.py --model=vae") == 2
    assert "| 450 | 1.5 | 5.00 | kl 25.5 |" in page
    first, second = (tmp_path / "report" / run.name for run in runs)
    with Image.open(first / "samples.png") as image:
        assert image.getpixel((0, 0)) == (200, 0, 0)
    assert (first / "reconstructions.png").is_file()
    assert not (second / "reconstructions.png").exists()
    assert "reconstructions.png" in page.split(f"## {runs[1].name}")[0]
    assert "reconstructions.png" not in page.split(f"## {runs[1].name}")[1]
    record = json.loads((first / "run.json").read_text())
    assert record["config"]["seed"] == 0
    assert record["summary"]["final"] == {"kl": 25.5}
    with Image.open(first / "curves.png") as image:
        assert image.format == "PNG"


def test_refusals(tmp_path: Path) -> None:
    """Unfinished runs, runs without pictures and two runs of one name are named."""
    folder = _make_run(tmp_path / "run")
    run = read_run(folder)
    with pytest.raises(UserError, match="report them apart"):
        write_report([run, run], tmp_path / "report", "Twice")
    assert not (tmp_path / "report").exists()
    for grid in folder.samples.iterdir():
        grid.unlink()
    with pytest.raises(UserError, match="has no samples"):
        read_run(folder)
    folder.summary_path.unlink()
    with pytest.raises(UserError, match="is not finished"):
        read_run(folder)


def test_command_writes_the_page_and_reports_errors_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 0 with the page's path, exit 2 with one line for a folder that is no run."""
    _make_run(tmp_path / "run")
    output = tmp_path / "report"
    assert command.main([f"--runs={tmp_path / 'run'}", f"--output_dir={output}"]) == 0
    assert capsys.readouterr().out.strip() == str(output / "README.md")
    assert command.main([f"--runs={tmp_path}", f"--output_dir={output}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert command.main(["--help"]) == 0
    assert "--runs" in capsys.readouterr().out

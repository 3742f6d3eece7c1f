"""The page of finished runs: its content, its files, and what it refuses."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from tfdm.cli import report as command
from tfdm.errors import UserError
from tfdm.experiments.pages import plot_curves, read_curves, report
from tfdm.runs import RunFolder

STEPS = 450


def _make_run(path: Path, has_encoder: bool = True, **changes: object) -> RunFolder:
    folder = RunFolder(path)
    folder.create()
    config = {
        "model": "vae", "dataset": "color_mnist_5k", "steps": STEPS, "batch_size": 64, "seed": 0,
        "precision": "float32", "latent_dim": 5, "command": "python scripts/train.py --model=vae",
        "versions": {"tensorflow": "2.21.0"}, **changes,
    }  # fmt: skip
    folder.config_path.write_text(json.dumps(config))
    summary = {"steps": STEPS, "wall_seconds": 90.0, "steps_per_second": 5.0, "final": {"kl": 25.5}}
    folder.summary_path.write_text(json.dumps(summary))
    lines = [
        {"step": step, "wall_seconds": 0.2 * step, "steps_per_second": 5.0, "kl": 1.0 / step}
        for step in range(1, STEPS + 1)
    ]
    folder.metrics_path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for grids in (folder.samples, *([folder.reconstructions] if has_encoder else [])):
        grids.mkdir()
        for step, level in ((100, 10), (STEPS, 200)):
            Image.new("RGB", (8, 8), (level, 0, 0)).save(grids / f"step_{step:06d}.png")
    return folder


def test_curves_keep_the_last_step_and_are_thinned_evenly(tmp_path: Path) -> None:
    curves = read_curves(_make_run(tmp_path / "run").metrics_path, max_points=100)
    assert set(curves) == {"kl"}
    steps = curves["kl"]["step"]
    assert steps[-1] == STEPS
    assert {b - a for a, b in zip(steps[:-1], steps[1:], strict=True)} == {4}
    expected = [1.0 / step for step in steps]
    assert curves["kl"]["value"] == pytest.approx(expected, rel=1e-5)


def test_held_out_terms_keep_their_points_and_stand_with_the_others(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [
        {"step": step, "kl": 1.0, **({} if step % 7 else {"val_kl": 2.0})} for step in range(1, 71)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    curves = read_curves(path, max_points=10)
    assert curves["kl"]["step"] == curves["val_kl"]["step"] == list(range(7, 71, 7))
    both, one = plot_curves(curves, ""), plot_curves({"kl": curves["kl"]}, "")
    sizes = [Image.open(io.BytesIO(picture)).size for picture in (both, one)]
    assert sizes[0] == sizes[1] and both != one


def test_page_shows_command_numbers_and_the_last_grids(tmp_path: Path) -> None:
    folders = [_make_run(tmp_path / "a"), _make_run(tmp_path / "b", has_encoder=False, seed=1)]
    written = report(folders, output_dir=str(tmp_path / "report"), title="Two runs")
    assert written.path is not None and written.path.read_text() == written.page
    page, runs = written.page, written.runs
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


def test_runs_of_one_name_are_told_apart_by_the_fields_that_differ(tmp_path: Path) -> None:
    folders = [
        _make_run(tmp_path / "a"),
        _make_run(tmp_path / "b", latent_dim=8, command="another"),
        _make_run(tmp_path / "c", latent_dim=8, log_every=3),
        _make_run(tmp_path / "d", seed=1),
    ]
    written = report([str(folder.path) for folder in folders])
    assert [run.name for run in written.runs] == [
        "vae-color_mnist_5k-seed0-latent_dim=5",
        "vae-color_mnist_5k-seed0-latent_dim=8",
        "vae-color_mnist_5k-seed0-latent_dim=8-2",
        "vae-color_mnist_5k-seed1",
    ]
    assert written.path is None and len(list(tmp_path.iterdir())) == 4
    assert all(f"## {run.name}\n" in written.page for run in written.runs)


@pytest.mark.parametrize("change", [{"model": "../../x"}, {"dataset": "../x"}, {"seed": "/../x"}])
def test_nothing_in_a_run_leads_out_of_the_report(tmp_path: Path, change: dict[str, str]) -> None:
    folder = _make_run(tmp_path / "run", **change)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=r"unknown model|(dataset|seed) is '|not known here"):
        report([folder], output_dir=str(tmp_path / "a" / "report"))
    assert sorted(tmp_path.rglob("*")) == before


def test_refusals(tmp_path: Path) -> None:
    folder = _make_run(tmp_path / "run")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write into .*file"):
        report([folder], output_dir=str(tmp_path / "file" / "report"))
    for grid in folder.samples.iterdir():
        grid.unlink()
    with pytest.raises(UserError, match="has no samples"):
        report([folder])
    folder.summary_path.unlink()
    with pytest.raises(UserError, match="is not finished"):
        report([folder])


def test_command_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _make_run(tmp_path / "run")
    output = tmp_path / "report"
    assert command.main([f"--runs={tmp_path / 'run'}", f"--output_dir={output}"]) == 0
    assert capsys.readouterr().out.strip() == str(output / "README.md")
    assert command.main([f"--runs={tmp_path}", f"--output_dir={output}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert command.main(["--help"]) == 0
    assert "--runs" in capsys.readouterr().out

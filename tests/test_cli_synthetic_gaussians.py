"""`tfdm-synthetic-gaussians`: its files, going on after a stop, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tfdm.cli import synthetic_gaussians, synthetic_run

SMALL = (
    "--width=8", "--num_layers=1", "--num_seeds=2", "--batch_size=8", "--log_every=2",
    "--num_samples=32",
)  # fmt: skip


def _run(folder: Path, *arguments: str) -> int:
    return synthetic_gaussians.main([*SMALL, f"--output_dir={folder}", *arguments])


def _results(folder: Path) -> dict:
    return json.loads((folder / "results.json").read_text())["results"]


def test_results_hold_every_look(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "out"
    assert _run(folder, "--dims=1,3", "--steps=5") == 0
    results = _results(folder)
    assert list(results) == ["1", "3"]
    record = results["3"]["learning"]
    assert record["steps"] == [0, 2, 4, 5]
    per_seed = np.array(record["per_seed"]["estimate"])
    assert per_seed.shape == (2, 4)
    np.testing.assert_allclose(record["estimate"]["mean"], per_seed.mean(axis=0))
    fixed = results["3"]["estimation"]["true_kl"]["mean"]
    np.testing.assert_allclose(fixed, np.mean(results["3"]["estimation"]["initial_kl"]), rtol=1e-5)
    for name in ("estimation.png", "learning.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    assert "| 3 | learning |" in capsys.readouterr().out


def test_a_stopped_experiment_goes_on_to_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic_run, "_LOOKS_A_SAVE", 2)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert _run(whole, "--dims=2", "--steps=12") == 0
    saves = []
    save = synthetic_run._save

    def stop(*arguments: object) -> None:
        save(*arguments)  # type: ignore[arg-type]
        saves.append(1)
        if len(saves) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(synthetic_run, "_save", stop)
    assert _run(stopped, "--dims=2", "--steps=12") == 130
    assert not (stopped / "results.json").exists()
    monkeypatch.setattr(synthetic_run, "_save", save)
    assert _run(stopped, "--dims=2", "--steps=12") == 0
    assert _results(stopped) == _results(whole)
    # A damaged state costs time alone.
    (stopped / "state" / "learning-2.npz").write_bytes(b"damaged")
    assert _run(stopped, "--dims=2", "--steps=12") == 0
    assert _results(stopped) == _results(whole)


def test_more_steps_go_on_and_other_fields_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, whole = tmp_path / "out", tmp_path / "whole"
    assert _run(folder, "--dims=2", "--steps=4", "--settings=learning") == 0
    assert _run(folder, "--dims=2", "--steps=8", "--settings=learning") == 0
    assert _run(whole, "--dims=2", "--steps=8", "--settings=learning") == 0
    assert _results(folder) == _results(whole)
    assert _run(folder, "--dims=2", "--steps=8", "--seed=3") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "seed is 0 there, 3 here" in error
    assert _run(folder, "--dims=2", "--steps=3") == 2


def test_a_folder_of_something_else_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    assert _run(tmp_path, "--steps=2") == 2
    assert "holds other files" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != ".lock") == ["letter.txt"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dims=1,x"], "--dims has 'x'"),
        (["--dims=0"], "--dims has '0'"),
        (["--settings=lerning"], "did you mean learning"),
        (["--steps=0"], "at least 1"),
        (["--width=wide"], "whole number"),
        (["--widht=3"], "did you mean --width"),
    ],
)
def test_bad_flags_end_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert synthetic_gaussians.main(arguments) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line

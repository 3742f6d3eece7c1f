"""The synthetic Gaussians: files, going on after a stop, and what the command refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfdm.cli import synthetic_gaussians as command
from tfdm.errors import UserError
from tfdm.experiments import synthetic_gaussians as experiments
from tfdm.experiments.synthetic_gaussians import SyntheticGaussians, synthetic_gaussians
from tfdm.runs import CheckpointStore

SMALL = {
    "width": 8, "num_layers": 1, "num_seeds": 2, "batch_size": 8, "log_every": 2,
    "num_samples": 32, "progress": False,
}  # fmt: skip


def _run(folder: Path | None, **options: Any) -> SyntheticGaussians:
    return synthetic_gaussians(
        output_dir=None if folder is None else str(folder), **{**SMALL, **options}
    )


def test_results_hold_every_evaluation(tmp_path: Path) -> None:
    done = _run(tmp_path / "out", dims=(3, 1), steps=5)
    assert done.path == tmp_path / "out" / "results.json"
    assert json.loads(done.path.read_text())["results"] == done.results
    assert list(done.results) == ["1", "3"]
    record = done.results["3"]["learning"]
    assert record["steps"] == [0, 2, 4, 5]
    per_seed = np.array(record["per_seed"]["estimate"])
    assert per_seed.shape == (2, 4)
    np.testing.assert_allclose(record["estimate"]["mean"], per_seed.mean(axis=0))
    fixed = done.results["3"]["estimation"]
    np.testing.assert_allclose(fixed["true_kl"]["mean"], np.mean(fixed["initial_kl"]), rtol=1e-5)
    for name in ("estimation.png", "learning.png"):
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")
    assert "| 3 | learning |" in done.table()
    # Without a folder the same numbers, and with one those of earlier calls beside the new ones.
    assert _run(None, dims=(1, 3), steps=5) == SyntheticGaussians(done.results, None)
    more = _run(tmp_path / "out", dims=(2,), steps=5, settings=("learning",))
    assert list(more.results) == ["1", "2", "3"] and list(more.results["2"]) == ["learning"]
    assert {**more.results, "2": None} == {**done.results, "2": None}


def test_a_stopped_experiment_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiments, "_EVALUATIONS_A_SAVE", 2)
    whole = _run(None, dims=(2,), steps=12)
    saves, save = [], CheckpointStore.save

    def stop(*arguments: Any) -> Path:
        saves.append(save(*arguments))
        if len(saves) == 5:
            raise KeyboardInterrupt
        return saves[-1]

    monkeypatch.setattr(CheckpointStore, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path, dims=(2,), steps=12)
    monkeypatch.setattr(CheckpointStore, "save", save)
    assert [path.name[:13] for path in (tmp_path / "state/learning-2").iterdir()] == [
        "step_00000008"
    ]
    assert _run(tmp_path, dims=(2,), steps=12).results == whole.results
    # A damaged state costs time alone.
    [state] = (tmp_path / "state" / "learning-2").iterdir()
    state.write_bytes(b"damaged")
    assert _run(tmp_path, dims=(2,), steps=12).results == whole.results


def test_more_steps_go_on_and_other_fields_are_refused(tmp_path: Path) -> None:
    options: dict[str, Any] = {"dims": (2,), "settings": ("learning",)}
    for steps in (3, 8):
        done = _run(tmp_path, steps=steps, **options)
    # The evaluation at the first end is not one of the longer training.
    assert done.results == _run(None, steps=8, **options).results
    with pytest.raises(UserError, match=r"another experiment \(seed: 0 -> 3\)"):
        _run(tmp_path, steps=8, seed=3)
    with pytest.raises(UserError, match=r"another experiment \(steps: 8 -> 4\)"):
        _run(tmp_path, steps=4)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="holds other files"):
        _run(tmp_path, steps=2)
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != ".lock") == ["letter.txt"]


def test_the_command_shows_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [f"--{name}={value}" for name, value in SMALL.items() if name != "progress"]
    assert command.main([*flags, "--dims=1", "--steps=2", f"--output_dir={tmp_path}"]) == 0
    shown = capsys.readouterr()
    assert "learning, d = 1: 100%" in shown.err
    assert "| 1 | learning |" in shown.out
    assert shown.out.endswith(f"\n{tmp_path / 'results.json'}\n")

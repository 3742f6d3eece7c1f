"""`tfdm-train` around the trainer: what it hands over, what it says, what it leaves behind."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfdm.cli import train
from tfdm.errors import DivergedError
from tfdm.experiments.config import RunConfig
from tfdm.experiments.train import TrainingResult
from tfdm.runs import RunFolder

SUMMARY = {
    "model": "vae",
    "dataset": "color_mnist_5k",
    "steps": 20,
    "seed": 0,
    "wall_seconds": 3725.2,
    "steps_per_second": 9.4321,
    "final": {"loss": 123.456, "reconstruction_error": 0.0001, "accuracy": None},
}

Calls = list[RunConfig]


def _result(folder: Path, **changes: Any) -> TrainingResult:
    fields = ("steps", "final", "wall_seconds", "steps_per_second")
    values = {name: SUMMARY[name] for name in fields} | changes
    return TrainingResult(folder=RunFolder(folder), summary=SUMMARY, dataset=None, **values)


@pytest.fixture
def trainer(monkeypatch):
    """Puts a session that does as told in place of the real one; returns its calls."""

    def install(outcome: Callable[[], Any]) -> Calls:
        calls: Calls = []

        def fake(config: RunConfig, *_: Any) -> Any:
            calls.append(config)
            return outcome(), None

        monkeypatch.setattr("tfdm.experiments.session.run_session", fake)
        return calls

    return install


def test_the_run_goes_to_the_trainer_and_its_outcome_to_the_terminal(tmp_path, trainer, capsys):
    folder = RunFolder(tmp_path / "run")
    calls = trainer(lambda: SUMMARY)
    status = train.main(
        [
            "--model=vae",
            "--steps=20",
            f"--output_dir={folder.path}",
            f"--cache_dir={tmp_path}",
            "--beta=3",
        ]
    )
    assert status == 0
    [config] = calls
    assert (config.model, config.steps, config.hyperparameters.beta) == ("vae", 20, 3.0)
    assert (config.output_dir, config.data_dir, config.cache_dir) == (
        str(folder.path),
        None,
        str(tmp_path),
    )
    table = capsys.readouterr().out.splitlines()
    rows = dict(re.split(r"  +", line.strip(), maxsplit=1) for line in table if line)
    assert rows["loss"] == "123.5"
    assert rows["reconstruction_error"] == "0.0001"
    assert "accuracy" not in rows
    assert rows["steps"] == "20"
    assert rows["steps a second"] == "9.43"
    assert rows["time"] == "1 h 2 min"
    assert rows["curves"] == f"tensorboard --logdir {folder.path}"


def test_the_report_names_the_newest_grids_and_the_export(tmp_path):
    folder = RunFolder(tmp_path)
    folder.samples.mkdir()
    for step in (500, 999999, 1000000):
        (folder.samples / f"step_{step:06d}.png").touch()
    (folder.samples / ".tfdm-new-1-step_9999999.png").touch()
    folder.export.mkdir()
    text = _result(tmp_path).table()
    assert str(folder.samples / "step_1000000.png") in text
    assert "step_999999.png" not in text
    assert str(folder.export) in text
    assert "reconstructions " not in text


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.4, "0 s"), (59.6, "1 min 0 s"), (265, "4 min 25 s"), (3600, "1 h 0 min")],
)
def test_times_read_as_times(tmp_path, seconds, expected):
    text = _result(tmp_path, wall_seconds=seconds).table()
    assert re.search(rf"time +{expected}$", text, re.M)


def test_a_run_that_diverged_is_kept(tmp_path, trainer, capsys):
    folder = RunFolder(tmp_path / "run")

    def diverge() -> None:
        folder.append_metrics({"step": 1})
        raise DivergedError(2, "generator_loss")

    trainer(diverge)
    assert train.main([f"--output_dir={folder.path}"]) == 3
    assert "generator_loss is not finite at step 2" in capsys.readouterr().err
    assert sorted(path.name for path in folder.path.iterdir()) == [".lock", "metrics.jsonl"]


def test_workers_of_a_cluster_leave_the_folder_to_the_trainer(tmp_path, trainer, capsys):
    trainer(lambda: {"steps": 20})
    assert train.main(["--strategy=multi_worker", f"--output_dir={tmp_path / 'run'}"]) == 0
    assert capsys.readouterr().out == "done: 20 steps\n"  # The rest is the chief's to tell.
    assert list(tmp_path.iterdir()) == []

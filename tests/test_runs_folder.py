"""The run folder: who may write into it, what it records, and how a resumed run finds it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tfdm.errors import UserError
from tfdm.runs import RunFolder, atomic

CONFIG = {
    "model": "vae", "steps": 100, "seed": 0, "latent_dim": 50, "learning_rate": 5e-4,
    "dataset_digest": "ab12", "versions": {"tfdm": "0.1.0"}, "git_revision": "1234567",
}  # fmt: skip


def _started(path: Path) -> RunFolder:
    folder = RunFolder(path)
    folder.create()
    folder.claim_config(CONFIG)
    return folder


def test_create_accepts_a_run_and_what_a_killed_start_left(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "runs" / "a")
    folder.create()
    assert list(folder.path.iterdir()) == []
    with folder.lock():
        pass
    atomic.temporary_sibling(folder.config_path).write_text("{")
    folder.create()
    folder.claim_config(CONFIG)
    folder.samples.mkdir()
    folder.create()


def test_create_refuses_a_folder_with_something_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match=r"thesis\.tex.*choose an --output_dir") as raised:
        RunFolder(tmp_path).create()
    assert "\n" not in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("where", ["file", "file/run", "file/deep/run", "/proc/tfdm/run"])
def test_create_refuses_what_cannot_be_written_to(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write into .*choose another --output_dir"):
        RunFolder(tmp_path / where).create()


def test_open_refuses_what_is_no_run_and_says_what_is_near(tmp_path: Path) -> None:
    run = _started(tmp_path / "runs" / "vae-seed0")
    assert RunFolder.open(run.path).read_config()["model"] == "vae"
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty is not a run folder: give the --output_dir"):
        RunFolder.open(tmp_path / "empty")
    with pytest.raises(UserError, match=r"does not exist: did you mean \S*vae-seed0\?"):
        RunFolder.open(tmp_path / "runs" / "vae_seed0")
    with pytest.raises(UserError, match="is not a run folder: it holds the runs vae-seed0"):
        RunFolder.open(tmp_path / "runs")


def test_a_damaged_configuration_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json.*start a new run"):
        RunFolder.open(tmp_path)
    with pytest.raises(UserError, match=r"config\.json.*start a new run"):
        RunFolder(tmp_path).claim_config(CONFIG)


def test_the_configuration_is_recorded_once_and_claimed_again(tmp_path: Path) -> None:
    folder = _started(tmp_path)
    text = folder.config_path.read_text()
    assert json.loads(text) == CONFIG
    again = {**CONFIG, "versions": {"tfdm": "9"}, "git_revision": "7654321"}
    assert folder.claim_config(again) == CONFIG
    assert folder.config_path.read_text() == text


def test_another_configuration_is_refused_with_every_field_that_differs(tmp_path: Path) -> None:
    folder = _started(tmp_path)
    text = folder.config_path.read_text()
    asked = {**CONFIG, "seed": 1, "latent_dim": 20, "model": "dcgan", "dataset_digest": "cd"}
    asked["beta"] = 2.0
    del asked["learning_rate"]
    with pytest.raises(UserError) as raised:
        folder.claim_config(asked)
    message = str(raised.value)
    assert "(model: vae -> dcgan; seed: 0 -> 1; latent_dim: 50 -> 20; dataset_digest: " in message
    assert "ab12 -> cd; beta: absent -> 2.0; learning_rate: 0.0005 -> absent)" in message
    assert str(tmp_path) in message and "choose another --output_dir" in message
    assert folder.config_path.read_text() == text


def test_a_run_may_be_continued_further_but_not_cut_short(tmp_path: Path) -> None:
    folder = _started(tmp_path)
    longer = {**CONFIG, "steps": 200, "versions": {"tfdm": "9"}}
    assert folder.claim_config(longer) == CONFIG  # What stood there before.
    assert folder.read_config() == {**CONFIG, "steps": 200}
    with pytest.raises(UserError, match=r"\(steps: 200 -> 100\)"):
        folder.claim_config(CONFIG)
    with pytest.raises(UserError, match=r"\(seed: 0 -> 1\)"):
        folder.claim_config({**CONFIG, "steps": 300, "seed": 1})
    assert folder.read_config()["steps"] == 200


def test_fields_that_an_older_version_did_not_record_have_their_defaults(tmp_path: Path) -> None:
    folder = _started(tmp_path)
    asked = {**CONFIG, "ema_decay": 0.0}
    with pytest.raises(UserError, match=r"\(ema_decay: absent -> 0.0\)"):
        folder.claim_config(asked)
    folder.check_config(asked, {"ema_decay": 0.0})
    folder.claim_config(asked, {"ema_decay": 0.0})
    assert folder.read_config() == asked
    with pytest.raises(UserError, match=r"\(ema_decay: 0.0 -> 0.5\)"):
        folder.claim_config({**CONFIG, "ema_decay": 0.5})


def test_some_fields_can_be_checked_before_the_rest_is_known(tmp_path: Path) -> None:
    RunFolder(tmp_path).check_config({"seed": 5})
    folder = _started(tmp_path)
    folder.check_config({"seed": 0, "steps": 100})
    with pytest.raises(UserError, match=r"\(seed: 0 -> 5\)"):
        folder.check_config({"seed": 5, "steps": 100})
    assert folder.read_config() == CONFIG


def test_a_second_writer_is_refused_until_the_first_is_dead(tmp_path: Path) -> None:
    code = (
        "import sys, time; from tfdm.runs import RunFolder\n"
        "with RunFolder(sys.argv[1]).lock(): print('held', flush=True); time.sleep(600)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="is in use by another process"):
            with RunFolder(tmp_path).lock():
                pass
    finally:
        holder.kill()
        holder.communicate()
    with RunFolder(tmp_path).lock():
        pass


def test_the_lock_clears_what_a_killed_writer_left(tmp_path: Path) -> None:
    folder = _started(tmp_path)
    folder.checkpoints.mkdir()
    atomic.temporary_sibling(folder.checkpoints / "step_00000001.npz").touch()
    atomic.temporary_sibling(folder.summary_path).touch()
    with folder.lock():
        assert list(folder.checkpoints.iterdir()) == []
        names = sorted(path.name for path in tmp_path.iterdir())
        assert names == [".lock", "checkpoints", "config.json"]


@pytest.mark.parametrize("steps", ["", "lock", "lock claim"])
def test_an_unused_folder_is_discarded(tmp_path: Path, steps: str) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create()
    if "lock" in steps:
        with folder.lock():
            if "claim" in steps:
                folder.claim_config(CONFIG)
    folder.discard_if_unused()
    assert list(tmp_path.iterdir()) == []
    folder.discard_if_unused()


@pytest.mark.parametrize("name", ["metrics.jsonl", "checkpoints", "thesis.tex"])
def test_a_folder_with_anything_of_worth_is_kept(tmp_path: Path, name: str) -> None:
    folder = _started(tmp_path / "run")
    with folder.lock():
        (folder.path / name).mkdir()
    folder.discard_if_unused()
    names = {path.name for path in folder.path.iterdir()}
    assert names == {".lock", "config.json", name}


def test_a_folder_that_another_writer_holds_is_not_discarded(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create()
    with folder.lock():
        RunFolder(folder.path).discard_if_unused()
        assert [path.name for path in folder.path.iterdir()] == [".lock"]
    folder.discard_if_unused()
    assert not folder.path.exists()


def _steps(folder: RunFolder) -> list[int]:
    return [json.loads(line)["step"] for line in folder.metrics_path.read_text().splitlines()]


def test_metrics_are_one_json_line_each(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.append_metrics({"step": 1, "loss": np.float32(0.5), "name": "β"})
    folder.append_metrics({"step": 2, "loss": float("nan")})
    lines = [json.loads(line) for line in folder.metrics_path.read_text().splitlines()]
    assert lines == [{"step": 1, "loss": 0.5, "name": "β"}, {"step": 2, "loss": None}]
    for record in ({"loss": 1.0}, {"step": 1.5}):
        with pytest.raises(ValueError, match="step is"):
            folder.append_metrics(record)


def test_metrics_after_the_resumed_step_are_dropped(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.truncate_metrics(0)
    assert not folder.metrics_path.exists()
    for step in (50, 100, 150, 200):
        folder.append_metrics({"step": step})
    folder.truncate_metrics(200)
    assert _steps(folder) == [50, 100, 150, 200]
    folder.truncate_metrics(120)
    assert _steps(folder) == [50, 100]
    folder.truncate_metrics(0)
    assert _steps(folder) == []


@pytest.mark.parametrize("half", [b'{"step": 15', b'{"step": 150}', b"\x00\x00\n", b"[1]\n", b"\n"])
def test_a_half_written_last_line_is_repaired(tmp_path: Path, half: bytes) -> None:
    folder = RunFolder(tmp_path)
    for step in (50, 100):
        folder.append_metrics({"step": step})
    with folder.metrics_path.open("ab") as file:
        file.write(half)
    folder.truncate_metrics(1000)
    folder.append_metrics({"step": 150})
    assert _steps(folder) == [50, 100, 150]


def test_the_summary_is_json(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_summary({"model": "vae", "final": {"loss": np.float64(1.5)}})
    assert json.loads(folder.summary_path.read_text()) == {"model": "vae", "final": {"loss": 1.5}}

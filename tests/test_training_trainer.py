"""Whole runs with a tiny model: what they leave, how they go on, what stops them."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
import signal

import numpy as np
import pytest
import tensorflow as tf

from tests import tiny_training
from tests.tiny_training import run, tiny_config, tiny_dataset
from tfdm.errors import Terminated, UserError
from tfdm.experiments.load import load_run
from tfdm.experiments.train import train_run
from tfdm.runs import CheckpointStore, RunFolder
from tfdm.runs.sums import is_intact
from tfdm.training.callbacks import StepCallback
from tfdm.training.state import capture_state


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    tiny_training.register(monkeypatch)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of ten steps that nothing disturbed; to be read only."""
    path = tmp_path_factory.mktemp("finished") / "run"
    with pytest.MonkeyPatch.context() as patch:
        tiny_training.register(patch)
        return RunFolder(path), run(path).summary


@pytest.fixture
def copied(finished, tmp_path):
    """The same in a folder to be changed."""
    path = tmp_path / "run"
    shutil.copytree(finished[0].path, path)
    return RunFolder(path)


def final_checkpoint(folder):
    """Its name, which carries the digest: equal names are equal bits."""
    return CheckpointStore(folder.checkpoints).latest().path.name


def logged_steps(folder):
    return [json.loads(line)["step"] for line in folder.metrics_path.read_text().splitlines()]


def test_leaves_the_files_of_a_run(finished):
    folder, _ = finished
    paths = [path.relative_to(folder.path) for path in folder.path.rglob("*") if path.is_file()]
    found = {str(path) for path in paths if path.parts[0] not in ("tensorboard", "export")}
    checkpoints = {name for name in found if name.startswith("checkpoints/step_000000")}
    assert sorted(name[:25] for name in checkpoints) == [
        f"checkpoints/step_{step:08d}" for step in (4, 8, 10)
    ]
    folders = ("samples", "reconstructions")
    grids = {f"{name}/step_{step:06d}.png" for name in folders for step in (5, 10)}
    files = {"config.json", "metrics.jsonl", "summary.json"}
    files |= {"weights/last.weights.h5", "weights/SHA256SUMS"}
    assert found - checkpoints - {".lock"} == grids | files
    assert sorted(path.name for path in folder.export.iterdir()) == ["encoder", "generator"]
    assert any(folder.tensorboard.iterdir())


def test_the_configuration_is_flat_and_names_data_and_versions(finished):
    folder, _ = finished
    recorded = folder.read_config()
    assert recorded["latent_dim"] == 3 and recorded["seed"] == 0
    assert recorded["image_shape"] == [28, 28, 1] and recorded["dataset_digest"] == "0" * 64
    assert recorded["versions"]["tensorflow"] == tf.__version__
    assert "git_revision" in recorded


def test_the_summary_tells_how_the_run_ended(finished):
    folder, summary = finished
    assert json.loads(folder.summary_path.read_text()) == summary
    lines = [json.loads(line) for line in folder.metrics_path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 5, 6, 8, 10]
    terms = {"encoder_loss", "error", "generator_loss"}
    held_out = {f"val_{name}" for name in terms}
    assert [held_out <= set(line) for line in lines] == [line["step"] in (5, 10) for line in lines]
    assert (summary["model"], summary["steps"], summary["seed"]) == ("tiny", 10, 0)
    assert summary["final"] == {name: lines[-1][name] for name in terms | held_out}
    assert summary["wall_seconds"] >= lines[-1]["wall_seconds"] > 0.0
    assert summary["steps_per_second"] > 0.0
    assert 100.0 < summary["peak_memory_mib"] < 100_000.0


def test_the_saved_weights_and_the_loaded_run_are_those_of_the_last_checkpoint(finished):
    folder, _ = finished
    model = tiny_training.tiny_model(seed=9)
    model.load_weights(folder.weights / "last.weights.h5")
    arrays = CheckpointStore(folder.checkpoints).latest().arrays
    for name, array in capture_state(model).items():
        if name.startswith("model/"):
            np.testing.assert_array_equal(array, arrays[name], err_msg=name)
    loaded = load_run(folder.path)
    assert loaded.step == 10 and loaded.config == tiny_config()
    for name, array in capture_state(loaded.model).items():
        np.testing.assert_array_equal(array, arrays[name], err_msg=name)


def test_a_run_says_what_it_trains(finished, caplog):
    with caplog.at_level(logging.INFO, "tfdm"):
        run(finished[0].path)
    start = "tiny on tiny: 10 steps of batch 8, latent_dim 3, seed 0, "
    assert caplog.messages[0].startswith(start)
    assert caplog.messages[0].endswith(f", into {finished[0].path}")


def test_another_seed_and_other_executions(finished, tmp_path):
    folder, _ = finished
    run(tmp_path / "same", steps_per_execution=4)
    run(tmp_path / "other", seed=1)
    assert final_checkpoint(RunFolder(tmp_path / "same")) == final_checkpoint(folder)
    assert final_checkpoint(RunFolder(tmp_path / "other")) != final_checkpoint(folder)


class Stops(StepCallback):
    """Stands for the progress bar, and ends the run after some step."""

    def __init__(self, span, at, how):
        super().__init__(span)
        self.at, self.how = at, how

    def after_steps(self, previous, logs):
        if self.step == self.at:
            self.how()

    def close(self):
        pass


class KilledError(Exception):
    pass


def kill():
    raise KilledError


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def stopped(monkeypatch, folder, at, how, expected, **changes):
    """Runs until something happens after step `at`."""
    with monkeypatch.context() as patch:
        patch.setattr("tfdm.experiments.session.ProgressBar", lambda span: Stops(span, at, how))
        with pytest.raises(expected) as caught:
            train_run(tiny_config(output_dir=str(folder), **changes), tiny_dataset())
    return caught.value


@pytest.mark.parametrize("at", [3, 7, 8])
def test_a_killed_run_ends_as_if_nothing_had_happened(monkeypatch, finished, tmp_path, at):
    folder = RunFolder(tmp_path / "run")
    stopped(monkeypatch, folder.path, at, kill, KilledError)
    assert CheckpointStore(folder.checkpoints).steps() == [s for s in (8, 4) if s <= at]
    assert not folder.summary_path.exists()
    result = run(folder.path)
    assert final_checkpoint(folder) == final_checkpoint(finished[0])
    assert result.final == finished[1]["final"]
    assert logged_steps(folder) == [2, 4, 5, 6, 8, 10]
    grid = "reconstructions/step_000010.png"
    assert (folder.path / grid).read_bytes() == (finished[0].path / grid).read_bytes()


def test_the_optimiser_that_orders_sums_by_address_is_off(monkeypatch, tmp_path):
    def arithmetic():
        return tf.config.optimizer.get_experimental_options().get("arithmetic_optimization", True)

    seen = []

    def note():
        seen.append(arithmetic())
        raise KilledError

    stopped(monkeypatch, tmp_path / "run", 1, note, KilledError)
    assert seen == [False] and arithmetic()


def test_a_terminated_run_leaves_its_last_step_and_goes_on(monkeypatch, finished, tmp_path):
    folder = RunFolder(tmp_path / "run")
    ended = stopped(monkeypatch, folder.path, 5, terminate, Terminated)
    assert (ended.signum, ended.step) == (signal.SIGTERM, 6)  # it came after step 5's callbacks
    assert CheckpointStore(folder.checkpoints).steps() == [6, 4]
    run(folder.path)
    assert final_checkpoint(folder) == final_checkpoint(finished[0])


def test_time_is_summed_over_the_sessions(monkeypatch, tmp_path):
    folder = RunFolder(tmp_path / "run")
    stopped(monkeypatch, folder.path, 9, kill, KilledError)
    lines = folder.metrics_path.read_text().splitlines()
    records = [{**json.loads(line), "wall_seconds": 5000.0} for line in lines]
    folder.metrics_path.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert 5000.0 < run(folder.path).wall_seconds < 6000.0


def test_a_damaged_checkpoint_is_named_and_passed_over(copied, finished, caplog):
    newest = CheckpointStore(copied.checkpoints).latest().path
    newest.write_bytes(newest.read_bytes()[:-1])
    copied.summary_path.unlink()
    with caplog.at_level(logging.WARNING, "tfdm"):
        run(copied.path)
    assert newest.name in caplog.text
    assert final_checkpoint(copied) == final_checkpoint(finished[0])


def forbid_training(monkeypatch):
    def fail(*arguments, **options):
        raise AssertionError("a finished run was trained again")

    monkeypatch.setattr("tfdm.experiments.session.train_batches", fail)


def test_a_finished_run_answers_at_once_and_says_so(monkeypatch, finished, caplog):
    forbid_training(monkeypatch)
    monkeypatch.setattr("tfdm.experiments.session.build_model", forbid_training)
    with caplog.at_level(logging.INFO, "tfdm"):
        assert run(finished[0].path).summary == finished[1]
    assert caplog.messages[-1] == f"{finished[0].path} is complete: 10 steps are trained"


LOST = ["weights/last.weights.h5", "export/generator", "export/encoder/saved_model.pb"]
LOST += ["samples/step_000010.png", "reconstructions", "summary.json"]


@pytest.mark.parametrize("lost", LOST)
def test_what_a_finished_run_lost_is_made_again(monkeypatch, finished, copied, lost):
    forbid_training(monkeypatch)
    path = copied.path / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    summary = run(copied.path).summary
    assert path.exists()
    assert summary["final"] == finished[1]["final"]
    if lost != "summary.json":
        assert summary == finished[1]
    assert final_checkpoint(copied) == final_checkpoint(finished[0])


def test_a_run_continued_further_is_the_longer_run(copied, tmp_path):
    longer = run(copied.path, steps=13)
    at_once = run(tmp_path / "at_once", steps=13)
    assert longer.final == at_once.final and longer.steps == 13
    assert final_checkpoint(copied) == final_checkpoint(RunFolder(tmp_path / "at_once"))
    assert copied.read_config()["steps"] == 13
    with pytest.raises(UserError, match="steps: 13 -> 10"):
        run(copied.path)


def test_another_configuration_or_other_data_are_refused_before_anything_is_written(copied):
    def written():
        # Some versions of filelock touch the lock when they take it.
        paths = [path for path in copied.path.rglob("*") if path.is_file() and path.name != ".lock"]
        return {path: path.stat().st_mtime_ns for path in paths}

    before = written()
    with pytest.raises(UserError, match="batch_size: 8 -> 4; seed: 0 -> 4"):
        run(copied.path, seed=4, batch_size=4)
    other = dataclasses.replace(tiny_dataset(), digest="1" * 64)
    with pytest.raises(UserError, match="dataset_digest"):
        train_run(tiny_config(output_dir=str(copied.path)), other)
    assert written() == before


def test_two_replicas_make_the_same_run(finished, tmp_path):
    folder = RunFolder(tmp_path / "run")
    # Of ten steps in executions of four the last one is short.
    result = run(folder.path, strategy="mirrored", steps_per_execution=4)
    assert result.summary["replicas"] == 2
    assert result.final == pytest.approx(finished[1]["final"], rel=1e-4)
    expected = CheckpointStore(finished[0].checkpoints).latest().arrays
    actual = CheckpointStore(folder.checkpoints).latest().arrays
    for name, array in expected.items():
        np.testing.assert_allclose(actual[name], array, rtol=1e-3, atol=5e-6, err_msg=name)
    generate = tf.saved_model.load(str(folder.export / "generator")).signatures["serving_default"]
    codes = tf.constant(np.eye(3, dtype=np.float32))
    model = load_run(folder.path).model
    np.testing.assert_allclose(generate(z=codes)["images"], model.generate(codes), atol=1e-6)


def test_a_folder_without_weights_or_with_those_of_another_model(monkeypatch, copied):
    class Wider(tiny_training.TinyAutoencoder):
        @property
        def latent_dim(self):
            return 4

    tiny_training.register(monkeypatch, Wider)
    with pytest.raises(UserError, match="does not fit the model that config.json describes"):
        load_run(copied.path)
    shutil.rmtree(copied.checkpoints)
    with pytest.raises(UserError, match="last.weights.h5 does not fit"):
        load_run(copied.path)
    shutil.rmtree(copied.weights)
    with pytest.raises(UserError, match="holds no trained weights yet"):
        load_run(copied.path)


def test_a_trained_run_without_checkpoints_is_not_started_anew(copied, caplog):
    shutil.rmtree(copied.checkpoints)
    before = copied.metrics_path.read_bytes()
    with pytest.raises(UserError, match="was trained, for 10 steps .*holds no good checkpoint"):
        run(copied.path, steps=20)
    # Neither after it was stopped in the middle.
    shutil.rmtree(copied.weights)
    copied.summary_path.unlink()
    with pytest.raises(UserError, match="holds no good checkpoint"):
        run(copied.path, steps=20)
    assert copied.metrics_path.read_bytes() == before
    # Before the first checkpoint nothing is lost but time, which is said.
    copied.truncate_metrics(4)
    with caplog.at_level(logging.INFO, "tfdm"):
        run(copied.path, steps=20)
    assert "resuming after step 0, whose 4 later steps are taken again" in caplog.messages
    # Every second step, and held-out terms at every fifth.
    assert logged_steps(copied) == sorted({*range(2, 21, 2), 5, 15})


@pytest.mark.parametrize(
    "name", ["weights/last.weights.h5", "export/generator/variables/variables.data-00000-of-00001"]
)
def test_a_run_with_a_damaged_file_is_not_complete(monkeypatch, copied, name):
    forbid_training(monkeypatch)
    path = copied.path / name
    path.write_bytes(path.read_bytes()[:-100])
    run(copied.path)
    for folder in (copied.weights, copied.export / "generator", copied.export / "encoder"):
        assert is_intact(folder)


def test_a_run_folder_that_is_moved_away_is_not_made_anew(monkeypatch, tmp_path):
    folder = RunFolder(tmp_path / "run")

    def move():
        folder.path.rename(tmp_path / "moved")

    stopped(monkeypatch, folder.path, 5, move, OSError)
    assert [path.name for path in tmp_path.iterdir()] == ["moved"]
    run(tmp_path / "moved")

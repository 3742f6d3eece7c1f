"""`tfdm.train` and `tfdm.load_run` as a notebook calls them: arrays, classes, resuming, data."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from PIL import Image

import tfdm
from tests import tiny_training
from tests.tiny_training import IMAGE_SHAPE, TinyAutoencoder, run, tiny_config
from tfdm.datasets import from_array
from tfdm.errors import DivergedError, UserError
from tfdm.experiments.train import train_run
from tfdm.models.registry import MODELS, register_file, register_model
from tfdm.runs import CheckpointStore, RunFolder

QUICK = {"steps": 2, "batch_size": 4, "latent_dim": 3, "progress": False}


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    before = dict(MODELS)
    tiny_training.register(monkeypatch)
    yield
    MODELS.clear()
    MODELS.update(before)


@pytest.fixture
def array(rng):
    return rng.integers(0, 256, (30, *IMAGE_SHAPE), dtype=np.uint8)


def test_a_class_on_an_array(array, tmp_path):
    result = tfdm.train(TinyAutoencoder, array, output_dir=tmp_path / "run", **QUICK)
    assert (result.steps, result.folder.path) == (2, tmp_path / "run")
    terms = {"encoder_loss", "error", "generator_loss"}
    assert set(result.final) == terms | {f"val_{name}" for name in terms}
    assert result.wall_seconds > 0.0
    recorded = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (recorded["model"], recorded["dataset"]) == ("tiny", "array")
    assert recorded["image_shape"] == list(IMAGE_SHAPE)
    assert recorded["num_images"] == {"train": 24, "validation": 3, "test": 3}
    assert recorded["dataset_digest"] == from_array(array).digest
    loaded = result.load()
    assert loaded.dataset is result.dataset and isinstance(loaded.model, TinyAutoencoder)


def test_a_run_of_an_array_is_read_with_the_array(array, tmp_path):
    tfdm.train("tiny", array, output_dir=tmp_path, **QUICK)
    loaded = tfdm.load_run(tmp_path)
    assert np.isfinite(loaded.model.generate(2)).all()
    with pytest.raises(UserError, match=r"28x28x1 images .* named 'array': pass them too, "):
        _ = loaded.dataset
    given = tfdm.load_run(tmp_path, dataset=array)
    np.testing.assert_array_equal(given.dataset.split("test"), from_array(array).split("test"))
    for other in (array[::-1], from_array(array[:20])):
        with pytest.raises(UserError, match="is not what .* was trained on: its digest differs"):
            tfdm.load_run(tmp_path, dataset=other)


def test_options_come_from_a_configuration_and_keywords(array, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = tiny_config(steps=1, batch_size=4)
    result = tfdm.train("tiny", array, config=config, seed=3, encoder="implicit", progress=False)
    assert result.folder.path.resolve() == tmp_path / "runs" / "tiny-array-seed3"
    loaded = result.load().config
    assert (loaded.steps, loaded.hyperparameters.encoder) == (1, "implicit")
    with pytest.raises(UserError, match="tiny has no 'stepz': did you mean steps"):
        tfdm.train("tiny", array, stepz=1)
    with pytest.raises(ValueError, match="image_size and crop have no effect"):
        tfdm.train("tiny", array, image_size=28)
    with pytest.raises(UserError, match="unknown model 'tinny': did you mean tiny"):
        tfdm.train("tinny", array)


FREE = {"log_every": 5, "sample_every": 10, "checkpoint_every": 3, "strategy": "cpu"}
FREE |= {"preset": "paper", "data_dir": "/elsewhere"}


def test_resuming_with_other_reports_gives_the_same_weights(tmp_path):
    run(tmp_path / "straight", steps=9)
    run(tmp_path / "resumed", steps=4)
    run(tmp_path / "resumed", steps=9, **FREE)
    folders = [RunFolder(tmp_path / name) for name in ("straight", "resumed")]
    names = [CheckpointStore(folder.checkpoints).latest().path.name for folder in folders]
    assert names[0] == names[1]  # The name has the digest.
    recorded = folders[1].read_config()
    assert {name: recorded[name] for name in FREE} == FREE and recorded["steps"] == 9
    run(tmp_path / "resumed", steps=9)
    assert folders[1].read_config()["data_dir"] == "/elsewhere"  # Not given is not forgotten.


def test_the_folder_of_images_is_remembered(rng, tmp_path, monkeypatch):
    (tmp_path / "faces").mkdir()
    for i in range(5):
        pixels = rng.integers(0, 256, (28, 28, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "faces" / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    options = {"image_size": 28, "width": 1 / 64, "cache_dir": "cache"} | QUICK
    tfdm.train("vae", "image_folder", output_dir="run", data_dir="faces", **options)
    monkeypatch.chdir(tmp_path / "faces")
    loaded = tfdm.load_run(tmp_path / "run")
    assert loaded.config.data_dir == str(tmp_path / "faces")
    assert loaded.dataset.image_shape == (28, 28, 3)
    more = {key: value for key, value in options.items() if key != "cache_dir"} | {"steps": 3}
    assert tfdm.train("vae", "image_folder", output_dir=tmp_path / "run", **more).steps == 3
    with pytest.raises(UserError, match="image_folder needs --data_dir"):
        tfdm.train("vae", "image_folder", output_dir=tmp_path / "other")
    Image.new("RGB", (28, 28)).save(tmp_path / "faces" / "0.png")
    with pytest.raises(UserError, match="its digest differs"):
        _ = tfdm.load_run(tmp_path / "run").dataset


def test_a_model_of_a_file_is_recorded_and_never_imported(array, tmp_path, caplog):
    file = tmp_path / "mine.py"
    code = "import tfdm, tests.tiny_training as t\ntfdm.register_model('mine', t.TinyAutoencoder)\n"
    file.write_text(code)
    register_file(file)
    tfdm.train("mine", array, output_dir=tmp_path / "run", **QUICK)
    recorded = json.loads((tmp_path / "run" / "config.json").read_text())
    assert recorded["model_source"]["file"] == "mine.py"
    del MODELS["mine"]
    with pytest.raises(UserError, match="'mine' is not known here; mine.py .*--register=mine.py"):
        tfdm.load_run(tmp_path / "run")
    file.write_text(code + "# changed\n")
    register_file(file)
    digest, changed = recorded["model_source"]["sha256"], MODELS["mine"].source["sha256"]
    for steps, expected in ((2, digest), (2, digest), (3, changed)):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "tfdm"):
            tfdm.load_run(tmp_path / "run")
            tfdm.train("mine", array, output_dir=tmp_path / "run", **(QUICK | {"steps": steps}))
        messages = [record.getMessage() for record in caplog.records if record.name == "tfdm"]
        assert messages == ["mine.py has changed since the run was started"] * 2
        recorded = json.loads((tmp_path / "run" / "config.json").read_text())
        assert recorded["model_source"]["sha256"] == expected  # of the steps that are trained
    caplog.clear()
    assert tfdm.load_run(tmp_path / "run").step == 3 and not caplog.records
    register_model("mine", TinyAutoencoder)  # no file, which cannot have changed
    assert tfdm.load_run(tmp_path / "run").step == 3 and not caplog.records


def test_deterministic_operations_are_asked_for_and_recorded(monkeypatch, tmp_path):
    tiny_training.register(monkeypatch)
    asked = []
    experimental = "tensorflow.config.experimental.enable_op_determinism"
    monkeypatch.setattr(experimental, lambda: asked.append(True))
    folder = tiny_training.run(tmp_path / "run").folder
    assert not asked and folder.read_config()["deterministic"] is False
    tiny_training.run(folder.path, deterministic=True)  # as a run may be resumed
    assert asked and folder.read_config()["deterministic"] is True


def test_divergence_leaves_the_last_good_checkpoint(monkeypatch, tmp_path):
    tiny_training.register(monkeypatch, tiny_training.DivergingAutoencoder)
    folder = RunFolder(tmp_path / "run")
    for _ in range(2):  # the same again when it is resumed
        with pytest.raises(DivergedError, match="generator_loss is not finite at step 7"):
            run(folder.path)
        assert CheckpointStore(folder.checkpoints).steps() == [4]
        assert not folder.summary_path.exists()
        lines = folder.metrics_path.read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == [2, 4, 5, 6]


def test_data_that_cannot_be_had_leave_nothing_behind(tmp_path):
    with pytest.raises(UserError, match="unknown dataset 'tiny'"):
        train_run(tiny_config(output_dir=str(tmp_path / "run")))
    assert not (tmp_path / "run").exists()

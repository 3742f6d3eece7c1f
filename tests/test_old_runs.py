"""What version 0.1.0 left on disk: run folders and Keras files, as `fixtures/v0_1` has them."""

from __future__ import annotations

import json
import shutil
import zlib
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfdm
from tfdm.experiments.export import export_model
from tfdm.models.registry import find_model
from tfdm.training import noise

OLD = Path(__file__).parent / "fixtures" / "v0_1"
MODELS = ("vae", "aae_gan")


@pytest.fixture
def old_run(tmp_path):
    """The folder of a run of four steps, to be changed."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(OLD / f"run_{name}", tmp_path / name))

    return copy


@pytest.mark.parametrize("name", MODELS)
def test_an_old_run_loads_generates_exports_and_is_estimated(old_run, name):
    run = tfdm.load_run(old_run(name))
    assert (run.step, run.config.model, run.config.data_dir) == (4, name, None)
    images = run.model.generate(5, seed=1).numpy()
    assert images.shape == (5, 28, 28, 3)
    assert np.isfinite(images).all() and images.min() >= 0.0 and images.max() <= 1.0
    assert np.isfinite(run.model.encode(run.dataset.split("test")[:4]).numpy()).all()
    exported = export_model(run.model, run.folder.export)
    assert sorted(path.name for path in exported) == ["encoder", "generator"]
    estimates = tfdm.estimate_kl(run, estimators=("gmm",), progress=False).estimates
    assert np.isfinite(estimates["gmm"].kl)


def test_the_weights_of_an_old_run_load_alone(old_run):
    folder = old_run("vae")
    expected = tfdm.load_run(folder).model.generate(3)
    shutil.rmtree(folder / "checkpoints")
    np.testing.assert_array_equal(tfdm.load_run(folder).model.generate(3), expected)


@pytest.mark.parametrize("name", MODELS)
def test_an_old_run_is_resumed(old_run, name):
    folder = old_run(name)
    recorded = json.loads((folder / "config.json").read_text())
    fields = {"width": 1 / 64, "latent_dim": 3, "batch_size": 8}
    if name == "vae":
        fields["marginal_kl_weight"] = 0.5
    result = tfdm.train(
        name, "color_mnist_5k", steps=5, output_dir=folder, log_every=1, progress=False, **fields
    )
    assert result.steps == result.load().step == 5
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [2, 4, 5]
    now = json.loads((folder / "config.json").read_text())
    assert now["dataset_digest"] == recorded["dataset_digest"]
    assert (now["steps"], now["log_every"], now["sample_every"]) == (5, 1, 500)


def old_noise(name: str) -> tf.Tensor:
    """Four draws of a stream of seed 0, as they were before the streams were renamed."""
    return noise._normal([4, 3], tf.constant([zlib.crc32(name.encode()), 0], tf.int64))


@pytest.mark.parametrize("name", MODELS)
def test_an_old_keras_file_gives_what_it_gave(name):
    find_model(name).load()  # Keras has to know the class.
    model = keras.models.load_model(OLD / f"{name}.keras")
    images = np.random.default_rng(0).integers(0, 256, (16, 28, 28, 3), dtype=np.uint8)[:4]
    expected = np.load(OLD / f"{name}.npz")
    posterior = model.posterior(images)
    for key, actual in {
        "images": model.generate(old_noise("codes")),
        "codes": posterior.loc + posterior.scale * old_noise("posterior"),
        "loc": posterior.loc,
    }.items():
        np.testing.assert_allclose(tf.convert_to_tensor(actual), expected[key], atol=1e-5)

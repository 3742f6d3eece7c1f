"""A model from outside the package goes through every command and every function."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import tfdm
from tfdm.cli import estimate_kl, evaluate, export, fit_prior, sample, train
from tfdm.runs.checkpoints import CheckpointStore

ROOT = Path(__file__).resolve().parents[1]
REGISTER = f"--register={ROOT / 'examples' / 'flow_vae.py'}"
FIELDS = {"latent_dim": 2, "width": 1 / 16, "batch_size": 8, "edge_weight": 0.5}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 photographs of 60x50 random blocks."""
    folder = tmp_path_factory.mktemp("photos")
    for index in range(40):
        blocks = np.random.default_rng(index).integers(0, 256, (5, 6, 3), np.uint8)
        PIL.Image.fromarray(blocks).resize((60, 50), 0).save(folder / f"{index:02d}.png")
    return folder


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that stopped after 2 steps and was continued to 4."""
    folder = tmp_path_factory.mktemp("runs") / "flow_vae"
    for steps in (2, 4):
        given = {**FIELDS, "model": "flow_vae", "dataset": "image_folder", "image_size": 48}
        given |= {"data_dir": photos, "steps": steps, "checkpoint_every": 2, "log_every": 1}
        flags = [f"--{name}={value}" for name, value in given.items()]
        assert train.main([REGISTER, f"--output_dir={folder}", *flags]) == 0
    return folder


def test_it_trains_and_resumes(run: Path) -> None:
    assert CheckpointStore(run / "checkpoints").steps() == [4, 2]
    lines = (run / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4]
    assert {"kl", "edge_error", "cycle_error"} <= json.loads(lines[-1]).keys()


def test_the_run_remembers_the_file_that_made_its_model_known(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    assert config["model_source"]["file"] == "flow_vae.py"
    assert config["edge_weight"] == 0.5
    assert len(config["model_source"]["sha256"]) == 64


def test_its_prior_is_estimated_against(run: Path) -> None:
    few = ["--monte_carlo.num_samples=200", "--gmm.steps=5", "--gmm.num_components=2"]
    flags = ["--estimators=monte_carlo,gmm", *few]
    assert estimate_kl.main([REGISTER, f"--run={run}", *flags]) == 0
    result = json.loads((run / "kl.json").read_text())
    assert result["average_kl_standard_error"] > 0.0
    assert all(np.isfinite(result["estimates"][name]["kl"]) for name in ("monte_carlo", "gmm"))


def test_it_is_evaluated_sampled_and_exported(run: Path) -> None:
    flags = ["--metrics=ms_ssim", "--num_samples=16", "--ms_ssim.batch_size=8"]
    assert evaluate.main([REGISTER, f"--run={run}", *flags]) == 0
    assert "diversity" in json.loads((run / "evaluation.json").read_text())["metrics"]["ms_ssim"]
    assert sample.main([REGISTER, f"--run={run}", "--num=4"]) == 0
    assert export.main([REGISTER, f"--run={run}"]) == 0
    with np.load(run / "generated" / "samples.npz") as samples:
        import tensorflow as tf

        generator = tf.saved_model.load(str(run / "export" / "generator"))
        images = generator.signatures["serving_default"](z=tf.constant(samples["noise"]))["images"]
        np.testing.assert_allclose(images * 255.0, samples["images"], atol=0.51)


def test_a_prior_is_fitted_to_it(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = run.with_name("fitted")
    few = ["--monte_carlo.num_samples=200", "--gmm.steps=5", "--gmm.num_components=2"]
    few.append("--gmm.num_samples=200")
    flags = ["--density=gmm", "--metrics=ms_ssim", "--num_samples=200", *few]
    assert fit_prior.main([REGISTER, f"--run={run}", f"--output_dir={new}", *flags]) == 0
    assert f"{new}/fitted_prior.json" in capsys.readouterr().out
    content = json.loads((new / "fitted_prior.json").read_text())
    priors = [content[name]["prior"] for name in ("before", "after")]
    assert priors == ["MaskedAutoregressiveFlow", "DiagonalGaussianMixture"]
    assert all("diversity" in content[name]["metrics"]["ms_ssim"] for name in ("before", "after"))
    assert estimate_kl.main([REGISTER, f"--run={new}", "--monte_carlo.num_samples=200"]) == 0
    assert json.loads((new / "kl.json").read_text())["prior"] == priors[1]


def test_the_functions_take_it_on_an_array(run: Path, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (30, 48, 48, 3), np.uint8)
    trained = tfdm.train(
        "flow_vae", images, steps=2, output_dir=tmp_path / "run", progress=False, **FIELDS
    )
    loaded = tfdm.load_run(tmp_path / "run", dataset=images)
    assert loaded.step == trained.steps == 2
    kl = tfdm.estimate_kl(loaded, fields={"monte_carlo": {"num_samples": 100}}, progress=False)
    assert np.isfinite(kl.estimates["monte_carlo"].kl)

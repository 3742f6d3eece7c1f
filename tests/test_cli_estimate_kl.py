"""`tfdm-estimate-kl` on files and runs: what it writes, keeps, goes on with and refuses."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from tests import tiny_training
from tfdm.cli import estimate_kl
from tfdm.estimators import monte_carlo_kl, posterior_bounds
from tfdm.experiments.config import RunConfig
from tfdm.experiments.load import load_run
from tfdm.experiments.train import train
from tfdm.models.config import AAEConfig, DCGANConfig, VAEConfig
from tfdm.training.config import ModelConfig
from tfdm.training.noise import StepNoise

SAMPLES = "--monte_carlo.num_samples=3000"


@pytest.fixture
def posterior(tmp_path: Path, rng: np.random.Generator) -> Path:
    path = tmp_path / "mine.npz"
    np.savez(path, loc=rng.normal(size=(30, 2)), scale=np.full((30, 2), 0.4))
    return path


def _run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, config: ModelConfig) -> Path:
    """A run of two steps of a real model on random bytes."""
    tiny = tiny_training.tiny_dataset()
    monkeypatch.setattr("tfdm.experiments.train.load_dataset", lambda name, **_: tiny)
    monkeypatch.setattr("tfdm.datasets.load.load_dataset", lambda name, **_: tiny)
    fields = RunConfig(
        model=name,
        dataset="color_mnist_5k",
        steps=2,
        batch_size=8,
        hyperparameters=config,
    )
    train(fields, tmp_path / "run")
    return tmp_path / "run"


def _read(folder: Path) -> dict:
    return json.loads((folder / "kl.json").read_text())


def _error(capsys: pytest.CaptureFixture[str]) -> str:
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    return line


def test_a_file_of_posteriors_is_enough(
    posterior: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert estimate_kl.main([f"--posterior={posterior}", SAMPLES, "--seed=4"]) == 0
    folder = Path(f"{posterior}.kl")
    content = _read(folder)
    arrays = np.load(posterior)
    expected = monte_carlo_kl(arrays["loc"], arrays["scale"], 3000, 4)
    bounds = posterior_bounds(arrays["loc"], arrays["scale"])
    record = content["estimates"]["monte_carlo"]
    assert record["kl"] == expected.kl
    assert record["standard_error"] == expected.standard_error
    assert (record["num_samples"], record["seed"]) == (3000, 4)
    assert content["average_kl"] == pytest.approx(bounds.average_kl, rel=1e-12)
    assert content["minimum_marginal_kl"] == pytest.approx(bounds.average_kl - math.log(30))
    assert content["average_kl_per_dimension"] == pytest.approx(bounds.average_kl / 2)
    assert (content["num_data"], content["num_latents"]) == (30, 2)
    PIL.Image.open(io.BytesIO((folder / "kl.png").read_bytes())).verify()
    assert (folder / "kl.md").read_text() in capsys.readouterr().out


def test_other_settings_stand_beside_the_first(posterior: Path) -> None:
    folder = Path(f"{posterior}.kl")
    assert estimate_kl.main([f"--posterior={posterior}", SAMPLES]) == 0
    first = _read(folder)["estimates"]["monte_carlo"]
    arguments = [f"--posterior={posterior}", "--estimators=leave_one_out", "--label=few"]
    assert estimate_kl.main([*arguments, "--leave_one_out.num_samples=100"]) == 0
    estimates = _read(folder)["estimates"]
    assert list(estimates) == ["monte_carlo", "leave_one_out:few"]
    assert estimates["monte_carlo"] == first


def test_other_posteriors_are_not_mixed_in(
    posterior: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert estimate_kl.main([f"--posterior={posterior}", SAMPLES]) == 0
    before = (Path(f"{posterior}.kl") / "kl.json").read_bytes()
    np.savez(posterior, loc=np.zeros((4, 2)), scale=np.ones((4, 2)))
    assert estimate_kl.main([f"--posterior={posterior}", SAMPLES]) == 2
    assert "is about other posteriors" in _error(capsys)
    assert (Path(f"{posterior}.kl") / "kl.json").read_bytes() == before


def test_a_run_is_estimated_and_its_holes_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _run(tmp_path, monkeypatch, "vae", VAEConfig(latent_dim=3, width=1 / 16))
    arguments = [f"--run={run}", "--estimators=monte_carlo,held_out", SAMPLES]
    arguments += ["--held_out.num_samples=200", "--log_likelihood_samples=3"]
    assert estimate_kl.main(arguments) == 0
    content = _read(run)
    model = load_run(run).model
    dataset = tiny_training.tiny_dataset()
    posterior = model.posterior(dataset.split("train")[:])
    bounds = posterior_bounds(posterior.mean().numpy(), posterior.stddev().numpy())
    assert content["average_kl"] == pytest.approx(bounds.average_kl, rel=1e-5)
    assert content["source"]["steps"] == 2
    assert content["held_out"]["num_data"] == 12
    assert set(content["estimates"]) == {"monte_carlo", "held_out"}
    assert content["log_likelihood"]["num_samples"] == 3
    # One pass of the model's own loss over the same images, with other noise.
    images = dataset.split("validation")[:].astype(np.float32) / 127.5 - 1.0
    _, terms = model.losses(images, StepNoise(0, tf.constant(0), len(images)), False)
    assert content["log_likelihood"]["elbo"] == pytest.approx(float(terms["bound"]), rel=0.02)
    with PIL.Image.open(run / "kl_samples.png") as picture:
        assert picture.size == (8 * 30 + 2, 8 * 30 + 2)


def test_a_model_without_density_has_null_and_one_without_encoder_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _run(tmp_path, monkeypatch, "aae", AAEConfig(latent_dim=3, width=1 / 16))
    assert estimate_kl.main([f"--run={run}"]) == 2
    assert "has no density" in _error(capsys)
    assert not (run / "kl.json").exists()
    few = [f"--{name}.steps=4" for name in ("density_ratio", "gmm", "maf", "lstm")]
    small = ["--density_ratio.width=8", "--maf.width=8", "--lstm.units=4"]
    names = "--estimators=monte_carlo,density_ratio,gmm,maf,lstm"
    assert estimate_kl.main([f"--run={run}", names, *few, *small]) == 0
    content = _read(run)
    assert content["average_kl"] is None
    assert content["estimates"]["monte_carlo"]["kl"] is None
    for name in ("density_ratio", "gmm", "maf", "lstm"):
        record = content["estimates"][name]
        # Of the 12 held-out codes one half chooses, and each of the other half counts once.
        assert record["num_samples"] == 6
        assert math.isfinite(record["kl"])
        assert record["config"]["steps"] == 4
    (tmp_path / "gan").mkdir()
    gan = _run(tmp_path / "gan", monkeypatch, "dcgan", DCGANConfig(latent_dim=3, width=1 / 16))
    assert estimate_kl.main([f"--run={gan}"]) == 2
    assert "has no encoder" in _error(capsys)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give one of --run=DIR and --posterior"),
        (["--run=a", "--posterior=b"], "give one of --run=DIR and --posterior"),
        (["--run=nowhere"], "nowhere"),
        (["--posterior=nowhere.npz"], "nowhere.npz does not exist"),
        (["--posterior=x", "--estimators=monte_calro"], "did you mean monte_carlo"),
        (["--posterior=x", "--held_out.num_samples=3"], "add held_out to --estimators"),
        (["--posterior=x", "--monte_carlo.num_samples=1"], "at least 2"),
        (["--posterior=x", "--monte_carlo.num_samples=many"], "whole number"),
        (["--posterior=x", "--log_likelihood_samples=5"], "needs --run"),
        (["--posterior=x", "--label=a/b"], "--label=a/b"),
        (["--posterior=x", "--seed=-1"], "at least 0"),
    ],
)
def test_bad_flags_end_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert estimate_kl.main(arguments) == 2
    assert message in _error(capsys)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"loc": np.zeros((2, 3))}, "lacks scale"),
        ({"loc": np.zeros((2, 3)), "scale": np.ones((3, 2))}, "shape (2, 3)"),
        ({"loc": np.zeros((2, 3)), "scale": np.zeros((2, 3))}, "scale[0, 0] is 0.0"),
        ({"loc": np.full((2, 3), np.nan), "scale": np.ones((2, 3))}, "loc[0, 0] is nan"),
        ({"loc": np.zeros((0, 3)), "scale": np.zeros((0, 3))}, "shape (0, 3)"),
        ({"loc": np.array([{}]), "scale": np.ones((1, 1))}, "cannot be read"),
    ],
)
def test_bad_files_end_in_one_line(
    arrays: dict, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)
    assert estimate_kl.main([f"--posterior={path}"]) == 2
    assert message in _error(capsys)
    path.write_bytes(b"no zip")
    assert estimate_kl.main([f"--posterior={path}"]) == 2
    assert "cannot be read" in _error(capsys)

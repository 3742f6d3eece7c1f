"""`tfdm.fit_prior`: a density fitted to q(z) of a trained run takes the prior's place."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfdm
from tests import tiny_training
from tests.model_cases import (
    all_variables,
    assert_same,
    small_batches,
    small_model,
    values,
)
from tfdm.cli import fit_prior as command
from tfdm.distributions.gaussian_mixture import DiagonalGaussianMixture
from tfdm.distributions.masked_autoregressive_flow import MaskedAutoregressiveFlow
from tfdm.errors import UserError
from tfdm.experiments import fit_prior as module
from tfdm.experiments.fit_prior import FittedPrior
from tfdm.experiments.load import Run
from tfdm.experiments.pages import report
from tfdm.experiments.weights import write_weights
from tfdm.models.registry import MODELS

SMALL: dict[str, dict[str, Any]] = {
    "gmm": {"steps": 60, "num_components": 3, "learning_rate": 0.02, "evaluate_every": 20},
    "maf": {"steps": 4, "num_flows": 1, "num_layers": 1, "width": 8},
    "lstm": {"steps": 4, "num_layers": 1, "units": 4},
    "density_ratio": {"steps": 4, "num_layers": 1, "width": 8},
}
FEW = {"monte_carlo": {"num_samples": 3000}}


def trained(name: str, path: Path, **hyperparameters: Any) -> Path:
    """A run of two steps on random bytes."""
    tfdm.train(
        name, tiny_training.tiny_dataset(), output_dir=path, steps=2, batch_size=8, latent_dim=3,
        width=1 / 16, progress=False, **hyperparameters,
    )  # fmt: skip
    return path


def load(path: Path) -> Run:
    return tfdm.load_run(path, dataset=tiny_training.tiny_dataset())


def fitted(run: Path, output_dir: Path, density: str = "gmm", **options: Any) -> FittedPrior:
    fields = options.pop("fields", {density: SMALL[density], **FEW})
    return tfdm.fit_prior(
        load(run), density, output_dir=output_dir, fields=fields, progress=False, **options
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose q(z) is far from N(0, I)."""
    path = trained("vae", tmp_path_factory.mktemp("runs") / "vae", ema_decay=0.5)
    model = load(path).model
    [bias] = [v for v in model.encoder.trainable_variables if tuple(v.shape) == (6,)]
    bias.assign([1.5, -1.0, 0.5, -1.0, -1.0, -1.0])
    write_weights(model, path / "weights")
    shutil.rmtree(path / "checkpoints")
    return path


@pytest.fixture(scope="module")
def result(run: Path) -> FittedPrior:
    metrics = {"metrics": ["ms_ssim"], "num_samples": 200}
    return fitted(run, run.with_name("gmm"), **metrics)


def test_the_kl_falls_by_the_difference_of_the_densities(
    run: Path, result: FittedPrior, rng: np.random.Generator
) -> None:
    source, density = load(run), load(result.folder.path).model.prior
    assert isinstance(density, DiagonalGaussianMixture)
    posterior = source.model.posterior(source.dataset.split("train")[:])
    number = 3000
    rows = rng.integers(40, size=number)
    loc, scale = posterior.loc.numpy()[rows], posterior.scale.numpy()[rows]
    codes = (loc + scale * rng.normal(size=loc.shape)).astype(np.float32)
    gains = density.log_prob(codes).numpy() - source.model.prior.log_prob(codes).numpy()
    expected, error = gains.mean(), gains.std() / np.sqrt(number)
    assert expected > 10 * error
    # The sampled estimates share their codes, not those of this test.
    before, after = (result.content[name] for name in ("before", "after"))
    kls = [one["estimates"]["monte_carlo"]["kl"] for one in (before, after)]
    assert abs(kls[0] - kls[1] - expected) < 4.5 * np.hypot(error, error)
    assert result.content["gap_closed"]["monte_carlo"] == pytest.approx(1 - kls[1] / kls[0])
    # The average KL of before is exact.
    drop = before["average_kl"] - after["average_kl"]
    spread = np.hypot(error, after["average_kl_standard_error"])
    assert abs(drop - expected) < 4.5 * spread


def test_before_is_what_the_run_had_and_the_run_is_not_touched(
    run: Path, result: FittedPrior
) -> None:
    alone = tfdm.estimate_kl(load(run), fields=FEW, progress=False)
    assert alone.estimates == result.before.estimates
    assert not (run / "kl.json").exists() and not (run / "evaluation.json").exists()
    assert result.content["before"]["prior"] == "StandardNormal"
    assert result.content["after"]["prior"] == "DiagonalGaussianMixture"


def test_the_new_run_is_the_old_one_with_another_prior(run: Path, result: FittedPrior) -> None:
    old, new = load(run), load(result.folder.path)
    assert (new.step, new.config) == (old.step, old.config)
    number = len(old.model.variables)
    assert_same(values(new.model.variables[:number]), values(old.model.variables))
    noise = tf.constant(np.random.default_rng(0).normal(size=[5, 3]), tf.float32)
    images = new.model.generate(noise)
    np.testing.assert_array_equal(images, old.model.decode(new.model.prior.from_noise(noise)))
    assert np.abs(images - old.model.generate(noise)).max() > 1e-4
    generator = tf.saved_model.load(result.folder.export / "generator").signatures
    np.testing.assert_allclose(generator["serving_default"](z=noise)["images"], images, atol=1e-5)
    assert result.folder.last_grid("samples") is not None


def test_every_function_takes_the_new_run(result: FittedPrior, tmp_path: Path) -> None:
    folder = result.folder.path
    again = tfdm.estimate_kl(load(folder), output_dir=str(folder), fields=FEW, progress=False)
    assert again.estimates == result.after.estimates
    assert again.bounds is not None and result.after.bounds is not None
    assert again.bounds.average_kl == result.after.bounds.average_kl
    options = {"metrics": ["ms_ssim"], "num_samples": 200, "progress": False}
    evaluation = tfdm.evaluate(load(folder), output_dir=str(folder), **options)
    assert evaluation["ms_ssim"] == result.scores["after"]["ms_ssim"]
    assert evaluation.samples_digest != result.scores["before"].samples_digest
    samples = tfdm.sample(load(folder), num=4, interpolations=0, seed=1)
    images = load(folder).model.generate(samples.noise).numpy()
    np.testing.assert_array_equal(samples.images, np.rint(images * 255.0))
    page = (folder / "fitted_prior.md").read_text()
    assert page == result.table() and "% of KL" in page and "| after |" in page
    [shown] = report([folder], output_dir=str(tmp_path)).runs
    assert shown.summary["steps"] == 2


def test_it_trains_no_more(result: FittedPrior) -> None:
    with pytest.raises(UserError, match="fitted after its training"):
        trained("vae", result.folder.path, ema_decay=0.5)
    model = load(result.folder.path).model
    with pytest.raises(ValueError, match="fitted_prior, expected none"):
        model.train_step(tf.zeros([8, 28, 28, 1]))
    with pytest.raises(UserError, match="has a fitted prior already"):
        fitted(result.folder.path, result.folder.path.with_name("twice"))
    assert not result.folder.path.with_name("twice").exists()


def test_an_interrupted_call_is_made_again(
    run: Path, result: FittedPrior, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "new"

    def stop(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "write_networks", stop)
        fitted(run, folder)
    with pytest.raises(UserError, match="no trained weights"):
        load(folder)
    with pytest.raises(UserError, match="another configuration"):
        fitted(run, folder, seed=1)
    again = fitted(run, folder)
    assert again.after.estimates == result.after.estimates
    made, expected = (load(path).model.variables for path in (folder, result.folder.path))
    assert_same(values(made), values(expected))


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_model_takes_a_fitted_prior(name: str, tmp_path: Path) -> None:
    dim = small_model(name).latent_dim
    density = MaskedAutoregressiveFlow(dim, 1, 1, 8, seed=5)
    density.initialize(np.random.default_rng(0).normal(2.0, 3.0, size=[50, dim]))
    options = {"prior": "autoregressive"} if name == "draw" else {}
    plain, model = (small_model(name, **options, **o) for o in ({}, {"fitted_prior": density}))
    assert model.prior is density
    assert not {id(v) for v in density.variables} & {id(v) for v in model.trainable_variables}
    assert_same(values(model.variables)[: len(plain.variables)], values(plain.variables))
    noise = tf.constant(np.random.default_rng(1).normal(size=[2, dim]), tf.float32)
    images = plain.decode(density.from_noise(noise))
    np.testing.assert_array_equal(model.generate(noise), images)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_same(values(all_variables(loaded)), values(all_variables(model)))
    np.testing.assert_array_equal(loaded.generate(noise), images)
    with pytest.raises(ValueError, match="trains no more"):
        loaded.train_step(tf.constant(small_batches(plain, 1)[0]))


@pytest.mark.parametrize("density", ["maf", "lstm"])
def test_the_other_densities_are_loaded_as_they_were_fitted(
    density: str, run: Path, tmp_path: Path
) -> None:
    made = fitted(run, tmp_path / density, density)
    again = tfdm.estimate_kl(load(tmp_path / density), fields=FEW, progress=False)
    assert again.estimates == made.after.estimates
    assert again.content["posterior_digest"] == made.after.content["posterior_digest"]


def test_an_encoder_without_a_density_is_measured_by_a_classifier(tmp_path: Path) -> None:
    fields = {name: SMALL[name] for name in ("gmm", "density_ratio")}
    made = fitted(trained("aae", tmp_path / "aae"), tmp_path / "new", fields=fields)
    assert list(made.before.estimates) == list(made.after.estimates) == ["density_ratio"]
    assert made.content["after"]["average_kl"] is None
    assert "density_ratio" in made.table()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"density": "mfa"}, ValueError, "did you mean maf"),
        ({"estimators": ["gnn"]}, ValueError, "unknown estimator 'gnn'"),
        ({"fields": {"lstm": {"steps": 3}}}, UserError, "fields of lstm have no effect"),
        ({"data_dir": "d"}, UserError, "data_dir and cache_dir have no effect"),
    ],
)
def test_bad_arguments_are_named(
    arguments: dict[str, Any], error: type, message: str, run: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        tfdm.fit_prior(load(run), output_dir=tmp_path / "new", progress=False, **arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--run is missing"),
        (["--run=r"], "--output_dir is missing"),
        (["--run=r", "--output_dir=o", "--density=mfa"], "unknown density 'mfa'"),
        (["--run=r", "--output_dir=o", "--metrics=fid"], "unknown metric 'fid'"),
        (
            ["--run=r", "--output_dir=o", "--estimators=maf", "--lstm.units=3"],
            "no effect: add lstm",
        ),
        (["--run=nowhere", "--output_dir=o"], "nowhere does not exist"),
    ],
)
def test_bad_flags_end_in_one_line(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(flags) == 2
    assert message in capsys.readouterr().err

"""`tfdm.estimate_kl`: what it takes, what it returns, what it writes and keeps."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

import tfdm
from tests import tiny_training
from tests.kl_cases import CORRELATED, FullCovariance, GaussianPrior, TensorPrior, gaussian_kl
from tfdm.distributions.posteriors import GaussianPosterior
from tfdm.errors import UserError
from tfdm.estimators import FixedCodes, MonteCarloKL, NoEstimate, monte_carlo_kl, posterior_bounds
from tfdm.experiments.kl_sources import open_source
from tfdm.experiments.load import Run
from tfdm.experiments.options import EstimateKLConfig
from tfdm.training.noise import StepNoise

FEW: dict[str, Any] = {"progress": False, "fields": {"monte_carlo": {"num_samples": 3000}}}
SMALL = {"density_ratio": {"steps": 4, "width": 8}, "gmm": {"steps": 4}}


@pytest.fixture
def loc(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(30, 2))


SCALE = np.full((30, 2), 0.4)


def _run(name: str, path: Path, **hyperparameters: Any) -> Run:
    """A run of two steps of a real model on random bytes."""
    images = tiny_training.tiny_dataset()
    tfdm.train(
        name, images, output_dir=path, steps=2, batch_size=8, latent_dim=3, width=1 / 16,
        progress=False, **hyperparameters,
    )  # fmt: skip
    return tfdm.load_run(path, dataset=images)


def test_arrays_a_posterior_and_a_file_are_one(loc: np.ndarray, tmp_path: Path) -> None:
    expected = monte_carlo_kl(loc, SCALE, 3000, 4, progress=False)
    of_arrays = tfdm.estimate_kl(loc=loc, scale=SCALE, seed=4, **FEW)
    assert of_arrays.estimates == {"monte_carlo": expected}
    assert of_arrays.bounds is not None
    assert of_arrays.bounds.average_kl == posterior_bounds(loc, SCALE).average_kl
    assert json.loads(json.dumps(of_arrays.to_dict()))["average_kl_standard_error"] is None
    assert of_arrays.to_dict()["num_latents"] == 2
    assert "| monte_carlo " in of_arrays.table()
    of_object = tfdm.estimate_kl(GaussianPosterior(loc, SCALE), seed=4, **FEW)
    assert of_object.estimates == of_arrays.estimates
    np.savez(tmp_path / "mine.npz", loc=loc, scale=SCALE)
    of_file = tfdm.estimate_kl(tmp_path / "mine.npz", seed=4, **FEW)
    assert of_file.estimates == of_arrays.estimates
    assert list(tmp_path.iterdir()) == [tmp_path / "mine.npz"]  # nothing is written


def test_a_density_alone_is_estimated_on_a_subset(seed: int) -> None:
    cholesky = np.array([[0.5, 0.0], [0.4, 0.6]])
    posterior = FullCovariance(np.tile([0.3, -0.2], (40, 1)), cholesky)
    result = tfdm.estimate_kl(
        posterior, prior=CORRELATED, estimators=["monte_carlo", "held_out", "gmm"], seed=seed,
        fields={"monte_carlo": {"max_pairs": 80_000}, "gmm": {"steps": 20, "num_components": 2}},
        progress=False,
    )  # fmt: skip
    expected = gaussian_kl([0.3, -0.2], cholesky @ cholesky.T, CORRELATED)
    assert result.bounds is not None
    assert result.bounds.average_kl_standard_error is not None
    error = abs(result.bounds.average_kl - expected)
    assert error < 4 * result.bounds.average_kl_standard_error
    estimate = result.estimates["monte_carlo"]
    assert isinstance(estimate, MonteCarloKL)
    assert (estimate.num_data, estimate.num_samples) == (40, 2000)
    assert abs(estimate.kl - expected) < 4 * estimate.standard_error
    # What cannot be estimated does not keep the others from it.
    assert isinstance(result.estimates["held_out"], NoEstimate)
    assert "Gaussian posteriors" in result.to_dict()["estimates"]["held_out"]["reason"]
    gmm = result.estimates["gmm"]
    assert gmm.kl is not None
    assert 0.1 < gmm.kl < expected  # diagonal components do not know the correlation
    assert result.to_dict()["prior"] == "GaussianPrior"
    assert result.to_dict()["active_latents"] is None


def test_all_data_points_of_one_object_count(seed: int) -> None:
    means, fields = np.zeros((60, 2)), {"monte_carlo": {"num_data": 10, "max_pairs": 6000}}
    posterior = FullCovariance(means, 0.5 * np.eye(2))
    result = tfdm.estimate_kl(posterior, seed=seed, fields=fields, progress=False)
    estimate = result.estimates["monte_carlo"]
    assert isinstance(estimate, MonteCarloKL)
    assert (estimate.num_data, estimate.num_samples) == (60, 100)
    # The digest sees more than the first data point, and how many there are.
    means[1:] = 1.0
    others = FullCovariance(means, 0.5 * np.eye(2)), FullCovariance(means[:30], 0.5 * np.eye(2))
    contents = [tfdm.estimate_kl(other, estimators=(), seed=seed).to_dict() for other in others] + [
        result.to_dict()
    ]
    assert len({content["posterior_digest"] for content in contents}) == 3


class _NoDensity:
    """A posterior that can be sampled alone."""

    def __init__(self, num_data: int = 40) -> None:
        self.num_data = num_data

    def sample(self, seed: int) -> np.ndarray:
        return np.random.default_rng(seed).normal(size=(self.num_data, 2))


def test_codes_are_of_the_seed_and_their_digest_is_not(tmp_path: Path) -> None:
    call: dict[str, Any] = {
        "estimators": ["gmm"], "fields": {"gmm": {"steps": 2, "num_components": 2}},
        "output_dir": str(tmp_path), "progress": False,
    }  # fmt: skip
    first = tfdm.estimate_kl(_NoDensity(), seed=1, **call)
    second = tfdm.estimate_kl(_NoDensity(), seed=2, label="second", **call)
    assert list(second.to_dict()["estimates"]) == ["gmm", "gmm:second"]
    assert first.estimates["gmm"] != second.estimates["gmm:second"]


def test_a_prior_that_fails_ends_in_one_line(loc: np.ndarray) -> None:
    prior = TensorPrior()
    whole = tfdm.estimate_kl(loc=loc, scale=SCALE, prior=prior, **FEW)
    assert whole.to_dict()["prior"] == "TensorPrior"
    prior.scale = tf.constant(float("nan"))
    with pytest.raises(UserError, match="posteriors: the prior's log_prob is NaN"):
        tfdm.estimate_kl(loc=loc, scale=SCALE, prior=prior, **FEW)


def test_a_failed_estimator_is_recorded_or_raised_alone(
    loc: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(task: Any) -> None:
        raise ValueError("the loss is not finite")

    monkeypatch.setattr("tfdm.estimators.density_model.gmm", fail)
    result = tfdm.estimate_kl(loc=loc, scale=SCALE, estimators=["gmm", "monte_carlo"], **FEW)
    assert result.estimates["gmm"] == NoEstimate("the loss is not finite")
    assert result.to_dict()["estimates"]["gmm"]["kl"] is None
    assert isinstance(result.estimates["monte_carlo"], MonteCarloKL)
    with pytest.raises(UserError, match="gmm: the loss is not finite"):
        tfdm.estimate_kl(loc=loc, scale=SCALE, estimators=["gmm"], progress=False)


def test_far_codes_do_not_stop_a_mixture_or_a_flow(rng: np.random.Generator) -> None:
    loc = rng.choice([-400.0, 400.0], size=(200, 2)) + rng.normal(size=(200, 2))
    names = ["monte_carlo", "gmm", "maf"]
    numbers: dict[str, Any] = {"num_samples": 2000}
    fields = {"monte_carlo": numbers, "gmm": {**numbers, "steps": 20}}
    fields["maf"] = {**numbers, "steps": 2}
    result = tfdm.estimate_kl(
        loc=loc, scale=np.ones((200, 2)), estimators=names, fields=fields, progress=False
    )
    for name in names:
        assert result.estimates[name].kl == pytest.approx(400.0**2, rel=0.01)


def test_transposed_arrays_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    rows = np.ones((30, 2))
    for loc, warned in ((rows, 0), (rows.T, 1)):
        tfdm.estimate_kl(loc=loc, scale=np.ones(loc.shape), estimators=(), progress=False)
        assert [r.getMessage() for r in caplog.records if r.name == "tfdm"] == warned * [
            "the arrays are of 2 data points and 30 latents: are they [L, N] instead of [N, L]?"
        ]


def test_a_caller_reads_the_names_of_his_arguments() -> None:
    one = np.ones((2, 1))
    with pytest.raises(ValueError, match=r"held_out\[1\]\[1, 0\] is -1.0"):
        monte_carlo_kl(one, one, 10, held_out=(one, [[1.0], [-1.0]]), progress=False)
    posterior: Any = SimpleNamespace(loc=1j * one, scale=one, sample=lambda seed: one)
    with pytest.raises(ValueError, match="loc is of type complex128"):
        tfdm.estimate_kl(posterior, progress=False)


def test_other_settings_stand_beside_and_other_posteriors_do_not(
    loc: np.ndarray, tmp_path: Path
) -> None:
    here: dict[str, Any] = {"loc": loc, "scale": SCALE, "output_dir": str(tmp_path)}
    first = tfdm.estimate_kl(**here, **FEW).to_dict()["estimates"]
    fields = {"leave_one_out": {"num_samples": 100}}
    result = tfdm.estimate_kl(
        **here, estimators=["leave_one_out"], label="few", fields=fields, progress=False
    )
    assert list(result.estimates) == ["leave_one_out:few"]
    content = json.loads((tmp_path / "kl.json").read_text())
    assert content == result.to_dict()
    assert list(content["estimates"]) == ["monte_carlo", "leave_one_out:few"]
    assert content["estimates"]["monte_carlo"] == first["monte_carlo"]
    minimum, monte_carlo = max(0.0, content["minimum_marginal_kl"]), first["monte_carlo"]
    assert monte_carlo["below_minimum"] is (monte_carlo["kl"] < minimum)
    assert content["estimates"]["leave_one_out:few"]["below_minimum"] is None
    for change in ({"loc": loc + 1.0}, {"prior": CORRELATED}):
        with pytest.raises(UserError, match="is about other posteriors"):
            tfdm.estimate_kl(**{**here, **change}, **FEW)
    assert json.loads((tmp_path / "kl.json").read_text()) == content


def test_a_stopped_call_goes_on_to_the_same_numbers(
    loc: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("tfdm.estimators.fitting._STEPS_A_SAVE", 5)
    fields = {
        "density_ratio": {"steps": 8, "width": 8, "num_bridges": 1, "num_samples": 50},
        "gmm": {"steps": 8, "num_components": 2, "num_samples": 50},
    }
    call: dict[str, Any] = {
        "loc": loc, "scale": SCALE, "estimators": list(fields), "fields": fields,
    }  # fmt: skip
    whole = tfdm.estimate_kl(**call, progress=False).estimates
    call["output_dir"] = str(tmp_path)

    def reported(stop_at: int) -> list[tuple[int, int]]:
        done: list[tuple[int, int]] = []

        def stop(step: int, steps: int) -> None:
            done.append((step, steps))
            if len(done) == stop_at:
                raise KeyboardInterrupt

        with contextlib.suppress(KeyboardInterrupt):
            assert tfdm.estimate_kl(**call, progress=stop).estimates == whole
        return done

    # Stopped in the second classifier, then in the density; what was saved is not done again.
    assert reported(stop_at=4) == [(5, 16), (8, 16), (13, 16), (16, 16)]
    assert reported(stop_at=3) == [(16, 16), (5, 8), (8, 8)]
    assert reported(stop_at=0) == [(8, 8)]
    # What is finished is not done again, and the call says so.
    with caplog.at_level("INFO", logger="tfdm"):
        assert reported(stop_at=0) == []
    for name in fields:
        assert f"{name} is in {tmp_path}/kl.json already: not estimated again" in caplog.messages
    call["seed"] = 1
    whole = tfdm.estimate_kl(**{**call, "output_dir": None}, progress=False).estimates
    assert reported(stop_at=0)[-1] == (8, 8)
    assert not (tmp_path / ".kl.state").exists()


def test_a_run_is_estimated_with_its_prior_and_its_holes_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _run("vae", tmp_path / "run")
    result = tfdm.estimate_kl(
        run, output_dir=str(tmp_path / "run"), estimators=["monte_carlo", "held_out"],
        log_likelihood_samples=3, progress=False,
        fields={"monte_carlo": {"num_samples": 3000}, "held_out": {"num_samples": 200}},
    )  # fmt: skip
    posterior = run.model.posterior(run.dataset.split("train")[:])
    bounds = posterior_bounds(posterior.loc.numpy(), posterior.scale.numpy())
    content = result.to_dict()
    assert content["average_kl"] == pytest.approx(bounds.average_kl, rel=1e-5)
    assert content["source"]["steps"] == 2
    assert content["held_out"]["num_data"] == 12
    # One pass of the model's own loss over the same images, with other noise.
    images = run.dataset.split("validation")[:].astype(np.float32) / 127.5 - 1.0
    _, terms = run.model.player_losses(images, StepNoise(0, tf.constant(0), len(images)), False)
    assert result.log_likelihood is not None
    assert result.log_likelihood.elbo == pytest.approx(float(terms["bound"]), rel=0.02)
    with PIL.Image.open(tmp_path / "run" / "kl_samples.png") as picture:
        assert picture.size == (3 * (8 * 30 + 2), 3 * (8 * 30 + 2))
    with pytest.raises(UserError, match="data_dir has no effect"):
        tfdm.estimate_kl(run, data_dir="d", progress=False)
    # A model with another prior is measured against that one.
    prior = GaussianPrior([1.0, 0.0, -1.0], np.diag([1.0, 0.5, 2.0]))
    monkeypatch.setattr(type(run.model), "prior", prior, raising=False)
    other = tfdm.estimate_kl(run, log_likelihood_samples=3, **FEW)
    assert other.to_dict()["prior"] == "GaussianPrior"
    expected = posterior_bounds(posterior.loc.numpy(), posterior.scale.numpy(), prior, seed=0)
    assert other.bounds is not None
    assert other.bounds.average_kl == pytest.approx(expected.average_kl, rel=1e-5)
    change = other.bounds.average_kl - bounds.average_kl
    elbos = [r.log_likelihood.elbo for r in (result, other) if r.log_likelihood is not None]
    assert elbos[0] - elbos[1] == pytest.approx(change, rel=0.3)


def test_a_model_without_density_needs_estimators_of_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _run("aae", tmp_path / "run")
    with pytest.raises(UserError, match="choose --estimators=density_ratio,gmm,maf,lstm"):
        tfdm.estimate_kl(run, progress=False)
    names = ["monte_carlo", *SMALL]
    result = tfdm.estimate_kl(run, estimators=names, fields=SMALL, progress=False)
    content = result.to_dict()
    assert (result.bounds, content["average_kl"], content["num_data"]) == (None, None, 40)
    assert content["log_num_data"] == math.log(40)
    assert result.estimates["monte_carlo"] == NoEstimate("the posterior has no density", False)
    for name in SMALL:
        # Of the 12 held-out codes one half chooses, and each of the other half counts once.
        assert content["estimates"][name]["num_samples"] == 6
        assert math.isfinite(content["estimates"][name]["kl"])
        assert content["estimates"][name]["config"]["steps"] == 4
    # The noise of training and held-out codes is not the same.
    monkeypatch.setattr(run.model, "posterior", lambda images: _NoDensity(len(images)))
    opened = open_source(run, EstimateKLConfig(), {}, GaussianPrior([0, 0], np.eye(2)), False)
    assert isinstance(opened.posteriors, FixedCodes)
    assert isinstance(opened.held_out, FixedCodes)
    assert not np.intersect1d(opened.posteriors.codes, opened.held_out.codes).size
    codes = np.random.default_rng(0).normal(size=(100, 2))
    fields = {"gmm": {"steps": 4, "num_components": 2}}
    result = tfdm.estimate_kl(codes=codes, estimators=["gmm"], fields=fields, progress=False)
    assert result.to_dict()["estimates"]["gmm"]["num_samples"] == 10


def test_a_model_without_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no encoder"):
        tfdm.estimate_kl(_run("dcgan", tmp_path / "run"), progress=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "expected either a source, or loc and scale, or codes"),
        ({"source": "x.npz", "codes": [[0.0]]}, "expected either a source"),
        ({"loc": [[0.0]]}, "loc given, expected loc and scale"),
        ({"loc": [[0.0]], "scale": [[0.0]]}, r"scale\[0, 0\] is 0.0"),
        ({"source": 3}, "source is a int, expected a run, a path or a posterior"),
        ({"codes": [[0.0]], "estimators": ["monte_calro"]}, "did you mean monte_carlo"),
        ({"codes": [[0.0]], "fields": {"gmm": {}}}, "fields of gmm have no effect"),
        ({"codes": [[0.0]], "fields": {"monte_carlo": {"n": 1}}}, "has no field 'n'"),
        ({"codes": [[0.0]], "label": "a/b"}, "label is 'a/b'"),
        ({"codes": [[0.0]], "colour": 1}, "has no field 'colour'"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tfdm.estimate_kl(**arguments, progress=False)

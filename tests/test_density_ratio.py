"""The density ratio against known Gaussians: values, bounds, calibration, telescoping."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tests.kl_cases import CORRELATED, GaussianPrior, gaussian_kl
from tfdm.estimators import (
    DensityRatioConfig,
    FixedCodes,
    GaussianCodes,
    density_ratio_kl,
)
from tfdm.estimators.code_classifier import CodeClassifier
from tfdm.estimators.density_ratio import DensityRatio, evaluate_density_ratio
from tfdm.estimators.fitting import Fit
from tfdm.estimators.priors import chain
from tfdm.seeds import stream

ERRORS = 4.0
SMALL = DensityRatioConfig(
    num_layers=2, width=64, steps=1500, batch_size=256, learning_rate=1e-3, adam_beta_2=0.99,
    keep_best=True, evaluate_every=250, num_samples=20_000,
)  # fmt: skip


class _Exact:
    """Stands for a classifier: the exact logit log p(z) − log q(z), perhaps times a factor."""

    def __init__(self, loc: np.ndarray, scale: np.ndarray, factor: float = 1.0) -> None:
        self.loc, self.scale, self.factor = loc, scale, factor

    def logits(self, codes: np.ndarray) -> np.ndarray:
        log_q = stats.norm.logpdf(codes, self.loc, self.scale).sum(axis=1)
        return self.factor * (stats.norm.logpdf(codes).sum(axis=1) - log_q)


LOC, SCALE = np.array([[0.6, -0.3]]), np.array([[0.8, 1.1]])
KL = gaussian_kl(LOC[0], np.diag(SCALE[0] ** 2))


def _known(factor: float = 1.0) -> DensityRatio:
    fit = Fit(1, 1, 0.0, False, None, ())
    return DensityRatio((_Exact(LOC[0], SCALE[0], factor),), (1.0,), (fit,))  # type: ignore[arg-type]


def test_the_exact_ratio_gives_the_kl_and_both_bounds(seed: int) -> None:
    result = evaluate_density_ratio(_known(), GaussianCodes(LOC, SCALE), 200_000, seed)
    expected = KL
    assert abs(result.kl - expected) < ERRORS * result.standard_error
    error = abs(result.donsker_varadhan - expected)
    assert error < ERRORS * result.donsker_varadhan_standard_error
    assert abs(result.nwj - expected) < ERRORS * result.nwj_standard_error
    assert result.kl_per_dimension == result.kl / 2
    # 2 log 2 − 2 JS, by quadrature.
    grid = np.linspace(-8, 8, 801)
    points = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    logits = _known().classifiers[0].logits(points)
    p = np.exp(stats.norm.logpdf(points).sum(axis=1)) * 0.02**2
    q = np.exp(stats.norm.logpdf(points, LOC[0], SCALE[0]).sum(axis=1)) * 0.02**2
    entropy = p @ np.logaddexp(0, -logits) + q @ np.logaddexp(0, logits)
    assert result.cross_entropy == pytest.approx(entropy, abs=0.01)
    accuracy = 0.5 * (p @ (logits > 0) + q @ (logits < 0))
    assert result.accuracy == pytest.approx(accuracy, abs=ERRORS * 0.5 / math.sqrt(400_000))


def test_bounds_are_their_formulas(seed: int) -> None:
    codes, ratio = GaussianCodes(LOC, SCALE), _known(1.7)
    result = evaluate_density_ratio(ratio, codes, 5000, seed)
    t_q = ratio.log_ratio(codes.sample(5000, stream(seed, "kl/ratio/value/posterior", 0)))
    t_p = ratio.log_ratio(stream(seed, "kl/ratio/value/prior", 0).standard_normal((5000, 2)))
    assert result.kl == pytest.approx(t_q.mean(), rel=1e-12)
    assert result.donsker_varadhan == pytest.approx(t_q.mean() - np.log(np.exp(t_p).mean()))
    assert result.nwj == pytest.approx(t_q.mean() - np.exp(t_p).mean() + 1.0)
    relative = np.exp(t_p).std() / np.exp(t_p).mean() / math.sqrt(5000)
    expected = math.hypot(t_q.std() / math.sqrt(5000), relative)
    assert result.donsker_varadhan_standard_error == pytest.approx(expected, rel=1e-3)


def test_an_exploded_estimate_is_exposed_by_its_bounds(seed: int) -> None:
    result = evaluate_density_ratio(_known(1e4), GaussianCodes(LOC, SCALE), 5000, seed)
    assert result.kl > 1000.0
    assert result.donsker_varadhan < -1000.0
    assert result.nwj == -math.inf
    assert not math.isnan(result.nwj_standard_error)


def test_calibration_changes_the_temperature_alone(seed: int) -> None:
    codes = GaussianCodes(LOC, SCALE)
    sharp = dataclasses.replace(SMALL, steps=60, calibrate=True)
    result = density_ratio_kl(codes, sharp, seed, progress=False)
    plain = density_ratio_kl(codes, dataclasses.replace(sharp, calibrate=False), seed)
    assert result.kl_uncalibrated == pytest.approx(plain.kl, rel=1e-9)
    [fitted] = result.temperatures
    assert result.kl == pytest.approx(plain.kl / fitted, rel=1e-6)
    assert result.cross_entropy <= plain.cross_entropy + 1e-3


@pytest.mark.parametrize("prior", [None, CORRELATED])
def test_bridges_have_the_moments_of_a_mixture(prior: GaussianPrior | None, seed: int) -> None:
    members = chain(GaussianCodes(LOC, SCALE), 3, power=2.0, prior=prior)
    assert len(members) == 5
    ends = (np.zeros(2), np.eye(2)) if prior is None else (prior.loc, prior.covariance)
    for k, member in enumerate(members):
        share = (k / 4) ** 2
        codes = member.sample(100_000, seed)
        mean = math.sqrt(1 - share**2) * LOC[0] + share * ends[0]
        variance = (1 - share**2) * SCALE[0] ** 2 + share**2 * np.diag(ends[1])
        error = np.sqrt(variance / 100_000)
        np.testing.assert_array_less(np.abs(codes.mean(axis=0) - mean), ERRORS * error)
        error = variance * math.sqrt(2 / 100_000)
        np.testing.assert_array_less(np.abs(codes.var(axis=0) - variance), ERRORS * error)


def test_telescoping_removes_part_of_the_underestimate(seed: int) -> None:
    codes = GaussianCodes(np.zeros((1, 3)), np.full((1, 3), 0.03))
    expected = gaussian_kl(np.zeros(3), 0.03**2 * np.eye(3))
    config = dataclasses.replace(SMALL, steps=500)
    plain = density_ratio_kl(codes, config, seed, progress=False)
    telescoped = density_ratio_kl(
        codes, dataclasses.replace(config, num_bridges=4, bridge_power=2.0), seed
    )
    assert len(telescoped.kl_of_gaps) == 5
    assert sum(telescoped.kl_of_gaps) == pytest.approx(telescoped.kl, rel=1e-9)
    assert abs(telescoped.kl - expected) < 0.5 * abs(plain.kl - expected)


@pytest.mark.parametrize("field", ["activation_noise", "dropout", "gradient_penalty"])
def test_noise_dropout_and_penalty_are_in_training(field: str, rng: np.random.Generator) -> None:
    config = dataclasses.replace(SMALL, **{field: 0.5})
    classifier, plain = CodeClassifier(2, config, 3), CodeClassifier(2, SMALL, 3)
    codes = rng.normal(size=(64, 2))
    np.testing.assert_array_equal(classifier.logits(codes), plain.logits(codes))
    batch = {
        "posterior": tf.constant(codes, tf.float32),
        "prior": tf.constant(rng.normal(size=(64, 2)), tf.float32),
    }
    first, again, later = (
        float(classifier.loss(batch, tf.constant(s, tf.int64))) for s in (1, 1, 2)
    )
    assert first == again
    assert first != later
    assert first != float(plain.loss(batch, tf.constant(1, tf.int64)))


def test_the_penalty_is_that_of_the_interpolates(rng: np.random.Generator) -> None:
    config = dataclasses.replace(SMALL, gradient_penalty=2.0)
    classifier, plain = CodeClassifier(2, config, 3), CodeClassifier(2, SMALL, 3)
    codes = rng.normal(size=(32, 2))
    same = tf.constant(codes, tf.float32)
    batch = {"posterior": same, "prior": same}  # every interpolate is the code itself
    step = tf.constant(0, tf.int64)
    penalty = (float(classifier.loss(batch, step)) - float(plain.loss(batch, step))) / 2.0
    h = 1e-3
    steps = h * np.eye(2)[:, None, :]
    ends = [(plain.logits(codes + step), plain.logits(codes - step)) for step in steps]
    gradient = np.stack([(up - down) / (2 * h) for up, down in ends])
    expected = np.mean((np.linalg.norm(gradient, axis=0) - 1.0) ** 2)
    assert penalty == pytest.approx(expected, rel=0.02)


def test_codes_of_other_data_have_a_stream_of_their_own(seed: int) -> None:
    codes = GaussianCodes(LOC, SCALE)
    config = dataclasses.replace(SMALL, steps=5, num_samples=500)
    result = density_ratio_kl(codes, config, seed, others=codes, progress=False)
    assert result.kl_held_out_images != result.kl


def test_held_out_codes_must_have_the_same_dimension() -> None:
    with pytest.raises(ValueError, match="selection has latent_dim 3, expected 2"):
        density_ratio_kl(FixedCodes(np.zeros((4, 2))), SMALL, held_out=FixedCodes(np.zeros((4, 3))))

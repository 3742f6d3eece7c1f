"""Densities fitted to q(z): their own family is found, and no fit exceeds the KL."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from tfdm.distributions.autoregressive_lstm import AutoregressiveLSTM
from tfdm.distributions.densities import Density
from tfdm.distributions.gaussian_mixture import DiagonalGaussianMixture
from tfdm.distributions.masked_autoregressive_flow import MaskedAutoregressiveFlow
from tfdm.estimators import (
    DensityFitConfig,
    FixedCodes,
    GaussianCodes,
    density_model_kl,
    monte_carlo_kl,
)

ERRORS = 4.0
CONFIG = DensityFitConfig(
    steps=400, batch_size=256, learning_rate=5e-3, evaluate_every=100, num_samples=10_000
)


def _family(name: str, seed: int) -> Density:
    makers = {
        "gmm": lambda: DiagonalGaussianMixture(2, 6, seed),
        "maf": lambda: MaskedAutoregressiveFlow(2, 1, 1, 16, seed),
        "lstm": lambda: AutoregressiveLSTM(2, 1, 8, seed),
    }
    return makers[name]()


@pytest.mark.parametrize("name", ["gmm", "maf", "lstm"])
def test_data_of_its_own_family_are_learned(name: str, rng: np.random.Generator, seed: int) -> None:
    truth = _family(name, 1)
    for variable in truth.trainable_variables:
        variable.assign_add((0.4 * rng.standard_normal(variable.shape)).astype(np.float32))
    codes, held_out = (FixedCodes(truth.sample(100_000, key).numpy()) for key in (3, 4))
    fresh = held_out.codes[:20_000]
    log_ratio = truth.log_prob(fresh).numpy() + 0.5 * np.sum(fresh**2 + np.log(2 * np.pi), axis=1)
    result = density_model_kl(
        codes, _family(name, 2), CONFIG, seed, held_out=held_out, progress=False
    )
    error = math.hypot(result.standard_error, log_ratio.std() / math.sqrt(20_000))
    # What the fit leaves unlearned comes on top: a stated bias.
    assert abs(result.kl - log_ratio.mean()) < ERRORS * error + 0.03
    assert result.training_log_likelihood == pytest.approx(
        result.held_out_log_likelihood,
        abs=2 * ERRORS * result.held_out_log_likelihood_standard_error,
    )


@pytest.mark.parametrize("name", ["gmm", "maf", "lstm"])
def test_no_fit_exceeds_the_kl(name: str, rng: np.random.Generator, seed: int) -> None:
    loc, scale = 1.5 * rng.normal(size=(12, 2)), np.full((12, 2), 0.15)
    true = monte_carlo_kl(loc, scale, 100_000, seed, progress=False)
    short = dataclasses.replace(CONFIG, steps=150)
    result = density_model_kl(
        GaussianCodes(loc, scale), _family(name, 2), short, seed, progress=False
    )
    error = math.hypot(true.standard_error, result.standard_error)
    assert result.kl < true.kl + ERRORS * error
    # Its definition: held-out likelihood plus the cross entropy of q and p.
    fresh = GaussianCodes(loc, scale).sample(100_000, seed)
    cross = 0.5 * (fresh**2).sum(axis=1) + math.log(2 * math.pi)
    expected = result.held_out_log_likelihood + cross.mean()
    assert abs(result.kl - expected) < 2 * ERRORS * cross.std() / math.sqrt(10_000)


def test_memorised_codes_show_in_the_likelihoods(rng: np.random.Generator, seed: int) -> None:
    train, held_out = FixedCodes(rng.normal(size=(30, 2))), FixedCodes(rng.normal(size=(500, 2)))
    density = DiagonalGaussianMixture(2, 30, 2)
    config = dataclasses.replace(CONFIG, patience=3, steps=4000, learning_rate=0.02)
    result = density_model_kl(train, density, config, seed, held_out=held_out, progress=False)
    assert result.stopped_early
    assert result.steps < 4000
    assert result.best_step == result.steps - 300
    assert result.training_log_likelihood > result.held_out_log_likelihood


def test_dimensions_must_agree() -> None:
    with pytest.raises(ValueError, match="the density has latent_dim 2, expected 3"):
        density_model_kl(FixedCodes(np.zeros((2, 3))), _family("gmm", 1), CONFIG)

"""The contract of every estimator: the known KL of two Gaussians, its seed, its record."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from tests.kl_cases import CORRELATED, GaussianPrior, gaussian_kl
from tfdm.estimators.codes import GaussianCodes
from tfdm.estimators.records import NoEstimate, Task, to_record
from tfdm.estimators.registry import ESTIMATORS

ERRORS = 4.0
# What a small fit leaves unlearned comes on top of the sampling error: a stated bias, in nats.
BIAS = {"density_ratio": 0.1, "gmm": 0.03, "maf": 0.03, "lstm": 0.03}
LOC, SCALE = np.array([0.6, -0.3]), np.array([0.7, 1.2])
# The fields of all estimators that have them.
BUDGET = {
    "num_samples": 20_000, "steps": 600, "learning_rate": 2e-3, "evaluate_every": 200,
    "width": 64, "units": 8, "num_components": 4, "num_flows": 1, "num_layers": 1,
    "adam_beta_2": 0.99, "keep_best": True,
}  # fmt: skip
# A classifier needs more than a density that starts from the moments of the codes.
MORE = {"density_ratio": {"num_layers": 2, "steps": 1000, "batch_size": 512}}
SHIFT = np.array([1.0, -1.5])
PRIORS = {
    "standard": (np.zeros(2), None),
    "correlated_and_shifted": (SHIFT, CORRELATED.shifted(SHIFT)),
}


def _task(name: str, prior: GaussianPrior | None = None, shift: float = 0.0, **changes) -> Task:
    config = ESTIMATORS[name].config
    names = {field.name for field in dataclasses.fields(config)}
    budget = {**BUDGET, **MORE.get(name, {}), **changes}
    codes = GaussianCodes(np.tile(LOC + shift, (30, 1)), np.tile(SCALE, (30, 1)))
    return Task(
        posteriors=codes,
        config=config(**{name: budget[name] for name in names & set(budget)}),
        held_out=codes,
        prior=prior,
        seed=3,
    )


@pytest.mark.parametrize("case", PRIORS)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_kl_of_two_gaussians_is_found(name: str, case: str) -> None:
    shift, prior = PRIORS[case]
    expected = gaussian_kl(LOC + shift, np.diag(SCALE**2), prior)
    if prior is not None:  # a shift of both leaves the KL
        assert expected == pytest.approx(gaussian_kl(LOC, np.diag(SCALE**2), CORRELATED))
    result = ESTIMATORS[name].load()(_task(name, prior, shift))
    assert not isinstance(result, NoEstimate)
    allowed = ERRORS * result.standard_error + BIAS.get(name, 0.0)
    assert abs(result.kl - expected) < allowed
    assert result.kl_per_dimension == result.kl / 2


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_seed_decides_and_the_record_is_json(name: str) -> None:
    tiny = {"steps": 10, "num_samples": 200}
    task = _task(name, **tiny)
    first, again = (ESTIMATORS[name].load()(task) for _ in range(2))
    assert first == again
    record = json.loads(json.dumps(to_record(first), allow_nan=False))
    assert record["kl"] == first.kl
    assert record["num_latents"] == 2
    assert "latent_dim" not in record


def test_names_are_those_of_functions_and_a_prior_must_fit() -> None:
    for name, estimator in ESTIMATORS.items():
        assert estimator.name == name == estimator.load().__name__
        with pytest.raises(ValueError, match="the prior has latent_dim 1, expected 2"):
            estimator.load()(_task(name, GaussianPrior([0.0], [[1.0]]), num_samples=4, steps=1))

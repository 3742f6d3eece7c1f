"""The temperature that calibrates a classifier: closed form, independent minimum, bounds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import scipy.special

from tfdm.eval.classifiers.shipped import fit_temperature


@pytest.mark.parametrize(("size", "hits"), [(3.0, 90), (0.7, 60), (20.0, 99)])
def test_temperature_of_two_classes_in_closed_form(size: float, hits: int) -> None:
    # Right with probability p and always as sure: sigmoid(2 a / T) = p.
    labels = np.arange(100) % 2
    guess = np.where(np.arange(100) < hits, labels, 1 - labels)
    logits = size * (2.0 * np.eye(2)[guess] - 1)
    share = hits / 100
    expected = 2 * size / math.log(share / (1 - share))
    assert fit_temperature(logits, labels) == pytest.approx(expected, rel=1e-9)


def test_temperature_is_the_minimum_of_the_cross_entropy(rng: np.random.Generator) -> None:
    for scale in (0.2, 1.0, 8.0):
        logits = rng.standard_normal((400, 10))
        labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
        logits = (scale * logits).astype(np.float32)

        def cross_entropy(
            log_temperature: float, logits: Any = logits, labels: Any = labels
        ) -> Any:
            scaled = logits.astype(np.float64) / math.exp(log_temperature)
            hits = scaled[np.arange(len(labels)), labels]
            return np.mean(scipy.special.logsumexp(scaled, axis=1) - hits)

        best = scipy.optimize.minimize_scalar(cross_entropy, bounds=(-4.6, 4.6), method="bounded")
        # A minimum is found to the square root of the precision.
        assert fit_temperature(logits, labels) == pytest.approx(math.exp(best.x), rel=1e-4)


def test_temperature_stays_within_its_bounds() -> None:
    logits = np.array([[5.0, 0.0, 0.0], [0.0, 0.0, 4.0]])
    assert fit_temperature(logits, np.array([0, 2])) == pytest.approx(0.01)
    assert fit_temperature(logits, np.array([1, 1])) == pytest.approx(100.0)
    # All right beyond the precision of exp, too.
    assert fit_temperature(1e5 * logits, np.array([0, 2])) == pytest.approx(0.01)
    assert fit_temperature(1e5 * logits, np.array([0, 1])) == pytest.approx(100.0)

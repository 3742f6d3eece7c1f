"""Standard errors, means of exponentials and temperatures against SciPy and closed forms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats

from tfdm import statistics
from tfdm.statistics import fit_binary_temperature, fit_temperature


def test_standard_errors_are_those_of_scipy(rng: np.random.Generator) -> None:
    first, second = rng.standard_normal(40), 3 * rng.standard_normal(25)
    errors = [scipy.stats.sem(first), scipy.stats.sem(second)]
    assert statistics.standard_error(first) == pytest.approx(errors[0], rel=1e-12)
    difference = statistics.standard_error_of_difference(first, second)
    assert difference == pytest.approx(math.hypot(*errors), rel=1e-12)
    moments = statistics.RunningMean()
    for block in np.split(second, [3, 4, 20]):
        moments.add(block)
    assert moments.standard_error == pytest.approx(errors[1], rel=1e-12)
    assert statistics.standard_error(first[:1]) is None
    assert statistics.standard_error_of_difference(first, second[:1]) is None


@pytest.mark.parametrize("shift", [0.0, -1e4, 1e4])
def test_the_mean_of_exponentials_does_not_overflow(shift: float, rng: np.random.Generator) -> None:
    values = 2 * rng.standard_normal(1000)
    moments = statistics.LogMeanExp()
    for block in np.split(values + shift, [1, 300]):
        moments.add(block)
    weights = np.exp(values)
    assert moments.count == 1000
    assert moments.log_mean == pytest.approx(shift + math.log(weights.mean()), rel=1e-12)
    # Divisor n of the second moment, n - 1 of its mean's error.
    expected = weights.std() / weights.mean() / math.sqrt(999)
    assert moments.relative_error == pytest.approx(expected, rel=1e-7)
    expected_mean = {0.0: weights.mean(), -1e4: 0.0, 1e4: math.inf}[shift]
    assert moments.mean == pytest.approx(expected_mean)


def test_the_cross_entropy_is_in_nats_and_takes_any_logits() -> None:
    logits = np.array([[1e4, 0.0, 0.0], [0.0, 0.0, 0.0]])
    assert statistics.cross_entropy(logits, np.array([0, 1])) == pytest.approx(math.log(3) / 2)
    assert statistics.cross_entropy(logits, np.array([1, 1])) == pytest.approx(
        (1e4 + math.log(3)) / 2
    )


def test_the_binary_temperature_undoes_a_factor(rng: np.random.Generator) -> None:
    # Logits of N(1, 2) against N(-1, 2) are x: calibrated as they are.
    positive, negative = (c + math.sqrt(2) * rng.standard_normal(200_000) for c in (1, -1))
    found = fit_binary_temperature(positive, negative)
    assert found == pytest.approx(1.0, abs=0.02)
    assert fit_binary_temperature(8 * positive, 8 * negative) == pytest.approx(8 * found, rel=1e-9)
    assert fit_binary_temperature(abs(positive), -abs(negative)) == pytest.approx(math.exp(-7))
    assert fit_binary_temperature(-abs(positive), abs(negative)) == pytest.approx(math.exp(14))


def test_a_temperature_needs_finite_logits() -> None:
    with pytest.raises(ValueError, match="not finite"):
        fit_binary_temperature(np.array([np.nan]), np.array([0.0]))
    with pytest.raises(ValueError, match="not finite"):
        fit_temperature(np.array([[np.nan, 0.0]]), np.array([0]))


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


def test_moments_that_were_changed_on_disk_are_not_read(tmp_path):
    path = tmp_path / "state.json"
    moments = statistics.RunningMean(10, 4.48, 2.5), statistics.RunningMean(10, 1.25, 0.5)
    statistics.save_moments(path, "key", moments)
    assert statistics.load_moments(path, "key") == moments
    assert statistics.load_moments(path, "other") is None
    text = path.read_text()
    changed = [
        text.replace("4.48", "12.48"),
        text[:-4],
        text.replace("sha256", "sha255"),
        "[" * 9999,
    ]
    for damaged in changed:
        path.write_text(damaged)
        assert statistics.load_moments(path, "key") is None

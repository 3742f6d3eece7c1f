"""The inception score against float64 NumPy and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from tfdm.eval.inception_score import inception_score_from_logits
from tfdm.seeds import stream


def _score(logits: np.ndarray) -> float:
    """The score of one split by its definition, in log-probabilities throughout."""
    log_p = logits - special.logsumexp(logits, axis=1, keepdims=True)
    log_q = special.logsumexp(log_p, axis=0) - np.log(len(logits))
    return float(np.exp((np.exp(log_p) * (log_p - log_q)).sum(axis=1).mean()))


def _splits(logits: np.ndarray, num_splits: int, seed: int) -> list[float]:
    """The scores of the splits that the module's documented shuffle gives."""
    order = stream(seed, "inception_score/order").permutation(len(logits))
    size = len(logits) // num_splits
    return [_score(logits[order[i * size : (i + 1) * size]]) for i in range(num_splits)]


@pytest.mark.parametrize(("number", "num_splits"), [(400, 10), (403, 10), (50, 1), (7, 7)])
def test_agrees_with_numpy(rng: np.random.Generator, number: int, num_splits: int) -> None:
    logits = rng.normal(scale=2.5, size=(number, 10))
    result = inception_score_from_logits(logits, num_splits, seed=3)
    expected = _splits(logits, num_splits, 3)
    assert result.mean == pytest.approx(np.mean(expected), rel=1e-6)
    assert result.std == pytest.approx(np.std(expected), rel=1e-4, abs=1e-7)
    assert (result.num_samples, result.num_splits) == (number, num_splits)


def test_uniform_logits_score_one() -> None:
    result = inception_score_from_logits(np.full([100, 10], 7.0))
    assert result.mean == pytest.approx(1, abs=1e-12)
    assert result.std == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("margin", [50.0, 1e4])
def test_certain_and_balanced_logits_score_the_number_of_classes(margin: float) -> None:
    logits = margin * np.eye(10)[np.arange(1000) % 10]
    assert inception_score_from_logits(logits, 1).mean == pytest.approx(10, rel=1e-9)


@pytest.mark.parametrize("scale", [300.0, 1e4, 1e6])
def test_large_logits_and_unreachable_classes(rng: np.random.Generator, scale: float) -> None:
    # No row gives the last two classes a probability that float64 can hold.
    logits = scale * np.concatenate([rng.uniform(0, 1, (300, 8)), np.full((300, 2), -9.0)], axis=1)
    result = inception_score_from_logits(logits, 3)
    assert result.mean == pytest.approx(np.mean(_splits(logits, 3, 0)), rel=1e-6)
    assert 6 < result.mean < 8


@pytest.mark.parametrize("gap", [590.0, 610.0, 700.0, 744.0, 746.0])
def test_the_least_probability_is_invisible(rng: np.random.Generator, gap: float) -> None:
    logits = rng.normal(size=(40, 4))
    logits[:, 3] = logits.max(axis=1) - gap
    assert inception_score_from_logits(logits, 1).mean == pytest.approx(_score(logits), rel=1e-9)


def test_probabilities_are_warned_of(rng, caplog):
    logits = rng.normal(size=(30, 4))
    inception_score_from_logits(logits, 1)
    assert not caplog.records
    inception_score_from_logits(special.softmax(logits, axis=1), 1)
    assert "rows of logits are probabilities" in caplog.text

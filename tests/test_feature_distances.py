"""Fréchet and kernel distances against SciPy, float64 NumPy and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg

from tfdm.eval.feature_distances import FeatureMoments, frechet_distance, kernel_distance


def _frechet(first: np.ndarray, second: np.ndarray) -> float:
    """The definition, with SciPy's root of the product itself."""
    a, b = (np.cov(rows, rowvar=False) for rows in (first, second))
    root = linalg.sqrtm(a @ b)
    shift = first.mean(axis=0) - second.mean(axis=0)
    return float(shift @ shift + np.trace(a) + np.trace(b) - 2 * np.trace(root).real)


def _frechet_of_rows(first: np.ndarray, second: np.ndarray) -> float:
    """As `_frechet`, with tr (Σ₁Σ₂)^½ as the nuclear norm of a product of centred rows."""
    a, b = ((rows - rows.mean(axis=0)) / np.sqrt(len(rows) - 1) for rows in (first, second))
    root = linalg.svdvals(a @ b.T).sum()
    shift = first.mean(axis=0) - second.mean(axis=0)
    return float(shift @ shift + (a**2).sum() + (b**2).sum() - 2 * root)


def _features(rng: np.random.Generator, number: int, dim: int) -> np.ndarray:
    """Correlated features of unequal scales."""
    return rng.normal(size=(number, dim)) @ rng.normal(size=(dim, dim)) + rng.normal(size=dim)


@pytest.mark.parametrize("scale", [1e-5, 1e-2, 1.0, 1e4])
def test_frechet_agrees_with_the_matrix_square_root(rng, scale):
    first, second = _features(rng, 200, 12), _features(rng, 150, 12)
    expected = scale**2 * _frechet(first, second)
    assert _frechet(first, second) == pytest.approx(_frechet_of_rows(first, second), rel=1e-9)
    assert frechet_distance(scale * first, scale * second) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e3])
def test_frechet_of_fewer_samples_than_dimensions(rng, scale):
    first, second = _features(rng, 9, 30), _features(rng, 14, 30)
    expected = _frechet_of_rows(first, second)
    # SciPy's root of a singular matrix is less exact.
    assert _frechet(first, second) == pytest.approx(expected, rel=1e-4)
    value = frechet_distance(scale * first, scale * second)
    assert value == pytest.approx(scale**2 * expected, rel=1e-6)


def test_frechet_of_unequal_scales(rng):
    # Eigenvalues between 1e-8 and 1e2, none of which may be lost.
    first = rng.normal(size=(300, 30)) * np.geomspace(1e-4, 10, 30)
    second = 3 * first
    root = 3 * np.trace(np.cov(first, rowvar=False))
    expected = 10 / 3 * root - 2 * root + 4 * (first.mean(axis=0) ** 2).sum()
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-7)
    small, offset = 1e-6 * rng.normal(size=(300, 8)), np.arange(8.0)
    expected = _frechet_of_rows(small + offset, first[:, :8])
    assert frechet_distance(small + offset, first[:, :8]) == pytest.approx(expected, rel=1e-6)


def test_frechet_of_equal_and_of_swapped_sets(rng):
    first, second = _features(rng, 100, 20), _features(rng, 90, 20)
    for rows in (first, 1e-6 * first, 1e5 * first, first[:8]):
        scale = np.trace(np.cov(rows, rowvar=False))
        assert frechet_distance(rows, rows) == pytest.approx(0, abs=1e-6 * scale)
    forward, backward = frechet_distance(first, second), frechet_distance(second, first)
    assert forward == pytest.approx(backward, rel=1e-9)
    assert forward > 1


def test_frechet_of_constant_features():
    zero = np.zeros([5, 3])
    assert frechet_distance(zero, zero + [3, 4, 0]) == pytest.approx(25, rel=1e-12)
    spread = np.array([[1.0, 0, 0], [-1.0, 0, 0]])
    assert frechet_distance(zero, spread) == pytest.approx(2, rel=1e-12)
    assert frechet_distance(spread, zero) == pytest.approx(2, rel=1e-12)


@pytest.mark.parametrize("sizes", [[200], [1] * 200, [1, 199], [64, 64, 64, 8], [150, 50]])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_streamed_moments(rng, sizes, offset):
    rows = _features(rng, 200, 7)
    expected = np.cov(rows, rowvar=False)
    rows = rows + offset
    moments = FeatureMoments(7)
    for block in np.split(rows, np.cumsum(sizes)[:-1]):
        moments.add(block)
    assert moments.count == 200
    np.testing.assert_allclose(moments.mean, np.mean(rows, axis=0), rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(
        moments.covariance, expected, rtol=1e-8, atol=1e-8 * np.abs(expected).max()
    )
    if offset:
        # What the difference of raw second moments in float64 would give.
        raw = (rows.T @ rows - 200 * np.outer(rows.mean(axis=0), rows.mean(axis=0))) / 199
        assert np.abs(raw - expected).max() > 1e-6 * np.abs(expected).max()


def _kernel(x: np.ndarray, y: np.ndarray) -> float:
    return (float(x @ y) / len(x) + 1) ** 3


def _mmd(first: np.ndarray, second: np.ndarray) -> float:
    """The estimate of one block, by loops."""
    within = 0.0
    for rows in (first, second):
        n = len(rows)
        total = sum(_kernel(rows[i], rows[j]) for i in range(n) for j in range(n) if i != j)
        within += total / (n * (n - 1))
    return within - 2 * float(np.mean([_kernel(x, y) for x in first for y in second]))


# Sizes of the sets, the largest block, and the sizes of the blocks: the larger ones last.
BLOCKS = [
    (20, 20, 10, [10, 10], [10, 10]),
    (23, 23, 10, [7, 8, 8], [7, 8, 8]),
    (23, 10, 8, [7, 8, 8], [3, 3, 4]),
    (9, 25, 9, [3, 3, 3], [8, 8, 9]),
    (12, 15, 15, [12], [15]),
]


@pytest.mark.parametrize(("n", "m", "largest", "first_sizes", "second_sizes"), BLOCKS)
def test_kernel_distance_agrees_with_loops(rng, n, m, largest, first_sizes, second_sizes):
    first, second = rng.normal(size=(n, 5)), rng.normal(size=(m, 5)) * 1.5 + 0.5
    result = kernel_distance(first, second, largest)
    firsts = np.split(first, np.cumsum(first_sizes)[:-1])
    seconds = np.split(second, np.cumsum(second_sizes)[:-1])
    values = [_mmd(a, b) for a, b in zip(firsts, seconds, strict=True)]
    number = len(values)
    assert result.num_blocks == number
    assert result.value == pytest.approx(sum(values) / number, rel=1e-9)
    if number == 1:
        assert result.standard_error is None
    else:
        # Of the mean: the sample variance of the blocks over their number.
        variance = sum((value - result.value) ** 2 for value in values) / (number - 1)
        assert result.standard_error == pytest.approx(np.sqrt(variance / number), rel=1e-6)


def test_blocks_of_a_thousand_by_default(rng):
    rows = rng.normal(size=(1001, 2))
    assert kernel_distance(rows[:1000], rows[1:]).num_blocks == 1
    assert kernel_distance(rows[:1000], rows).num_blocks == 2

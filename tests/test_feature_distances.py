"""Fréchet and kernel distances against SciPy, float64 NumPy and closed forms."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from scipy import linalg

from tfdm.eval.feature_distances import FeatureMoments, frechet_distance, kernel_distance
from tfdm.seeds import stream


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


# Sizes of the sets, the largest block, and the sizes of the blocks; a block of two numbers is cut
# into such parts for the pairs of its own.
BLOCKS = [
    (20, 20, 10, [[10], [10]], [[10], [10]]),
    (23, 23, 10, [[8], [8], [7]], [[8], [8], [7]]),
    (23, 10, 8, [[6, 6], [6, 5]], [[5], [5]]),
    (9, 25, 9, [[9]], [[9, 8, 8]]),
    (12, 15, 15, [[12]], [[15]]),
]


def _cut(rows: np.ndarray, seed: int, index: int, sizes: list[list[int]]) -> list[list[np.ndarray]]:
    """The parts of each block of the shuffled rows."""
    rows = rows[stream(seed, "kernel_distance/order", index).permutation(len(rows))]
    parts = iter(np.split(rows, np.cumsum([size for block in sizes for size in block])[:-1]))
    return [[next(parts) for _ in block] for block in sizes]


def _block_mmd(first: list[np.ndarray], second: list[np.ndarray]) -> float:
    """The estimate of one block by loops, the pairs of a set inside its parts."""
    value = 0.0
    for parts in (first, second):
        pairs = [(rows[i], rows[j]) for rows in parts for i in range(len(rows)) for j in range(i)]
        value += float(np.mean([_kernel(x, y) for x, y in pairs]))
    firsts, seconds = np.concatenate(first), np.concatenate(second)
    return value - 2 * float(np.mean([_kernel(x, y) for x in firsts for y in seconds]))


@pytest.mark.parametrize(("n", "m", "largest", "first_sizes", "second_sizes"), BLOCKS)
def test_kernel_distance_agrees_with_loops(rng, n, m, largest, first_sizes, second_sizes):
    first, second = rng.normal(size=(n, 5)), rng.normal(size=(m, 5)) * 1.5 + 0.5
    result = kernel_distance(first, second, largest, seed=3)
    blocks = zip(_cut(first, 3, 0, first_sizes), _cut(second, 3, 1, second_sizes), strict=True)
    values = [_block_mmd(a, b) for a, b in blocks]
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
    assert kernel_distance(rows[:1000], rows).num_blocks == 1
    assert kernel_distance(rows, rows[::-1]).num_blocks == 2


def test_kernel_distance_does_not_see_the_order_of_rows(rng: np.random.Generator) -> None:
    classes = 3.0 * np.eye(10)[np.repeat(np.arange(10), 60)]
    first, second = (classes + rng.normal(size=classes.shape) for _ in range(2))
    result = kernel_distance(first, second[::-1], 60)
    assert result.standard_error is not None
    assert abs(result.value) < 4 * result.standard_error
    assert result.standard_error < 0.1
    # What blocks of consecutive rows would give: one class beside another.
    assert _block_mmd([first[:60]], [second[-60:]]) > 1


@pytest.mark.parametrize("scale", [1e-6, 1.0])
def test_kernel_distance_of_small_features_is_exact(rng: np.random.Generator, scale: float) -> None:
    first, second = (scale * rng.normal(size=(size, 3)) for size in (5, 7))
    exact = [[[Fraction(x) for x in row] for row in rows.tolist()] for rows in (first, second)]

    def mean(pairs: list[tuple[list[Fraction], list[Fraction]]]) -> Fraction:
        kernels = [(sum(a * b for a, b in zip(x, y, strict=True)) / 3 + 1) ** 3 for x, y in pairs]
        return sum(kernels, Fraction(0)) / len(kernels)

    expected = sum(mean(list(itertools.permutations(rows, 2))) for rows in exact)
    expected -= 2 * mean(list(itertools.product(*exact)))
    assert kernel_distance(first, second).value == pytest.approx(float(expected), rel=1e-12)


def test_all_of_the_larger_set_sharpen_the_kernel_distance(rng: np.random.Generator) -> None:
    """Of 100 features against 100 and against 2,000: half the spread (8σ²/n² and 2σ²/n²)."""
    spreads = []
    for number in (100, 2000):
        pairs = (rng.normal(size=(size, 8)) for _ in range(60) for size in (100, number))
        values = [kernel_distance(next(pairs), next(pairs)).value for _ in range(60)]
        spreads.append(float(np.std(values)))
    # The ratio of two spreads of 60 values each has a relative error of about 0.13.
    assert spreads[1] / spreads[0] == pytest.approx(0.5, abs=0.26)

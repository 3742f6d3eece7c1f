"""Improved precision and recall against explicit loops and cases known beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from tfdm.eval import improved_precision_recall as module
from tfdm.eval.improved_precision_recall import PrecisionRecall, precision_recall, squared_distances


def _share_inside(queries: np.ndarray, support: np.ndarray, neighbours: int) -> float:
    """The definition, with distances of differences."""
    radii = []
    for i, point in enumerate(support):
        others = [np.linalg.norm(point - other) for j, other in enumerate(support) if j != i]
        radii.append(sorted(others)[neighbours - 1])
    inside = 0
    for query in queries:
        distances = [np.linalg.norm(query - point) for point in support]
        inside += any(d <= radius for d, radius in zip(distances, radii, strict=True))
    return inside / len(queries)


def _shares(real: np.ndarray, generated: np.ndarray, neighbours: int = 3) -> tuple[float, float]:
    result = precision_recall(real, generated, neighbours)
    return result.precision, result.recall


@pytest.mark.parametrize("neighbours", [1, 3, 7])
@pytest.mark.parametrize("block", [1, 7, 40, 1000])
def test_agrees_with_loops(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, neighbours: int, block: int
) -> None:
    monkeypatch.setattr(module, "_BLOCK", block)
    real, generated = rng.normal(size=(60, 3)), rng.normal(size=(50, 3)) + [0, 0, 1.5]
    real[::3] += 20
    generated[::2] -= 20
    result = precision_recall(real, generated, neighbours)
    precision = _share_inside(generated, real, neighbours)
    recall = _share_inside(real, generated, neighbours)
    assert result == PrecisionRecall(precision, recall, 60, 50, neighbours)
    assert 0 < precision < 0.6
    assert 0 < recall < 0.7


def test_a_point_on_a_sphere_counts() -> None:
    real, generated = np.array([[2.0], [2.0], [0.0]]), np.array([[3.0], [2.0], [1.0]])
    assert _shares(real, generated, 1) == (2 / 3, 1)


@pytest.mark.parametrize("seed", range(10))
def test_ties_are_exact_whatever_is_added(seed: int) -> None:
    rng = np.random.default_rng(seed)
    real, generated = rng.integers(0, 4, (2, 50, 6)).astype(float)
    expected = _share_inside(generated, real, 3), _share_inside(real, generated, 3)
    for shift in (0.0, 0.5, 1000.0, rng.integers(-50, 50, 6)):
        assert _shares(real + shift, generated + shift) == expected


def test_binary_features() -> None:
    rng = np.random.default_rng(0)
    real, generated = rng.binomial(1, 0.5, (1000, 24)), rng.binomial(1, 0.4, (1000, 24))
    assert _shares(real, generated) == (0.998, 0.98)


def test_one_far_row_changes_no_other(rng: np.random.Generator) -> None:
    real, generated = rng.normal(size=(60, 3)), rng.normal(size=(50, 3)) + 1.5
    real[0] = 1e10
    expected = _share_inside(generated, real, 3), _share_inside(real, generated, 3)
    assert _shares(real, generated) == expected


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_equal_sets_have_one_and_one(rng: np.random.Generator, offset: float) -> None:
    rows = rng.normal(size=(50, 16)) + offset
    assert _shares(rows, rows.copy()) == (1, 1)


def test_a_large_common_offset_changes_nothing(rng: np.random.Generator) -> None:
    # Powers of two keep the sums exact.
    real, generated = np.round(rng.normal(size=(2, 120, 4)) * 1024) / 1024
    generated += 0.75
    expected = _shares(real, generated)
    assert 0 < min(expected) and max(expected) < 1
    assert _shares(real + 2.0**24, generated + 2.0**24) == expected


def test_copies_among_the_generated_lower_recall(rng: np.random.Generator) -> None:
    real = rng.normal(size=(80, 4))
    generated = rng.normal(size=(80, 4))
    copies = np.repeat(generated[:10], 8, axis=0)
    assert _shares(real, copies)[1] < 0.2 < 0.5 < _shares(real, generated)[1]
    # Eight copies have balls of radius 0, that contain their own centres alone.
    assert _shares(real, copies)[1] == 0
    assert _shares(generated[:10].repeat(4, axis=0), copies) == (1, 1)


@pytest.mark.parametrize("dim", [3, 64, 500])
def test_more_copies_than_neighbours_lie_inside_themselves(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, dim: int
) -> None:
    # The radius is 0, and so must be the distance, whatever the products are rounded to.
    monkeypatch.setattr(module, "_BLOCK", 13)
    points = rng.normal(size=(40, dim)) * 10 + 3
    real = np.repeat(points, 4, axis=0)
    generated = np.concatenate([points, points + 100])
    assert _shares(real, generated)[0] == 0.5
    # With a nearest neighbour beyond the copies the radius is that neighbour's distance.
    assert _shares(real, generated, 4)[0] == _share_inside(generated, real, 4)


def test_squared_distances(rng: np.random.Generator) -> None:
    first, second = rng.normal(size=(6, 9)), rng.normal(size=(5, 9))
    first[2] = second[4]
    expected = ((first[:, None] - second) ** 2).sum(axis=2)
    copies = first.copy(), second.copy()
    distances = squared_distances(first, second)
    np.testing.assert_allclose(distances, expected, rtol=1e-10)
    assert distances[2, 4] == 0
    assert (distances > 0).sum() == 29
    np.testing.assert_array_equal(first, copies[0])
    np.testing.assert_array_equal(second, copies[1])
    # A ten-thousandth of the length is no rounding error.
    np.testing.assert_allclose(
        squared_distances(first, first * 1.0001).diagonal(),
        1e-8 * (first**2).sum(axis=1),
        rtol=1e-4,
    )

"""Nearest neighbours against a full sort."""

from __future__ import annotations

import numpy as np
import pytest

from tfdm.eval import nearest
from tfdm.eval.nearest import nearest_neighbours


@pytest.mark.parametrize("block", [7, 50, 1000])
def test_the_nearest_rows_come_first(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(nearest, "_BLOCK", block)
    queries, rows = rng.normal(size=(5, 4)), rng.normal(size=(50, 4))
    distances = np.array([[np.sum((q - r) ** 2) for r in rows] for q in queries])
    expected = np.argsort(distances, axis=1)[:, :6]
    np.testing.assert_array_equal(nearest_neighbours(queries, rows, 6), expected)


def test_bytes_do_not_wrap_around() -> None:
    queries, rows = np.array([[250, 0]], np.uint8), np.array([[2, 0], [255, 3]], np.uint8)
    np.testing.assert_array_equal(nearest_neighbours(queries, rows, 2), [[1, 0]])


@pytest.mark.parametrize(
    ("queries", "rows", "number", "message"),
    [
        (np.zeros([2, 3]), np.zeros([4, 5]), 1, r"shapes are \(2, 3\) and \(4, 5\)"),
        (np.zeros([2, 3]), np.zeros([4, 3]), 5, "number is 5, expected 1 to 4"),
        (np.zeros([2, 3]), np.zeros([4, 3]), 0, "number is 0"),
    ],
)
def test_bad_arguments(queries: np.ndarray, rows: np.ndarray, number: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nearest_neighbours(queries, rows, number)

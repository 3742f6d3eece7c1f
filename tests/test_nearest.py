"""Nearest neighbours against a full sort."""

from __future__ import annotations

import numpy as np
import pytest

from tfdm.eval import improved_precision_recall
from tfdm.eval.improved_precision_recall import nearest_neighbours


@pytest.mark.parametrize("block", [7, 50, 1000])
def test_nearest_first(rng, monkeypatch, block):
    monkeypatch.setattr(improved_precision_recall, "_BLOCK", block)
    queries, rows = rng.normal(size=(5, 4)), rng.normal(size=(50, 4))
    distances = np.array([[np.sum((q - r) ** 2) for r in rows] for q in queries])
    expected = np.argsort(distances, axis=1)[:, :6]
    np.testing.assert_array_equal(nearest_neighbours(queries, rows, 6), expected)


def test_bytes_do_not_wrap_around():
    queries, rows = np.array([[250, 0]], np.uint8), np.array([[2, 0], [255, 3]], np.uint8)
    np.testing.assert_array_equal(nearest_neighbours(queries, rows, 2), [[1, 0]])

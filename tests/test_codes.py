"""The samplers of codes: their distribution, their seeds and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from tfdm.estimators import FixedCodes, GaussianCodes
from tfdm.estimators.codes import evaluation_blocks, selection_and_value

_LOC = np.array([[-2.0, 1.0], [3.0, 0.0], [0.5, -4.0]])
_SCALE = np.array([[0.1, 2.0], [1.0, 0.5], [0.3, 0.3]])


def test_gaussian_codes_have_the_moments_of_the_mixture(seed: int) -> None:
    num = 200_000
    codes = GaussianCodes(_LOC, _SCALE).sample(num, seed)
    mean = _LOC.mean(axis=0)
    variance = (_SCALE**2 + _LOC**2).mean(axis=0) - mean**2
    error = np.sqrt(variance / num)
    np.testing.assert_array_less(np.abs(codes.mean(axis=0) - mean), 4 * error)
    squares = (codes - mean) ** 2
    error = squares.std(axis=0) / np.sqrt(num)
    np.testing.assert_array_less(np.abs(squares.mean(axis=0) - variance), 4 * error)


def test_fixed_codes_are_drawn_evenly_with_replacement(seed: int) -> None:
    num = 30_000
    drawn = FixedCodes(_LOC).sample(num, seed)
    counts = np.array([(drawn == row).all(axis=1).sum() for row in _LOC])
    assert counts.sum() == num
    error = np.sqrt(num * (1 / 3) * (2 / 3))
    np.testing.assert_array_less(np.abs(counts - num / 3), 4 * error)


@pytest.mark.parametrize("sampler", [GaussianCodes(_LOC, _SCALE), FixedCodes(_LOC)])
def test_a_draw_is_a_function_of_its_seed(sampler: GaussianCodes | FixedCodes, seed: int) -> None:
    assert sampler.latent_dim == 2
    first = sampler.sample(50, seed)
    np.testing.assert_array_equal(first, sampler.sample(50, np.random.default_rng(seed)))
    assert not np.array_equal(first, sampler.sample(50, seed + 1))


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.zeros(3), r"shape \(3,\)"),
        (np.zeros((0, 2)), r"shape \(0, 2\)"),
        ([[0.0, np.nan]], r"codes\[0, 1\] is nan"),
    ],
)
def test_fixed_codes_refuse(codes: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FixedCodes(codes)  # type: ignore[arg-type]


def test_evaluation_blocks_are_fresh_draws_or_each_code_once(seed: int) -> None:
    blocks = list(evaluation_blocks(GaussianCodes(_LOC, _SCALE), 25, 10, seed, "x"))
    assert [len(block) for block in blocks] == [10, 10, 5]
    assert len(np.unique(np.concatenate(blocks), axis=0)) == 25
    fixed = list(evaluation_blocks(FixedCodes(_LOC), 25, 2, seed, "x"))
    np.testing.assert_array_equal(np.concatenate(fixed), _LOC)
    assert len(next(evaluation_blocks(FixedCodes(_LOC), 1, 2, seed, "x"))) == 1


def test_fixed_codes_that_choose_do_not_count() -> None:
    gaussian, fixed = GaussianCodes(_LOC, _SCALE), FixedCodes(np.arange(10.0)[:, None])
    assert selection_and_value(gaussian, None) == (gaussian, gaussian)
    assert selection_and_value(fixed, gaussian) == (gaussian, gaussian)
    selection, value = selection_and_value(fixed, fixed)
    assert isinstance(selection, FixedCodes)
    assert isinstance(value, FixedCodes)
    both = np.concatenate([selection.codes, value.codes])
    np.testing.assert_array_equal(np.sort(both, axis=0), fixed.codes)
    with pytest.raises(ValueError, match="0 held-out codes, expected 4 or more"):
        selection_and_value(fixed, None)
    with pytest.raises(ValueError, match="3 held-out codes"):
        selection_and_value(fixed, FixedCodes(_LOC))

"""Named random streams do not meet."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tfdm.seeds import derive, stream

KEYS = [
    (seed, name, *index)
    for seed, name in itertools.product((0, 1, 5, 2**31, 2**32, 2**63), ("a", "b", "a/b"))
    for index in ((), (0,), (1,), (0, 0), (1, 0), (0, 1), (2**32,))
]


def test_streams_are_reproducible_and_do_not_meet() -> None:
    draws = [tuple(stream(*key).integers(2**62, size=2)) for key in KEYS]
    assert draws == [tuple(stream(*key).integers(2**62, size=2)) for key in KEYS]
    assert len(set(draws)) == len(KEYS)


def test_derived_seeds_do_not_meet_and_fit_into_63_bits() -> None:
    seeds = {derive(*key) for key in KEYS}
    assert len(seeds) == len(KEYS)
    assert all(0 <= seed < 2**63 for seed in seeds)
    short = [derive(*key, bits=31) for key in KEYS]
    assert len(set(short)) == len(KEYS) and 2**30 < max(short) < 2**31


def test_numpy_integers_are_the_same_as_pythons() -> None:
    assert derive(np.int32(5), "a", np.int64(3)) == derive(5, "a", 3)


def test_negative_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        stream(-1, "a")
    with pytest.raises(ValueError, match="-2"):
        derive(0, "a", -2)

"""Augmentation of training images: what each operation does to pixels, and its statistics."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tfdm.eval.classifiers.augmentation import augment, paint_digits

ALL = {"translate": 2, "flip": True, "cutout": 3, "paint": True}


def _bytes(rng: np.random.Generator, number: int, side: int = 9) -> np.ndarray:
    return rng.integers(0, 256, (number, side, side, 3), dtype=np.uint8)


def _assert_share(hits: np.ndarray, share: float) -> None:
    """The mean of independent events is their probability, within four standard errors."""
    assert abs(hits.mean() - share) < 4 * math.sqrt(share * (1 - share) / hits.size), hits.mean()


def _cdf(x: float) -> float:
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


def test_a_batch_is_a_function_of_seed_and_step_alone(rng: np.random.Generator, seed: int) -> None:
    images, indices = _bytes(rng, 12), np.array([7, 0, 11, 7])
    before = images.copy()
    first = augment(images, indices, seed=seed, step=5, epoch=1, **ALL)
    state = np.random.get_state()
    np.random.seed(seed % 1000)
    again = augment(images, indices, seed=seed, step=5, epoch=1, **ALL)
    np.random.set_state(state)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(images, before)
    assert not np.array_equal(first[0], first[3])  # The same image, another place in the batch.
    for other in ({"seed": seed + 1, "step": 5}, {"seed": seed, "step": 6}):
        changed = augment(images, indices, epoch=1, **{**ALL, **other})
        assert all((a != b).any() for a, b in zip(first, changed, strict=True))


def test_every_image_is_mirrored_in_every_other_epoch(rng: np.random.Generator, seed: int) -> None:
    images = _bytes(rng, 400)
    plain = (images / np.float32(255)).astype(np.float32)
    seen = []
    for epoch in range(4):
        order = rng.permutation(len(images))
        batch = np.empty_like(plain)
        batch[order] = augment(images, order, seed=seed, step=epoch, epoch=epoch, flip=True)
        mirrored = (batch == plain[:, :, ::-1]).all(axis=(1, 2, 3))
        assert (mirrored ^ (batch == plain).all(axis=(1, 2, 3))).all()
        seen.append(mirrored)
    _assert_share(seen[0], 0.5)
    np.testing.assert_array_equal(seen[1], ~seen[0])
    np.testing.assert_array_equal(seen[2:], seen[:2])


def test_a_batch_of_two_epochs_mirrors_by_each(rng: np.random.Generator, seed: int) -> None:
    images = _bytes(rng, 10)
    indices, epochs = np.array([3, 1, 3, 1]), np.array([0, 0, 1, 1])
    batch = augment(images, indices, seed=seed, step=0, epoch=epochs, flip=True)
    np.testing.assert_array_equal(batch[:2], batch[2:, :, ::-1])


def test_shifts_are_windows_of_the_reflected_image(rng: np.random.Generator, seed: int) -> None:
    shift, side, number = 2, 7, 500
    images = _bytes(rng, number, side)
    batch = augment(images, np.arange(number), seed=seed, step=3, epoch=0, translate=shift)
    levels = np.rint(batch * 255).astype(np.uint8)
    # Row i of a window at offset d is row i + d of the image, mirrored at the outermost rows.
    places = [
        side - 1 - np.abs(side - 1 - np.abs(np.arange(side) + offset))
        for offset in range(-shift, shift + 1)
    ]
    found = [
        [
            (row, column)
            for row, rows in enumerate(places)
            for column, columns in enumerate(places)
            if np.array_equal(image[rows][:, columns], level)
        ]
        for image, level in zip(images, levels, strict=True)
    ]
    assert all(len(offsets) == 1 for offsets in found)
    counts = np.zeros([2 * shift + 1] * 2)
    for [(row, column)] in found:
        counts[row, column] += 1
    expected = number / counts.size
    # chi^2 with 24 degrees of freedom: mean 24, variance 48.
    chi_squared = float((np.square(counts - expected) / expected).sum())
    assert 24 - 4 * math.sqrt(48) < chi_squared < 24 + 5 * math.sqrt(48)


@pytest.mark.parametrize("cutout", [3, 4, 9])
def test_a_square_of_mid_grey_is_cut_out(cutout: int, rng: np.random.Generator, seed: int) -> None:
    side, number = 9, 300
    images = _bytes(rng, number, side)
    batch = augment(images, np.arange(number), seed=seed, step=3, epoch=0, cutout=cutout)
    plain = (images / np.float32(255)).astype(np.float32)
    assert batch.dtype == np.float32
    corners = set()
    for image, original in zip(batch, plain, strict=True):
        hole = (image == 0.5).all(axis=-1)  # No 255th is 0.5.
        rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
        assert len(rows) == len(columns) == cutout
        assert np.ptp(rows) == np.ptp(columns) == cutout - 1
        assert hole.sum() == cutout**2
        np.testing.assert_array_equal(image[~hole], original[~hole])
        corners.add((rows[0], columns[0]))
    # Each of the at most 49 corners is missed with probability (48/49)^300 = 0.2 %.
    possible = (side - cutout + 1) ** 2
    assert 0.9 * possible <= len(corners) <= possible


def test_a_quarter_of_the_digits_stays_grey(rng: np.random.Generator) -> None:
    digits = (rng.integers(0, 256, (4000, 4, 4, 1)) / np.float32(255)).repeat(3, axis=-1)
    before = digits.copy()
    painted = paint_digits(digits, rng)
    assert painted.dtype == np.float32
    assert painted.min() >= 0 and painted.max() <= 1
    np.testing.assert_array_equal(digits, before)
    # Grey is the digit itself, up to the rounding of 2 I - 1 in float32.
    grey = (np.abs(painted - digits) < 1e-6).all(axis=(1, 2, 3))
    _assert_share(grey, 0.25)


def _colored(level: float, rng: np.random.Generator) -> np.ndarray:
    """Two pixels of each coloured digit of one level, [n, 2, 3] in [0, 1]."""
    painted = paint_digits(np.full((8000, 2, 2, 3), level, np.float32), rng)
    pixels = painted.reshape(-1, 4, 3)
    return pixels[(np.abs(pixels - level) > 1e-6).any(axis=(1, 2))][:, :2]


def test_paper_is_the_noise_that_is_brighter_than_black(rng: np.random.Generator) -> None:
    # x = -1 + noise of scale s = 0.2, clipped at -1: v = (x + 1) / 2 = max(noise, 0) / 2.
    values = _colored(0.0, rng).ravel().astype(np.float64)
    _assert_share(values == 0, 0.5)
    mean, second = 0.1 / math.sqrt(2 * math.pi), 0.2**2 / 2 / 4
    error = math.sqrt((second - mean**2) / values.size)
    assert abs(values.mean() - mean) < 4 * error
    # E[max(n, 0)^4] = 3 s^4 / 2.
    error = math.sqrt((3 * 0.2**4 / 2 / 16 - second**2) / values.size)
    assert abs(np.mean(values**2) - second) < 4 * error


def test_ink_has_the_colour_of_the_digit(rng: np.random.Generator) -> None:
    # x = C + noise, of variance 0.5^2 + 0.2^2 before clipping to [-1, 1].
    pixels = 2 * _colored(1.0, rng).astype(np.float64) - 1
    scale = math.sqrt(0.29)
    values = pixels[:, 0, 0]
    for level in (-0.9, -0.5, 0.0, 0.3, 0.8):
        _assert_share(values < level, _cdf(level / scale))
    _assert_share(values == 1, 1 - _cdf(1 / scale))
    _assert_share(values == -1, 1 - _cdf(1 / scale))
    # Signs of normal variables of correlation r agree with probability 1/2 + asin(r) / pi. The
    # colour is common to the pixels of a digit, and not to its channels.
    agree = (pixels[:, 0, 1] > 0) == (pixels[:, 1, 1] > 0)
    _assert_share(agree, 0.5 + math.asin(0.25 / 0.29) / math.pi)
    _assert_share((pixels[:, 0, 0] > 0) == (pixels[:, 0, 1] > 0), 0.5)


@pytest.mark.parametrize("level", [0.4, 0.7])
def test_half_tones_mix_ink_and_paper(level: float, rng: np.random.Generator) -> None:
    # x = I C + (I - 1) + noise.
    values = 2 * _colored(level, rng)[:, 0, 2].astype(np.float64) - 1
    scale = math.hypot(0.5 * level, 0.2)
    for deviations in (-0.7, 0.0, 0.7, 1.2):
        _assert_share(values < level - 1 + deviations * scale, _cdf(deviations))


def test_digits_are_painted_where_asked(rng: np.random.Generator, seed: int) -> None:
    images = _bytes(rng, 200)[..., :1].repeat(3, axis=-1)
    batch = augment(images, np.arange(200), seed=seed, step=0, epoch=0, paint=True)
    grey = (np.abs(batch * 255 - images) < 1e-3).all(axis=(1, 2, 3))
    _assert_share(grey, 0.25)

"""What the metrics ask of their arrays, and what each statistic refuses."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfdm.eval import (
    FeatureMoments,
    KernelDistance,
    frechet_distance,
    inception_score_from_logits,
    kernel_distance,
    ms_ssim,
    ms_ssim_diversity,
    precision_recall,
)
from tfdm.eval.checks import checked_images, checked_rows, unit_range

ROWS = np.random.default_rng(0).normal(size=(40, 3))
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 1), np.uint8)


def _with(array: np.ndarray, value: float) -> np.ndarray:
    """A copy in floats whose last number is `value`."""
    copy = array / (255 if array.dtype == np.uint8 else 1)
    copy.flat[-1] = value
    return copy


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
def test_good_images_pass_unchanged(dtype, channels):
    images = np.zeros([2, 4, 5, channels], dtype)
    images[0] = 255 if dtype == np.uint8 else 1
    assert checked_images(images, least=2) is images


def test_rounding_is_clipped_and_bfloat16_is_read() -> None:
    images = np.full([1, 4, 4, 1], np.float32(1 + 3e-7))
    images[0, 0, 0, 0] = -1e-7
    np.testing.assert_array_equal(checked_images(images), np.clip(images, 0, 1))
    halves = tf.constant(IMAGES / 255, tf.bfloat16)
    np.testing.assert_array_equal(checked_images(halves), tf.cast(halves, tf.float32))
    with pytest.raises(ValueError, match=r"in \[0, 1.00002003\], expected"):
        checked_images(np.array([[[[0.0, 1.00002003, 0.5]]]]))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        *((np.zeros(shape, np.uint8), r"images have shape .*, expected \[n, height, width")
          for shape in ((4, 5, 3), (2, 4, 5, 2), (2, 4, 5, 4), (2, 1, 4, 5, 3), (), (2, 0, 5, 3),
                        (2, 4, 0, 1))),
        *((np.zeros([3, 4, 4, 1], dtype), f"of type {np.dtype(dtype)}, expected uint8 or floating")
          for dtype in (bool, np.int8, np.int32, np.uint16, complex, object)),
        *((_with(IMAGES, value), "not finite") for value in (np.nan, np.inf, -np.inf)),
        (_with(IMAGES, -1e-3), r"images lie in \[-0.001, .*\], expected \[0, 1\]"),
        (_with(IMAGES, 1.002), r"images lie in \[.*, 1.002\], expected \[0, 1\]"),
        (IMAGES[:2], "there are 2 images, expected at least 3"),
        (IMAGES[:0], "there are 0 images, expected at least 3"),
    ],
)  # fmt: skip
def test_other_images_are_refused(images, message):
    with pytest.raises(ValueError, match=message):
        checked_images(images, least=3)


def test_rows_become_float64():
    rows = checked_rows("logits", [[1, 2], [3, 4], [5, 6]], least=3)
    assert rows.dtype == np.float64
    np.testing.assert_array_equal(rows, [[1, 2], [3, 4], [5, 6]])
    half = np.array([[0.1]], np.float16)
    assert checked_rows("logits", half)[0, 0] == float(half[0, 0])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        *((np.zeros(shape), r"logits have shape .*, expected \[n, d\]")
          for shape in ((3,), (3, 2, 1), (3, 0), ())),
        (ROWS[:2], "there are 2 logits, expected at least 3"),
        (ROWS[:0], "there are 0 logits, expected at least 3"),
        *((_with(ROWS, value), "not finite") for value in (np.nan, np.inf, -np.inf)),
    ],
)  # fmt: skip
def test_other_rows_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        checked_rows("logits", rows, least=3)


def test_unit_range_divides_bytes_alone():
    for values in (np.array([0, 51, 255], np.uint8), np.array([0.0, 0.2, 1.0])):
        images = unit_range(values)
        assert images.dtype == np.float32
        np.testing.assert_array_equal(images, np.float32([0, 0.2, 1]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: FeatureMoments(3).covariance, "a covariance of 0 features, expected at least 2"),
        (lambda: FeatureMoments(3).add(ROWS[:, :2]), "features have 2 columns, expected 3"),
        (lambda: FeatureMoments(3).add(_with(ROWS, np.inf)), "not finite"),
        (lambda: frechet_distance(ROWS, ROWS[:1]), "a covariance of 1 features"),
        (lambda: frechet_distance(ROWS, ROWS[:, :2]), "features have 3 and 2 columns"),
        (lambda: frechet_distance(ROWS[0], ROWS), "features have shape"),
        (lambda: kernel_distance(ROWS, ROWS[:1]), "there are 1 features, expected at least 2"),
        (lambda: kernel_distance(ROWS, ROWS[:, :2]), "features have 3 and 2 columns"),
        (lambda: kernel_distance(ROWS, ROWS, 1), "max_block_size is 1, expected at least 2"),
        (lambda: kernel_distance(ROWS[:7], ROWS, 10), "7 and 40 .* cannot be cut into 4 blocks"),
        (lambda: kernel_distance(ROWS, _with(ROWS, np.nan)), "not finite"),
        (lambda: precision_recall(ROWS, ROWS[:3]), "there are 3 features, expected at least 4"),
        (lambda: precision_recall(ROWS[:3], ROWS), "there are 3 features, expected at least 4"),
        (lambda: precision_recall(ROWS, ROWS[:, :2]), "features have 3 and 2 columns"),
        (lambda: precision_recall(ROWS, ROWS, 0), "neighbours is 0, expected at least 1"),
        (lambda: precision_recall(ROWS, _with(ROWS, np.nan)), "not finite"),
        (lambda: precision_recall(ROWS[0], ROWS), "features have shape"),
        (lambda: inception_score_from_logits(ROWS[:9]), "9 samples cannot be cut into 10 splits"),
        (lambda: inception_score_from_logits(ROWS, 0), "num_splits is 0"),
        (lambda: inception_score_from_logits(ROWS[0], 1), "logits have shape"),
        (lambda: inception_score_from_logits(_with(ROWS, np.nan)), "not finite"),
        (lambda: ms_ssim(IMAGES[:, 1:], IMAGES[:, 1:]), "are 15x16, expected sides of at least 16"),
        (lambda: ms_ssim(IMAGES, IMAGES[:3]), "expected equal"),
        (lambda: ms_ssim(IMAGES, IMAGES.astype(int)), "of type"),
        (lambda: ms_ssim_diversity(IMAGES[:, :, 1:], batch_size=4), "images are 16x15"),
        (lambda: ms_ssim_diversity(IMAGES, batch_size=5), "there are 4 images, .* at least 5"),
        (lambda: ms_ssim_diversity(IMAGES, batch_size=1), "batch_size is 1, expected at least 2"),
        (lambda: ms_ssim_diversity(IMAGES, num_batches=0), "num_batches is 0, expected at least 1"),
        (lambda: ms_ssim_diversity(IMAGES * 1.0, batch_size=4), r"expected \[0, 1\]"),
    ],
)  # fmt: skip
def test_what_a_statistic_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_fewest_rows_that_suffice():
    assert isinstance(kernel_distance(ROWS[:8], ROWS, 10), KernelDistance)
    assert precision_recall(ROWS[:4], ROWS[:4]).precision == 1
    assert inception_score_from_logits(ROWS[:9], 9).num_samples == 9

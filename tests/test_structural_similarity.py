"""MS-SSIM against a slow computation by its definition, TensorFlow and closed forms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from tfdm.eval import structural_similarity as module
from tfdm.eval.structural_similarity import ms_ssim, ms_ssim_diversity
from tfdm.seeds import stream

# By the shorter side: the sizes of the windows.
WINDOWS = {
    16: (11, 8, 4, 2, 1),
    28: (11, 11, 7, 4, 2),
    32: (11, 11, 8, 4, 2),
    64: (11, 11, 11, 8, 4),
}
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
C1, C2 = 6.5025, 58.5225


def _images(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Smooth uint8 images [n, H, W, C] of all brightnesses."""
    noise = ndimage.gaussian_filter(rng.normal(size=shape), (0, 1.5, 1.5, 0), mode="wrap")
    return np.clip(128 + 400 * noise, 0, 255).astype(np.uint8)


def _noisy(images: np.ndarray, rng: np.random.Generator, scale: float) -> np.ndarray:
    noise = rng.normal(scale=scale, size=images.shape)
    return np.clip(np.rint(images + noise), 0, 255).astype(np.uint8)


def _mixed(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Images with a share of others: unlike, and yet of positive similarity."""
    others = _images(rng, *images.shape)
    return np.rint(0.7 * images + 0.3 * others).astype(np.uint8)


def _window(size: int) -> np.ndarray:
    sigma = 1.5 * size / 11
    x, y = np.mgrid[:size, :size] - (size - 1) / 2
    window = np.exp(-(x**2 + y**2) / (2 * sigma**2))
    return window / window.sum()


def _halved(image: np.ndarray) -> np.ndarray:
    height, width = image.shape
    result = np.zeros([(height + 1) // 2, (width + 1) // 2])
    for i, j in np.ndindex(*result.shape):
        for k, m in itertools.product((0, 1), (0, 1)):
            result[i, j] += image[min(2 * i + k, height - 1), min(2 * j + m, width - 1)] / 4
    return result


def _reference(first: np.ndarray, second: np.ndarray) -> float:
    """MS-SSIM of two images [H, W, C] in 0..255, by 2-D convolutions with centred moments."""
    similarities = []
    for channel in range(first.shape[2]):
        x, y = (image[..., channel].astype(np.float64) for image in (first, second))
        similarity = 1.0
        for level, size in enumerate(WINDOWS[min(first.shape[:2])]):
            window = _window(size)
            terms = []
            for i, j in np.ndindex(x.shape[0] - size + 1, x.shape[1] - size + 1):
                a, b = (image[i : i + size, j : j + size] for image in (x, y))
                mean_a, mean_b = (window * a).sum(), (window * b).sum()
                variances = (window * ((a - mean_a) ** 2 + (b - mean_b) ** 2)).sum()
                covariance = (window * (a - mean_a) * (b - mean_b)).sum()
                term = (2 * covariance + C2) / (variances + C2)
                if level == 4:
                    term *= (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
                terms.append(term)
            similarity *= max(np.mean(terms), 0) ** WEIGHTS[level]
            x, y = _halved(x), _halved(y)
        similarities.append(similarity)
    return float(np.mean(similarities))


@pytest.mark.parametrize(
    ("height", "width", "channels"),
    [(16, 16, 1), (28, 28, 1), (28, 28, 3), (28, 37, 1), (37, 28, 1), (32, 32, 3), (64, 64, 1)],
)
def test_is_its_definition(rng, height, width, channels):
    first = _images(rng, 2, height, width, channels)
    # A near copy and an unlike image, in which local terms are negative.
    second = np.concatenate([_noisy(first[:1], rng, 30), _mixed(first[1:], rng)])
    expected = [_reference(a, b) for a, b in zip(first, second, strict=True)]
    assert 0.6 < expected[0] < 0.999
    assert 0.05 < expected[1] < 0.98
    np.testing.assert_allclose(ms_ssim(first, second), expected, rtol=1e-9)


@pytest.mark.parametrize(("height", "width"), [(176, 176), (181, 177)])
def test_agrees_with_tensorflow_at_176(rng, height, width):
    first = _images(rng, 2, height, width, 3)
    second = np.concatenate([_noisy(first[:1], rng, 40), _mixed(first[1:], rng)])
    expected = tf.image.ssim_multiscale(first, second, max_val=255).numpy()
    assert 0.6 < expected[0] < 0.99
    assert 0.05 < expected[1] < 0.98
    np.testing.assert_allclose(ms_ssim(first, second), expected, rtol=1e-4)


@pytest.mark.parametrize("side", [28, 32])
def test_equal_images_have_no_diversity(rng, side):
    images = _images(rng, 5, side, side, 3)
    np.testing.assert_array_equal(ms_ssim(images, images), np.ones(5))
    result = ms_ssim_diversity(np.repeat(images[:1], 12, axis=0), num_batches=3, batch_size=4)
    assert (result.diversity, result.standard_error) == (0, 0)


def test_negative_scales_count_as_zero(rng):
    first = _images(rng, 1, 32, 32, 3)
    np.testing.assert_array_equal(ms_ssim(first, 255 - first), [0])
    # Of one channel: the others keep their shares.
    second = first.copy()
    second[..., 1] = 255 - second[..., 1]
    np.testing.assert_allclose(ms_ssim(first, second), [2 / 3], rtol=1e-12)


def test_symmetric_whatever_block(rng, monkeypatch):
    first = _images(rng, 9, 28, 28, 3)
    second = _mixed(first, rng)
    expected = ms_ssim(first, second)
    np.testing.assert_allclose(ms_ssim(second, first), expected, rtol=1e-12)
    monkeypatch.setattr(module, "_PAIRS_AT_ONCE", 4)
    np.testing.assert_allclose(ms_ssim(first, second), expected, rtol=1e-12)
    apart = [ms_ssim(a[None], b[None])[0] for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(apart, expected, rtol=1e-12)
    assert len(set(expected.tolist())) == 9


def test_floating_images_are_bytes_over_255(rng):
    first = _images(rng, 2, 32, 32, 3)
    second = _mixed(first, rng)
    expected = ms_ssim(first, second)
    np.testing.assert_allclose(ms_ssim(first / 255, second), expected, rtol=1e-9)
    floats = [(images / 255).astype(np.float32) for images in (first, second)]
    np.testing.assert_allclose(ms_ssim(*floats), expected, rtol=1e-4)


def test_diversity_agrees_with_a_loop_over_batches_and_pairs(rng):
    images = _images(rng, 14, 16, 16, 1)
    result = ms_ssim_diversity(images, num_batches=3, batch_size=4, seed=5)
    order = stream(5, "ms_ssim/batches").permutation(14)
    diversities = []
    for batch in (order[:4], order[4:8], order[8:12]):
        pairs = list(itertools.permutations(batch, 2))
        assert len(pairs) == 12
        diversities.append(1 - np.mean([_reference(images[i], images[j]) for i, j in pairs]))
    assert result.diversity == pytest.approx(np.mean(diversities), rel=1e-9)
    mean = sum(diversities) / 3
    variance = sum((value - mean) ** 2 for value in diversities) / 2
    assert result.standard_error == pytest.approx(np.sqrt(variance / 3), rel=1e-6)
    assert (result.num_batches, result.batch_size) == (3, 4)


def test_as_many_batches_as_the_images_suffice_for(rng):
    images = _images(rng, 11, 16, 16, 1)
    assert ms_ssim_diversity(images, batch_size=4).num_batches == 2
    one = ms_ssim_diversity(images[:7], batch_size=4)
    assert one.num_batches == 1
    assert one.standard_error is None
    assert ms_ssim_diversity(images, num_batches=1, batch_size=4).num_batches == 1

"""Multi-scale structural similarity (Wang et al., 2003) and the diversity of samples."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from tfdm.eval.checks import checked_images
from tfdm.eval.config import DiversityConfig
from tfdm.eval.inputs import Inputs
from tfdm.seeds import stream
from tfdm.statistics import standard_error

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW = 11
SIGMA = 1.5
MINIMUM_SIDE = 16
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_PAIRS_AT_ONCE = 16  # a few hundred kilobytes a block: they stay in the cache


@dataclasses.dataclass(frozen=True)
class Diversity:
    """1 − the mean MS-SSIM of pairs of distinct samples: 0 for equal images, at most 1."""

    diversity: float  # the mean over batches
    standard_error: float | None  # over batches, `None` with one
    num_batches: int
    batch_size: int


def ms_ssim_diversity(
    images: npt.ArrayLike, *, num_batches: int = 32, batch_size: int = 64, seed: int = 0
) -> Diversity:
    """Returns the diversity of Appendix I: 1 − mean MS-SSIM over all pairs within batches.

    Images are uint8 [n, H, W, C], or floating in [0, 1], with sides of at least 16. The batches are
    disjoint, fewer where the images do not suffice; `seed` says which images stand in which. Images
    of another type, shape or range, or fewer than `batch_size`, are a `ValueError`.
    """
    DiversityConfig(num_batches, batch_size)  # which checks both
    images = checked_images(images, least=batch_size)
    order = stream(seed, "ms_ssim/batches").permutation(len(images))
    number = min(num_batches, len(images) // batch_size)
    pairs = np.triu_indices(batch_size, 1)
    means = [
        1.0 - float(_similarities(_pixels(images[batch]), *pairs).mean())
        for batch in order[: number * batch_size].reshape(number, batch_size)
    ]
    return Diversity(float(np.mean(means)), standard_error(means), number, batch_size)


def measure(inputs: Inputs, config: DiversityConfig) -> dict[str, Any]:
    """Returns the record of the diversity."""
    images = inputs.images[: config.images_needed]
    return dataclasses.asdict(ms_ssim_diversity(images, **config.to_dict(), seed=inputs.seed))


def ms_ssim(first: npt.ArrayLike, second: npt.ArrayLike) -> np.ndarray:
    """Returns the multi-scale structural similarity of each pair, float64 [P] in [0, 1].

    Images are uint8 [P, H, W, C], or floating in [0, 1], with sides of at least 16.

    Five scales with the weights of Wang et al.; a Gaussian window of 11 pixels and σ = 1.5 that
    shrinks to the shorter side of the image (σ in proportion), taken where it fits; 2x2 means
    between scales, an odd edge repeated as in the authors' script (28 pixels: 28, 14, 7, 4, 2).
    Contrast and structure count at every scale, luminance at the last alone, and a negative mean
    of a scale as 0. Channels are compared apart and averaged. Images of wrong or unequal shapes, or
    out of range, are a `ValueError`.
    """
    a, b = checked_images(first), checked_images(second)
    if a.shape != b.shape:
        raise ValueError(f"images have shapes {a.shape} and {b.shape}, expected equal")
    pixels = np.concatenate([_pixels(a), _pixels(b)])
    return _similarities(pixels, np.arange(len(a)), len(a) + np.arange(len(a)))


def _pixels(images: np.ndarray) -> np.ndarray:
    """Images as float64 [n, C, H, W] in 0..255."""
    if min(images.shape[1:3]) < MINIMUM_SIDE:
        raise ValueError(
            f"images are {images.shape[1]}x{images.shape[2]}, expected sides of at least "
            f"{MINIMUM_SIDE} for five scales"
        )
    scale = 1.0 if images.dtype == np.uint8 else 255.0
    return np.ascontiguousarray(np.moveaxis(images, -1, 1), np.float64) * scale


def _similarities(images: np.ndarray, firsts: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Images [n, C, H, W], indices [P] and [P] -> similarities [P]."""
    result = np.ones([len(firsts), images.shape[1]])
    for level, weight in enumerate(WEIGHTS):
        width = min(WINDOW, *images.shape[2:])
        rows, columns = (_window_matrix(side, width) for side in images.shape[2:])
        means = rows @ images @ columns.T
        variances = rows @ images**2 @ columns.T - means**2
        is_last = level == len(WEIGHTS) - 1
        for start in range(0, len(firsts), _PAIRS_AT_ONCE):
            pairs = slice(start, start + _PAIRS_AT_ONCE)
            i, j = firsts[pairs], seconds[pairs]
            products = means[i] * means[j]
            covariances = rows @ (images[i] * images[j]) @ columns.T - products
            values = (2 * covariances + _C2) / (variances[i] + variances[j] + _C2)
            if is_last:
                values *= (2 * products + _C1) / (means[i] ** 2 + means[j] ** 2 + _C1)
            result[pairs] *= np.maximum(values.mean(axis=(2, 3)), 0) ** weight
        if not is_last:
            images = _halved(images)
    return result.mean(axis=1)


def _window_matrix(side: int, width: int) -> np.ndarray:
    """The matrix [side - w + 1, side] of the Gaussian window of w pixels where it fits."""
    offsets = np.arange(width) - (width - 1) / 2
    window = np.exp(-0.5 * (offsets / (SIGMA * width / WINDOW)) ** 2)
    matrix = np.zeros([side - width + 1, side])
    for row in range(len(matrix)):
        matrix[row, row : row + width] = window / window.sum()
    return matrix


def _halved(images: np.ndarray) -> np.ndarray:
    """Returns the 2x2 means; an odd last row or column is repeated first."""
    height, width = images.shape[2:]
    images = np.pad(images, ((0, 0), (0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    number, channels, height, width = images.shape
    return images.reshape(number, channels, height // 2, 2, width // 2, 2).mean(axis=(3, 5))

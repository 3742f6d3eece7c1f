"""Diagonal Gaussian posteriors q(z|x_n) = N(loc_n, scale_n²) as arrays: their checks, their draws.

Shapes: N data points, L latent dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

# Elements of a block: keeps the temporary float64 arrays at some tens of MiB.
_BLOCK = 2**20


def gaussian_blocks(
    loc: npt.ArrayLike, scale: npt.ArrayLike
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Yields means and standard deviations [N, L] in float64, some rows at a time, checked.

    Raises:
      ValueError: the arrays are not both [N, L] with N ≥ 1 and L ≥ 1, a value is not finite, or
        a scale is not positive.
    """
    loc, scale = np.asarray(loc), np.asarray(scale)
    if loc.ndim != 2 or loc.shape != scale.shape or 0 in loc.shape:
        raise ValueError(
            f"loc has shape {loc.shape} and scale {scale.shape}, "
            "expected [N, L] for both with N >= 1 and L >= 1"
        )
    rows = max(1, _BLOCK // loc.shape[1])
    for start in range(0, len(loc), rows):
        loc_block = loc[start : start + rows].astype(np.float64)
        scale_block = scale[start : start + rows].astype(np.float64)
        _check(np.isfinite(loc_block), "loc", loc_block, start, "a finite value")
        _check(np.isfinite(scale_block), "scale", scale_block, start, "a finite value")
        _check(scale_block > 0, "scale", scale_block, start, "a value > 0")
        yield loc_block, scale_block


def checked_gaussians(loc: npt.ArrayLike, scale: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Returns means and standard deviations, float64 [N, L]; raises as `gaussian_blocks`."""
    for _ in gaussian_blocks(loc, scale):
        pass
    return np.asarray(loc, np.float64), np.asarray(scale, np.float64)


def draw_gaussians(
    loc: FloatArray, scale: FloatArray, num: int, rng: np.random.Generator, kept: int | None = None
) -> tuple[npt.NDArray[np.intp], FloatArray, FloatArray]:
    """Draws n uniformly and z ~ q(z|x_n), `num` times.

    Args:
      loc: [N, L].
      scale: [N, L].
      num: how many.
      rng: where from.
      kept: how many of them are returned, the first ones; all by default.

    Returns:
      n [S], z [S, L] and log q(z|x_n) [S].
    """
    rows = rng.integers(len(loc), size=num)[:kept]
    epsilon = rng.standard_normal((num, loc.shape[1]))[:kept]
    scales = scale[rows]
    log_posterior = -0.5 * np.sum(epsilon**2, axis=1) - np.sum(np.log(scales), axis=1)
    log_posterior -= 0.5 * loc.shape[1] * math.log(2 * math.pi)
    return rows, loc[rows] + scales * epsilon, log_posterior


def gaussian_log_prob(codes: FloatArray, loc: FloatArray, scale: FloatArray) -> FloatArray:
    """Returns log N(z_b; loc_b, scale_b²) [B] of codes, means and deviations [B, L]."""
    squares = ((codes - loc) / scale) ** 2 + math.log(2 * math.pi)
    return -0.5 * np.sum(squares, axis=1) - np.sum(np.log(scale), axis=1)


def _check(
    valid: npt.NDArray[np.bool_], name: str, values: FloatArray, first_row: int, expected: str
) -> None:
    """Raises `ValueError` with the first value of a block that is not valid."""
    if not valid.all():
        row, column = np.argwhere(~valid)[0]
        raise ValueError(
            f"{name}[{first_row + row}, {column}] is {values[row, column]}, expected {expected}"
        )

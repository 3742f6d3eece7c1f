"""Where an estimator's codes come from: draws of the aggregate posterior q(z), any number of them.

Shapes: N data points, L latent dimensions, S samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tfdm.seeds import stream
from tfdm.statistics import FloatArray, real_numbers

Seed = int | np.random.Generator


class CodeSampler(Protocol):
    """Draws codes of q(z); every draw is a function of its seed alone."""

    @property
    def latent_dim(self) -> int:
        """L, the dimension of a code."""

    def sample(self, num: int, seed: Seed) -> FloatArray:
        """Returns float64 [num, L] independent draws; `seed` as for `np.random.default_rng`."""


class GaussianCodes:
    """z ~ N(loc_n, scale_n²), both [N, L], for a uniformly drawn n: fresh codes at every call."""

    def __init__(self, loc: npt.ArrayLike, scale: npt.ArrayLike) -> None:
        self.loc, self.scale = checked_gaussians(loc, scale)
        self.num_data, self.latent_dim = self.loc.shape

    def sample(self, num: int, seed: Seed) -> FloatArray:
        """Returns float64 [num, L] new draws, a function of `seed`."""
        return draw_gaussians(self.loc, self.scale, num, np.random.default_rng(seed))[1]


class FixedCodes:
    """Codes [N, L], finite, that are all there is, of an encoder without a density.

    Held-out ones are another `FixedCodes`, of other data.
    """

    def __init__(self, codes: npt.ArrayLike, probes: FloatArray | None = None) -> None:
        """Takes codes [N, L], finite; raises `ValueError` for others.

        `probes` tell their source from others, whatever the seed of the codes; by default `codes`.
        """
        self.codes = real_numbers("codes", codes)
        if self.codes.ndim != 2 or 0 in self.codes.shape:
            raise ValueError(
                f"codes have shape {self.codes.shape}, expected [N, L] with N >= 1 and L >= 1"
            )
        _check("codes", self.codes, np.isfinite(self.codes), "a finite value")
        self.num_data, self.latent_dim = self.codes.shape
        self.probes = self.codes if probes is None else probes

    def sample(self, num: int, seed: Seed) -> FloatArray:
        """Returns float64 [num, L], drawn with replacement, a function of `seed`."""
        return self.codes[np.random.default_rng(seed).integers(len(self.codes), size=num)]


def checked_gaussians(
    loc: npt.ArrayLike, scale: npt.ArrayLike, names: tuple[str, str] = ("loc", "scale")
) -> tuple[FloatArray, FloatArray]:
    """Returns the means and standard deviations of diagonal Gaussians, float64 [N, L].

    `names` are what the caller calls them. `ValueError`: they are not both [N, L] with N ≥ 1 and
    L ≥ 1, of real and finite numbers, or a scale is not > 0.
    """
    loc, scale = real_numbers(names[0], loc), real_numbers(names[1], scale)
    if loc.ndim != 2 or loc.shape != scale.shape or 0 in loc.shape:
        raise ValueError(
            f"{names[0]} has shape {loc.shape} and {names[1]} {scale.shape}, "
            "expected [N, L] for both with N >= 1 and L >= 1"
        )
    _check(names[0], loc, np.isfinite(loc), "a finite value")
    _check(names[1], scale, np.isfinite(scale), "a finite value")
    advice = " (of a log-variance v the scale is exp(v / 2))" if np.mean(scale <= 0) > 0.1 else ""
    _check(names[1], scale, scale > 0, f"a value > 0{advice}")
    return loc, scale


def draw_gaussians(
    loc: FloatArray, scale: FloatArray, num: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.intp], FloatArray, FloatArray]:
    """Draws n uniformly and z ~ q(z|x_n); returns n [num], z [num, L] and log q(z|x_n) [num]."""
    rows = rng.integers(len(loc), size=num)
    epsilon = rng.standard_normal((num, loc.shape[1]))
    scales = scale[rows]
    log_posterior = -0.5 * np.sum(epsilon**2, axis=1) - np.sum(np.log(scales), axis=1)
    log_posterior -= 0.5 * loc.shape[1] * math.log(2 * math.pi)
    return rows, loc[rows] + scales * epsilon, log_posterior


def selection_and_value(
    codes: CodeSampler, held_out: CodeSampler | None
) -> tuple[CodeSampler, CodeSampler]:
    """Returns where codes come from that choose (when to stop, a temperature), and that count.

    Both are fresh draws where there are any number of them. Codes that are all there is need
    held-out ones, at least four or it is a `ValueError`, of which every other one chooses.
    """
    source = held_out or codes
    if not isinstance(source, FixedCodes):
        return source, source
    number = 0 if held_out is None else len(source.codes)
    if number < 4:
        raise ValueError(f"{number} held-out codes, expected 4 or more where the codes are fixed")
    return FixedCodes(source.codes[::2]), FixedCodes(source.codes[1::2])


def evaluation_blocks(
    codes: CodeSampler, num: int, size: int, seed: int, name: str
) -> Iterator[FloatArray]:
    """Yields at most `num` independent codes for a mean with a standard error, `size` at a time.

    Fresh draws where there are any number of them, each block a function of `seed`, the `name` of
    the stream and its place. Codes that are all there is come once each, since a repetition would
    count as news.
    """
    if isinstance(codes, FixedCodes):
        fixed = codes.codes[:num]
        yield from (fixed[start : start + size] for start in range(0, len(fixed), size))
        return
    for index, start in enumerate(range(0, num, size)):
        yield codes.sample(min(size, num - start), stream(seed, name, index))


def in_blocks(
    function: Callable[[npt.NDArray[np.float32]], Any], codes: FloatArray, size: int
) -> FloatArray:
    """Returns a tensor [S] for each of any number of codes [S, L], `size` at a time, float64."""
    blocks = (codes[start : start + size] for start in range(0, len(codes), size))
    parts = [function(block.astype(np.float32)).numpy() for block in blocks]
    return np.concatenate(parts).astype(np.float64)


def require_at_least(**least: tuple[int, int]) -> None:
    """Raises `ValueError` for a number, named, whose value is below the least admissible one."""
    for name, (value, minimum) in least.items():
        if value < minimum:
            raise ValueError(f"{name} is {value}, expected {minimum} or more")


def _check(name: str, values: FloatArray, valid: npt.NDArray[np.bool_], expected: str) -> None:
    """Raises `ValueError` with the first value that is not valid."""
    if not valid.all():
        row, column = np.argwhere(~valid)[0]
        raise ValueError(f"{name}[{row}, {column}] is {values[row, column]}, expected {expected}")

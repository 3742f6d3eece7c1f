"""Where an estimator's codes come from: draws of the aggregate posterior q(z), any number of them.

Shapes: N data points, L latent dimensions, S samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tfdm.estimators.gaussian import checked_gaussians, draw_gaussians
from tfdm.seeds import stream

FloatArray = npt.NDArray[np.float64]
Seed = int | np.random.Generator


class CodeSampler(Protocol):
    """Draws codes of q(z); every draw is a function of its seed alone."""

    @property
    def latent_dim(self) -> int:
        """L, the dimension of a code."""

    def sample(self, num: int, seed: Seed) -> FloatArray:
        """Returns float64 [num, L] independent draws; `seed` as for `np.random.default_rng`."""


class GaussianCodes:
    """z ~ q(z|x_n) = N(loc_n, scale_n²) for a uniformly drawn n: fresh codes at every call."""

    def __init__(self, loc: npt.ArrayLike, scale: npt.ArrayLike) -> None:
        """Takes the means and standard deviations [N, L] of the posteriors.

        Raises:
          ValueError: the arrays are not both [N, L], a value is not finite or a scale not > 0.
        """
        self.loc, self.scale = checked_gaussians(loc, scale)

    @property
    def num_data(self) -> int:
        """N."""
        return len(self.loc)

    @property
    def latent_dim(self) -> int:
        """L, the dimension of a code."""
        return self.loc.shape[1]

    def sample(self, num: int, seed: Seed) -> FloatArray:
        """Returns float64 [num, L] new draws, a function of `seed`."""
        return draw_gaussians(self.loc, self.scale, num, np.random.default_rng(seed))[1]


class FixedCodes:
    """Codes that are all there is, of an encoder without a density: drawn with replacement.

    Held-out codes of such an encoder are those of other data: give them as another `FixedCodes`.
    """

    def __init__(self, codes: npt.ArrayLike) -> None:
        """Takes codes [N, L].

        Raises:
          ValueError: the array is not [N, L], or a value is not finite.
        """
        self.codes = np.asarray(codes, np.float64)
        if self.codes.ndim != 2 or 0 in self.codes.shape:
            raise ValueError(
                f"codes have shape {self.codes.shape}, expected [N, L] with N >= 1 and L >= 1"
            )
        if not np.isfinite(self.codes).all():
            row, column = np.argwhere(~np.isfinite(self.codes))[0]
            raise ValueError(
                f"codes[{row}, {column}] is {self.codes[row, column]}, expected a finite value"
            )

    @property
    def num_data(self) -> int:
        """N."""
        return len(self.codes)

    @property
    def latent_dim(self) -> int:
        """L, the dimension of a code."""
        return self.codes.shape[1]

    def sample(self, num: int, seed: Seed) -> FloatArray:
        """Returns float64 [num, L] of the codes, drawn with replacement, a function of `seed`."""
        return self.codes[np.random.default_rng(seed).integers(len(self.codes), size=num)]


def selection_and_value(
    codes: CodeSampler, held_out: CodeSampler | None
) -> tuple[CodeSampler, CodeSampler]:
    """Returns where codes come from that choose (when to stop, a temperature), and that count.

    Both are fresh draws where there are any number of them. Codes that are all there is need
    held-out ones, of which every other one chooses.

    Raises:
      ValueError: `codes` are fixed and `held_out` is missing or has fewer than four codes.
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
    """Yields codes for a mean with a standard error: independent ones, at most `num` in all.

    Fresh draws where there are any number of them; codes that are all there is come once each,
    since a repetition would count as news.

    Args:
      codes: where they come from.
      num: the most codes in all.
      size: the most codes in a block.
      seed: of the draws; a block is a function of it, the name and its place.
      name: of their stream.
    """
    fixed = codes.codes[:num] if isinstance(codes, FixedCodes) else None
    for index, start in enumerate(range(0, num if fixed is None else len(fixed), size)):
        if fixed is None:
            yield codes.sample(min(size, num - start), stream(seed, name, index))
        else:
            yield fixed[start : start + size]

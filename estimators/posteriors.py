"""Posteriors q(z|x) as objects that are asked by capability, and what is done with them.

A posterior is over B data points. It has `sample`, and where they exist `log_prob` (a density) and
`loc` and `scale` (a diagonal Gaussian). Posteriors of many data are made a block at a time, so that
a model's encoder is never asked for all of them at once.

Shapes: N data points, B of a block, L latent dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tfdm.distributions.posteriors import GaussianPosterior, Posterior
from tfdm.estimators.codes import CodeSampler, FixedCodes, GaussianCodes
from tfdm.estimators.priors import checked_log_prob
from tfdm.seeds import derive, stream
from tfdm.statistics import FloatArray, real_numbers

Rows = npt.NDArray[np.intp]

# Data points of a block.
BLOCK = 500
# Data points whose codes tell posteriors from others.
PROBES = 16
# Codes of a density that is not Gaussian to which an estimator fits something.
_BANK = 50_000


def gaussian_parameters(posterior: Any) -> tuple[FloatArray, FloatArray] | None:
    """Returns loc and scale, float64 [B, L], of a diagonal Gaussian, `None` of another posterior.

    A `scale` that is not one number for each of `loc`, such as a matrix, does not count, nor does
    a posterior whose own log_prob of one draw, [B], is another.
    """
    loc, scale = getattr(posterior, "loc", None), getattr(posterior, "scale", None)
    if loc is None or scale is None or tuple(loc.shape) != tuple(scale.shape):
        return None
    loc, scale = real_numbers("loc", loc), real_numbers("scale", scale)
    if type(posterior) is not GaussianPosterior and hasattr(posterior, "log_prob"):
        codes = posterior.sample(seed=0)
        values = np.asarray(posterior.log_prob(codes), np.float64)
        expected = _gaussian_log_prob(np.asarray(codes, np.float64), loc, scale)
        if values.shape != expected.shape or not np.allclose(values, expected, 1e-4, 1e-2):
            return None
    return loc, scale


def draw(posterior: Posterior, seed: int) -> tuple[FloatArray, FloatArray]:
    """Returns one z ~ q(z|x) for each x, float64 [B, L], and log q(z|x), float64 [B].

    `ValueError` where the posterior has no density, or a log-density is NaN or +inf.
    """
    gaussian = gaussian_parameters(posterior)
    if gaussian is not None:
        loc, scale = gaussian
        codes = loc + scale * stream(seed, "kl/posterior").standard_normal(loc.shape)
        return codes, _gaussian_log_prob(codes, loc, scale)
    if not hasattr(posterior, "log_prob"):
        raise ValueError("the posterior has no log_prob, expected one with a density")
    codes = draw_codes(posterior, seed)
    return codes, checked_log_prob(posterior.log_prob(codes), codes.shape[:1], "log_prob")


def draw_codes(posterior: Posterior, seed: int) -> FloatArray:
    """Returns one z ~ q(z|x) for each x, float64 [B, L]; `ValueError` for another shape."""
    codes = real_numbers("the posterior's samples", posterior.sample(seed=seed))
    if codes.ndim != 2 or 0 in codes.shape:
        raise ValueError(f"the posterior's samples have shape {codes.shape}, expected [B, L]")
    return codes


class DataPosteriors:
    """q(z|x_n) of `num_data` points, codes of `latent_dim`, with densities, a block at a time."""

    def __init__(
        self,
        posterior_of: Callable[[Rows], Any],
        num_data: int,
        latent_dim: int,
        block: int = BLOCK,
    ) -> None:
        """Takes the function from data points n [B], at most `block` of them, to q(z|x_n)."""
        self._of, self._block = posterior_of, block
        self.num_data, self.latent_dim = num_data, latent_dim

    @classmethod
    def whole(cls, posterior: Posterior) -> DataPosteriors:
        """Returns the data points of one object, which is never asked for a part of them."""
        num_data, latent_dim = draw_codes(posterior, 0).shape
        return cls(lambda rows: posterior, num_data, latent_dim, num_data)

    def blocks(self) -> Iterator[tuple[Rows, Any]]:
        """Yields data points n [B] and q(z|x_n)."""
        return ((rows, self._of(rows)) for rows in _blocks(self.num_data, self._block))

    def subset(self, num: int, seed: int) -> DataPosteriors:
        """Returns the posteriors of `num` data points, drawn without replacement.

        All of them where there are no more, or where they are the parts of one object.
        """
        if num >= self.num_data or self._block >= self.num_data:
            return self
        chosen = np.sort(stream(seed, "kl/subset").permutation(self.num_data)[:num])
        return DataPosteriors(lambda rows: self._of(chosen[rows]), num, self.latent_dim, num)

    def draw(self, seed: int) -> tuple[FloatArray, FloatArray]:
        """Returns one z ~ q(z|x_n) for each n, [N, L], and log q(z|x_n) [N], of `seed`."""
        drawn = [
            draw(posterior, derive(seed, "kl/posterior/block", int(rows[0])))
            for rows, posterior in self.blocks()
        ]
        return np.concatenate([d[0] for d in drawn]), np.concatenate([d[1] for d in drawn])

    def draws(self, num: int, seed: int) -> Iterator[tuple[FloatArray, FloatArray]]:
        """Yields `draw` anew until there are `num` codes or more."""
        for index in range(-(-num // self.num_data)):
            yield self.draw(derive(seed, "kl/posterior/round", index))

    def bank(self, seed: int) -> FixedCodes:
        """Returns 50,000 codes of q(z) or more, the same number from each data point."""
        return FixedCodes(np.concatenate([codes for codes, _ in self.draws(_BANK, seed)]))


Posteriors = GaussianCodes | DataPosteriors | FixedCodes


def make_posteriors(
    posterior_of: Callable[[Rows], Any],
    num_data: int,
    progress: Callable[[int], Any] = lambda done: None,
    seed: int = 0,
) -> Posteriors:
    """Asks q(z|x_n) of rows n [B] for what they can: a Gaussian's arrays, a density, else codes.

    `progress` is called with the data points done; `seed` is that of the codes.
    """
    parts: list[tuple[FloatArray, ...]] = []
    for rows in _blocks(num_data, BLOCK):
        posterior = posterior_of(rows)
        gaussian = gaussian_parameters(posterior)
        if gaussian is None and hasattr(posterior, "log_prob"):
            return DataPosteriors(posterior_of, num_data, draw_codes(posterior, 0).shape[1])
        parts.append(gaussian or (draw_codes(posterior, derive(seed, "kl/codes", int(rows[0]))),))
        progress(int(rows[-1]) + 1)
    arrays = [np.concatenate(part) for part in zip(*parts, strict=True)]
    if len(arrays) == 2:
        return GaussianCodes(*arrays)
    probes = draw_codes(posterior_of(np.arange(min(num_data, PROBES))), 0)
    return FixedCodes(arrays[0], probes)


def codes_to_fit(
    posteriors: Posteriors, held_out: Posteriors | None, seed: int
) -> tuple[CodeSampler, CodeSampler | None]:
    """Returns codes to fit to, and codes that are held out where fresh ones cannot be had.

    Gaussian posteriors give fresh codes at will. Other densities give two banks of codes. Of an
    encoder without a density the codes of other data are held out, or every fifth code.
    """
    if isinstance(posteriors, GaussianCodes):
        return posteriors, None
    if isinstance(posteriors, DataPosteriors):
        names = "kl/bank/fitted", "kl/bank/held_out"
        fitted, other = (posteriors.bank(derive(seed, name)) for name in names)
        return fitted, other
    if isinstance(held_out, FixedCodes):
        return posteriors, held_out
    is_held_out = np.arange(len(posteriors.codes)) % 5 == 4
    if not is_held_out.any():
        return posteriors, None
    return FixedCodes(posteriors.codes[~is_held_out]), FixedCodes(posteriors.codes[is_held_out])


def _gaussian_log_prob(codes: FloatArray, loc: FloatArray, scale: FloatArray) -> FloatArray:
    squares = ((codes - loc) / scale) ** 2 + math.log(2 * math.pi)
    return -0.5 * np.sum(squares, axis=-1) - np.sum(np.log(scale), axis=-1)


def _blocks(num: int, size: int) -> Iterator[Rows]:
    return (np.arange(start, min(start + size, num)) for start in range(0, num, size))

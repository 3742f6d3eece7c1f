"""Bridges between q(z) and p(z) for a telescoping density ratio (Rhodes, Xu and Gutmann 2020).

A classifier between two distributions that hardly overlap learns little more than that. The ratio
is a product of ratios between neighbours of a chain q = q_0, q_1, .., q_{K+1} = p, each of them
easy. The chain mixes codes of the two ends, so that every member is sampled directly:

    z_k = √(1 − a_k²) z_q + a_k z_p,  a_k = (k / (K + 1))^power.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tfdm.estimators.codes import CodeSampler

FloatArray = npt.NDArray[np.float64]


class StandardNormalCodes:
    """z ~ p(z) = N(0, I)."""

    def __init__(self, num_latents: int) -> None:
        self._num_latents = num_latents

    @property
    def num_latents(self) -> int:
        """L, the dimension of a code."""
        return self._num_latents

    def sample(self, num: int, seed: int | Sequence[int]) -> FloatArray:
        """Returns float64 [num, L] new draws, a function of `seed`."""
        return np.random.default_rng(seed).standard_normal((num, self._num_latents))


class BridgeCodes:
    """√(1 − a²) z_q + a z_p with z_q of a sampler and z_p ~ N(0, I)."""

    def __init__(self, codes: CodeSampler, share: float) -> None:
        """Takes the sampler of z_q and a in [0, 1]."""
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"share is {share}, expected 0 to 1")
        self._codes, self._share = codes, share

    @property
    def num_latents(self) -> int:
        """L, the dimension of a code."""
        return self._codes.num_latents

    def sample(self, num: int, seed: int | Sequence[int]) -> FloatArray:
        """Returns float64 [num, L] new draws, a function of `seed`."""
        key = [seed] if isinstance(seed, int) else list(seed)
        codes = self._codes.sample(num, [*key, 0])
        noise = np.random.default_rng([*key, 1]).standard_normal(codes.shape)
        return math.sqrt(1.0 - self._share**2) * codes + self._share * noise


def chain(codes: CodeSampler, num_bridges: int, power: float = 1.0) -> list[CodeSampler]:
    """Returns the samplers q_0 = q to q_{K+1} = p."""
    shares = [(k / (num_bridges + 1)) ** power for k in range(1, num_bridges + 1)]
    bridges = [BridgeCodes(codes, share) for share in shares]
    return [codes, *bridges, StandardNormalCodes(codes.num_latents)]

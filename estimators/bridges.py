"""Bridges between q(z) and p(z) for a telescoping density ratio (Rhodes, Xu and Gutmann 2020).

A classifier between two distributions that hardly overlap learns little more than that. The ratio
is a product of ratios between neighbours of a chain q = q_0, q_1, .., q_{K+1} = p, each of them
easy. The chain mixes codes of the two ends, so that every member is sampled directly:

    z_k = √(1 − a_k²) z_q + a_k z_p,  a_k = (k / (K + 1))^power.
"""

from __future__ import annotations

import math

import numpy as np

from tfdm.distributions.priors import Prior
from tfdm.estimators.codes import CodeSampler, FloatArray, Seed
from tfdm.estimators.priors import PriorCodes


class BridgeCodes:
    """√(1 − a²) z_q + a z_p with z_q of a sampler and z_p of the prior's.

    Attributes:
      latent_dim: L.
    """

    def __init__(self, codes: CodeSampler, prior: PriorCodes, share: float) -> None:
        """Takes the samplers of z_q and z_p, and a in [0, 1]."""
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"share is {share}, expected 0 to 1")
        self._codes, self._prior, self._share = codes, prior, share
        self.latent_dim = codes.latent_dim

    def sample(self, num: int, seed: Seed) -> FloatArray:
        """Returns float64 [num, L] new draws, a function of `seed`."""
        rng = np.random.default_rng(seed)
        codes = math.sqrt(1.0 - self._share**2) * self._codes.sample(num, rng)
        return codes + self._share * self._prior.sample(num, rng)


def chain(
    codes: CodeSampler, num_bridges: int, power: float = 1.0, prior: Prior | None = None
) -> list[CodeSampler]:
    """Returns the samplers q_0 = q to q_{K+1} = p, by default N(0, I)."""
    end = PriorCodes(codes.latent_dim, prior)
    shares = [(k / (num_bridges + 1)) ** power for k in range(1, num_bridges + 1)]
    return [codes, *(BridgeCodes(codes, end, share) for share in shares), end]

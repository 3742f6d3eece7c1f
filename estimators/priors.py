"""The prior p(z) as the estimators use it; `None` is N(0, I) in closed form.

Shapes: S samples, L latent dimensions.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfdm.distributions.priors import Prior, StandardNormal
from tfdm.estimators.codes import CodeSampler, Seed
from tfdm.seeds import stream
from tfdm.statistics import FloatArray, digest

# Codes whose densities tell one prior from another.
_PROBES = 16


def checked_prior(prior: Prior | None, latent_dim: int) -> Prior | None:
    """Returns the prior, `None` for a standard normal one.

    `ValueError` where it lacks what a prior has, or is over codes of another dimension.
    """
    if prior is None:
        return None
    for name in ("latent_dim", "log_prob", "from_noise"):
        if not hasattr(prior, name):
            raise ValueError(
                f"the prior is a {type(prior).__name__} without {name}, "
                "expected latent_dim, log_prob and from_noise"
            )
    if prior.latent_dim != latent_dim:
        raise ValueError(f"the prior has latent_dim {prior.latent_dim}, expected {latent_dim}")
    # A subclass may be of another distribution.
    return None if type(prior) is StandardNormal else prior


def log_prior(prior: Prior | None, codes: FloatArray) -> FloatArray:
    """Returns log p(z) of codes [S, L], float64 [S]; raises as `checked_log_prob`."""
    if prior is None:
        return -0.5 * (np.sum(codes**2, axis=1) + codes.shape[1] * math.log(2 * math.pi))
    values = prior.log_prob(tf.constant(codes, tf.float32))
    return checked_log_prob(values, (len(codes),), "the prior's log_prob")


def checked_log_prob(values: npt.ArrayLike, shape: tuple[int, ...], name: str) -> FloatArray:
    """Returns log-densities in float64; `ValueError` for another shape, NaN or +inf."""
    values = np.asarray(values, np.float64)
    if values.shape != shape:
        raise ValueError(f"{name} has shape {values.shape}, expected {shape}")
    if np.isnan(values).any() or np.isposinf(values).any():
        raise ValueError(f"{name} is NaN or +inf, expected log-densities")
    return values


def prior_digest(prior: Prior | None) -> str:
    """Returns a digest that tells one prior from another, by their values at a few codes."""
    if prior is None:
        return ""
    codes = PriorCodes(prior.latent_dim, prior).sample(_PROBES, stream(0, "kl/prior/probes"))
    return digest(codes, log_prior(prior, codes))


class PriorCodes:
    """Codes z ~ p(z) of dimension `latent_dim`, by default of N(0, I)."""

    def __init__(self, latent_dim: int, prior: Prior | None = None) -> None:
        self.latent_dim, self._prior = latent_dim, prior

    def sample(self, num: int, seed: Seed) -> FloatArray:
        """Returns float64 [num, L] new draws, a function of `seed`."""
        noise = np.random.default_rng(seed).standard_normal((num, self.latent_dim))
        if self._prior is None:
            return noise
        return np.asarray(self._prior.from_noise(tf.constant(noise, tf.float32)), np.float64)


class BridgeCodes:
    """√(1 − a²) z_q + a z_p with z_q and z_p of two samplers, and a share a in [0, 1]."""

    def __init__(self, codes: CodeSampler, prior: CodeSampler, share: float) -> None:
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
    """Returns samplers q_0 = q to q_{K+1} = p for a telescoping density ratio.

    A classifier between two distributions that hardly overlap learns little more than that. The
    ratio is a product of ratios between neighbours of a chain, each of them easy (Rhodes, Xu and
    Gutmann 2020). The chain mixes codes of the two ends, so that every member is sampled directly:

        z_k = √(1 − a_k²) z_q + a_k z_p,  a_k = (k / (K + 1))^power.
    """
    end = PriorCodes(codes.latent_dim, prior)
    shares = [(k / (num_bridges + 1)) ** power for k in range(1, num_bridges + 1)]
    return [codes, *(BridgeCodes(codes, end, share) for share in shares), end]

"""The prior p(z) as the estimators use it; `None` is N(0, I) in closed form.

Shapes: S samples, L latent dimensions.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from tfdm.distributions.priors import Prior, StandardNormal
from tfdm.seeds import stream
from tfdm.statistics import digest

FloatArray = npt.NDArray[np.float64]

# Codes whose densities tell one prior from another.
_PROBES = 16


def checked_prior(prior: Prior | None, latent_dim: int) -> Prior | None:
    """Returns the prior, `None` for a standard normal one.

    Raises:
      ValueError: the prior is over codes of another dimension.
    """
    if prior is None:
        return None
    if prior.latent_dim != latent_dim:
        raise ValueError(f"the prior has latent_dim {prior.latent_dim}, expected {latent_dim}")
    return None if isinstance(prior, StandardNormal) else prior


def log_prior(prior: Prior | None, codes: FloatArray) -> FloatArray:
    """Returns log p(z) of codes [S, L], float64 [S].

    Raises:
      ValueError: a log-density is NaN or +inf, or there is not one for each code.
    """
    if prior is None:
        return -0.5 * (np.sum(codes**2, axis=1) + codes.shape[1] * math.log(2 * math.pi))
    return checked_log_prob(prior.log_prob(codes), (len(codes),), "the prior's log_prob")


def checked_log_prob(values: npt.ArrayLike, shape: tuple[int, ...], name: str) -> FloatArray:
    """Returns log-densities in float64.

    Raises:
      ValueError: they have another shape, or one is NaN or +inf.
    """
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
    """Codes z ~ p(z).

    Attributes:
      latent_dim: L.
    """

    def __init__(self, latent_dim: int, prior: Prior | None = None) -> None:
        """Takes L and the prior, by default N(0, I)."""
        self.latent_dim, self._prior = latent_dim, prior

    def sample(self, num: int, seed: int | np.random.Generator) -> FloatArray:
        """Returns float64 [num, L] new draws, a function of `seed`."""
        noise = np.random.default_rng(seed).standard_normal((num, self.latent_dim))
        if self._prior is None:
            return noise
        return np.asarray(self._prior.from_noise(noise), np.float64)

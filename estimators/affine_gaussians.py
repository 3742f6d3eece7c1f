"""Gaussians made by an affine map of noise, and the divergence between two of them (eq. 8).

z ~ N(0, I_k), x = Wᵀz + b, so that x ~ N(b, WᵀW); k = 10 d keeps WᵀW well conditioned.
Shapes: D dimensions of x, K = 10 D of z.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from tfdm.statistics import FloatArray

# K over D (section 5).
NOISE_FACTOR = 10


@dataclasses.dataclass(frozen=True, eq=False)
class AffineGaussian:
    """N(b, WᵀW)."""

    weights: FloatArray  # W, float64 [K, D]
    bias: FloatArray  # b, float64 [D]

    @property
    def covariance(self) -> FloatArray:
        """WᵀW, [D, D]."""
        return self.weights.T @ self.weights

    @property
    def cholesky(self) -> FloatArray:
        """The lower triangular C [D, D] with C Cᵀ = WᵀW: b + C ε is a cheaper sample."""
        return np.linalg.cholesky(self.covariance).astype(np.float64)


def random_gaussian(dim: int, parameter_scale: float, rng: np.random.Generator) -> AffineGaussian:
    """Draws W and b with entries N(0, parameter_scale²); the paper does not say how it did."""
    weights = parameter_scale * rng.standard_normal((NOISE_FACTOR * dim, dim))
    return AffineGaussian(weights, parameter_scale * rng.standard_normal(dim))


def kl_between(first: AffineGaussian, second: AffineGaussian) -> float:
    """Returns KL[first ‖ second] in nats, in closed form and float64.

    NaN where a parameter is not finite or a covariance is not positive definite.
    """
    values = (first.weights, first.bias, second.weights, second.bias)
    if not all(np.isfinite(value).all() for value in values):
        return float("nan")
    try:
        of_first, of_second = first.cholesky, second.cholesky
    except np.linalg.LinAlgError:
        return float("nan")
    # tr(Σ₂⁻¹ Σ₁) = ‖C₂⁻¹ C₁‖², (b₁ − b₂)ᵀ Σ₂⁻¹ (b₁ − b₂) = ‖C₂⁻¹ (b₁ − b₂)‖².
    columns = np.column_stack([of_first, first.bias - second.bias])
    solved = np.linalg.solve(of_second, columns)
    log_determinants = 2.0 * np.sum(np.log(np.diag(of_second)) - np.log(np.diag(of_first)))
    return float(0.5 * (np.sum(solved**2) - len(first.bias) + log_determinants))

"""Gaussians whose KL is known, as priors and as posteriors."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import tensorflow as tf
from scipy import integrate, special, stats


class GaussianPrior:
    """N(loc, C Cᵀ)."""

    def __init__(self, loc: Any, cholesky: Any) -> None:
        self.loc, self.cholesky = np.asarray(loc, np.float64), np.asarray(cholesky, np.float64)
        self.latent_dim = len(self.loc)

    @property
    def covariance(self) -> np.ndarray:
        return self.cholesky @ self.cholesky.T

    def log_prob(self, codes: np.ndarray) -> np.ndarray:
        return np.asarray(stats.multivariate_normal.logpdf(codes, self.loc, self.covariance))

    def from_noise(self, noise: np.ndarray) -> np.ndarray:
        return self.loc + np.asarray(noise) @ self.cholesky.T

    def shifted(self, by: Any) -> GaussianPrior:
        return GaussianPrior(self.loc + by, self.cholesky)


class FullCovariance:
    """q(z|x_n) = N(mean_n, C Cᵀ): a posterior that has a density and no `loc` and `scale`."""

    def __init__(self, means: Any, cholesky: Any) -> None:
        self.means, self.cholesky = np.asarray(means, np.float64), np.asarray(cholesky, np.float64)
        self.largest = 0  # pairs that were asked for at once

    def sample(self, sample_shape: Any = (), seed: int = 0) -> np.ndarray:
        noise = np.random.default_rng(seed).standard_normal((*sample_shape, *self.means.shape))
        return self.means + noise @ self.cholesky.T

    def log_prob(self, codes: np.ndarray) -> np.ndarray:
        self.largest = max(self.largest, codes[..., 0].size)
        noise = np.linalg.solve(self.cholesky, (codes - self.means)[..., None])[..., 0]
        log_determinant = np.sum(np.log(np.diag(self.cholesky)))
        constant = 0.5 * self.means.shape[-1] * np.log(2 * np.pi)
        return -0.5 * np.sum(noise**2, axis=-1) - log_determinant - constant


class TensorPrior:
    """N(0, I) in float32 tensors alone, as a model's learned prior is written."""

    latent_dim = 2

    def __init__(self) -> None:
        self.scale = tf.constant(1.0)

    def log_prob(self, codes: tf.Tensor) -> tf.Tensor:
        return -0.5 * tf.reduce_sum((codes / self.scale) ** 2, axis=-1) - math.log(2 * math.pi)

    def from_noise(self, noise: tf.Tensor) -> tf.Tensor:
        return self.scale * noise


CORRELATED = GaussianPrior([0.3, -0.4], [[1.1, 0.0], [0.5, 0.9]])


def gaussian_kl(loc: Any, covariance: Any, prior: GaussianPrior | None = None) -> float:
    """KL[N(loc, covariance) ‖ p], p = N(0, I) by default, in nats."""
    loc, covariance = np.asarray(loc, np.float64), np.asarray(covariance, np.float64)
    prior = prior or GaussianPrior(np.zeros(len(loc)), np.eye(len(loc)))
    inverse, difference = np.linalg.inv(prior.covariance), loc - prior.loc
    log_determinants = np.linalg.slogdet(prior.covariance)[1] - np.linalg.slogdet(covariance)[1]
    trace = np.trace(inverse @ covariance)
    return 0.5 * float(trace + difference @ inverse @ difference - len(loc) + log_determinants)


def marginal_kl(loc: np.ndarray, scale: np.ndarray) -> float:
    """KL[mixture of N(loc, scale²) ‖ N(0, 1)] in one dimension, by adaptive integration."""

    def integrand(z: float) -> float:
        log_q = special.logsumexp(stats.norm.logpdf(z, loc, scale)) - math.log(loc.size)
        return math.exp(log_q) * (log_q - stats.norm.logpdf(z))

    edges = np.unique(np.clip(np.concatenate([loc - 9 * scale, loc, loc + 9 * scale]), -40, 40))
    parts = [integrate.quad(integrand, a, b, epsabs=1e-10)[0] for a, b in itertools.pairwise(edges)]
    return math.fsum(parts)

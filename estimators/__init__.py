"""What is known of KL[q(z) ‖ p(z)], the distance of the aggregate posterior from the prior.

The estimators take arrays and distributions, never a model, so that they serve any encoder.
Everything is in nats. A name's module is imported when the name is first used.
"""

from __future__ import annotations

from tfdm.lazy import lazy_attributes

_MODULES = {
    "CodeSampler": "tfdm.estimators.codes",
    "FixedCodes": "tfdm.estimators.codes",
    "GaussianCodes": "tfdm.estimators.codes",
    "MixtureDensity": "tfdm.estimators.mixture",
    "MonteCarloKL": "tfdm.estimators.monte_carlo",
    "PosteriorBounds": "tfdm.estimators.bounds",
    "monte_carlo_kl": "tfdm.estimators.monte_carlo",
    "posterior_bounds": "tfdm.estimators.bounds",
}

__all__ = [
    "CodeSampler",
    "FixedCodes",
    "GaussianCodes",
    "MixtureDensity",
    "MonteCarloKL",
    "PosteriorBounds",
    "monte_carlo_kl",
    "posterior_bounds",
]

__getattr__, __dir__ = lazy_attributes(__name__, _MODULES)

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
    "ImportanceWeightedBound": "tfdm.estimators.importance_weighted",
    "MixtureDensity": "tfdm.estimators.mixture",
    "MonteCarloKL": "tfdm.estimators.monte_carlo",
    "PosteriorBounds": "tfdm.estimators.bounds",
    "Posteriors": "tfdm.estimators.posteriors",
    "importance_weighted_bound": "tfdm.estimators.importance_weighted",
    "monte_carlo_kl": "tfdm.estimators.monte_carlo",
    "posterior_bounds": "tfdm.estimators.bounds",
    "posterior_monte_carlo_kl": "tfdm.estimators.posteriors",
}

__all__ = [
    "CodeSampler",
    "FixedCodes",
    "GaussianCodes",
    "ImportanceWeightedBound",
    "MixtureDensity",
    "MonteCarloKL",
    "PosteriorBounds",
    "Posteriors",
    "importance_weighted_bound",
    "monte_carlo_kl",
    "posterior_bounds",
    "posterior_monte_carlo_kl",
]

__getattr__, __dir__ = lazy_attributes(__name__, _MODULES)

"""What is known of KL[q(z) ‖ p(z)], the distance of the aggregate posterior from the prior.

The estimators take arrays and distributions, never a model, so that they serve any encoder.
Everything is in nats. A name's module is imported when the name is first used.
"""

from __future__ import annotations

from tfdm.lazy import lazy_attributes

_MODULES = {
    "CodeSampler": "tfdm.estimators.codes",
    "DensityFitConfig": "tfdm.estimators.config",
    "DensityModelKL": "tfdm.estimators.density_model",
    "DensityRatio": "tfdm.estimators.density_ratio",
    "DensityRatioConfig": "tfdm.estimators.config",
    "DensityRatioKL": "tfdm.estimators.density_ratio",
    "FixedCodes": "tfdm.estimators.codes",
    "GaussianCodes": "tfdm.estimators.codes",
    "ImportanceWeightedBound": "tfdm.estimators.importance_weighted",
    "MixtureDensity": "tfdm.estimators.mixture",
    "MonteCarloKL": "tfdm.estimators.monte_carlo",
    "PosteriorBounds": "tfdm.estimators.bounds",
    "Posteriors": "tfdm.estimators.posteriors",
    "density_model_kl": "tfdm.estimators.density_model",
    "density_ratio_kl": "tfdm.estimators.density_ratio",
    "fit_density_ratio": "tfdm.estimators.density_ratio",
    "importance_weighted_bound": "tfdm.estimators.importance_weighted",
    "monte_carlo_kl": "tfdm.estimators.monte_carlo",
    "posterior_bounds": "tfdm.estimators.bounds",
    "posterior_monte_carlo_kl": "tfdm.estimators.posteriors",
}

__all__ = [
    "CodeSampler",
    "DensityFitConfig",
    "DensityModelKL",
    "DensityRatio",
    "DensityRatioConfig",
    "DensityRatioKL",
    "FixedCodes",
    "GaussianCodes",
    "ImportanceWeightedBound",
    "MixtureDensity",
    "MonteCarloKL",
    "PosteriorBounds",
    "Posteriors",
    "density_model_kl",
    "density_ratio_kl",
    "fit_density_ratio",
    "importance_weighted_bound",
    "monte_carlo_kl",
    "posterior_bounds",
    "posterior_monte_carlo_kl",
]

__getattr__, __dir__ = lazy_attributes(__name__, _MODULES)

"""What is known of KL[q(z) ‖ p(z)], the distance of the aggregate posterior from the prior.

The estimators take arrays, posteriors and a prior, never a model, so that they serve any encoder.
Everything is in nats. A name's module is imported when the name is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfdm.lazy import lazy_attributes

if TYPE_CHECKING:
    from tfdm.estimators.bounds import PosteriorBounds, posterior_bounds
    from tfdm.estimators.codes import CodeSampler, FixedCodes, GaussianCodes
    from tfdm.estimators.config import DensityFitConfig, DensityRatioConfig
    from tfdm.estimators.density_model import density_model_kl
    from tfdm.estimators.density_ratio import DensityRatio, density_ratio_kl, fit_density_ratio
    from tfdm.estimators.importance_weighted import (
        ImportanceWeightedBound,
        importance_weighted_bound,
    )
    from tfdm.estimators.mixture import MixtureDensity
    from tfdm.estimators.monte_carlo import monte_carlo_kl
    from tfdm.estimators.posterior_monte_carlo import posterior_monte_carlo_kl
    from tfdm.estimators.posteriors import DataPosteriors
    from tfdm.estimators.records import DensityModelKL, DensityRatioKL, MonteCarloKL, NoEstimate

_MODULES = {
    "CodeSampler": "tfdm.estimators.codes",
    "DataPosteriors": "tfdm.estimators.posteriors",
    "DensityFitConfig": "tfdm.estimators.config",
    "DensityModelKL": "tfdm.estimators.records",
    "DensityRatio": "tfdm.estimators.density_ratio",
    "DensityRatioConfig": "tfdm.estimators.config",
    "DensityRatioKL": "tfdm.estimators.records",
    "FixedCodes": "tfdm.estimators.codes",
    "GaussianCodes": "tfdm.estimators.codes",
    "ImportanceWeightedBound": "tfdm.estimators.importance_weighted",
    "MixtureDensity": "tfdm.estimators.mixture",
    "MonteCarloKL": "tfdm.estimators.records",
    "NoEstimate": "tfdm.estimators.records",
    "PosteriorBounds": "tfdm.estimators.bounds",
    "density_model_kl": "tfdm.estimators.density_model",
    "density_ratio_kl": "tfdm.estimators.density_ratio",
    "fit_density_ratio": "tfdm.estimators.density_ratio",
    "importance_weighted_bound": "tfdm.estimators.importance_weighted",
    "monte_carlo_kl": "tfdm.estimators.monte_carlo",
    "posterior_bounds": "tfdm.estimators.bounds",
    "posterior_monte_carlo_kl": "tfdm.estimators.posterior_monte_carlo",
}

__all__ = [
    "CodeSampler",
    "DataPosteriors",
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
    "NoEstimate",
    "PosteriorBounds",
    "density_model_kl",
    "density_ratio_kl",
    "fit_density_ratio",
    "importance_weighted_bound",
    "monte_carlo_kl",
    "posterior_bounds",
    "posterior_monte_carlo_kl",
]

__getattr__, __dir__ = lazy_attributes(__name__, _MODULES)

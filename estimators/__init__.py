"""What is known of KL[q(z) ‖ p(z)], the distance of the aggregate posterior from the prior.

The estimators take arrays, posteriors and a prior, never a model, so that they serve any encoder.
Everything is in nats. A name's module is imported when the name is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfdm.lazy import lazy_attributes

if TYPE_CHECKING:
    from tfdm.estimators.bounds import PosteriorBounds as PosteriorBounds
    from tfdm.estimators.bounds import posterior_bounds as posterior_bounds
    from tfdm.estimators.codes import CodeSampler as CodeSampler
    from tfdm.estimators.codes import FixedCodes as FixedCodes
    from tfdm.estimators.codes import GaussianCodes as GaussianCodes
    from tfdm.estimators.config import DensityFitConfig as DensityFitConfig
    from tfdm.estimators.config import DensityRatioConfig as DensityRatioConfig
    from tfdm.estimators.density_model import density_model_kl as density_model_kl
    from tfdm.estimators.density_ratio import DensityRatio as DensityRatio
    from tfdm.estimators.density_ratio import density_ratio_kl as density_ratio_kl
    from tfdm.estimators.density_ratio import fit_density_ratio as fit_density_ratio
    from tfdm.estimators.importance_weighted import (
        ImportanceWeightedBound as ImportanceWeightedBound,
    )
    from tfdm.estimators.importance_weighted import (
        importance_weighted_bound as importance_weighted_bound,
    )
    from tfdm.estimators.mixture import MixtureDensity as MixtureDensity
    from tfdm.estimators.monte_carlo import monte_carlo_kl as monte_carlo_kl
    from tfdm.estimators.posterior_monte_carlo import (
        posterior_monte_carlo_kl as posterior_monte_carlo_kl,
    )
    from tfdm.estimators.posteriors import DataPosteriors as DataPosteriors
    from tfdm.estimators.records import DensityModelKL as DensityModelKL
    from tfdm.estimators.records import DensityRatioKL as DensityRatioKL
    from tfdm.estimators.records import MonteCarloKL as MonteCarloKL
    from tfdm.estimators.records import NoEstimate as NoEstimate

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

__all__ = sorted(_MODULES)

__getattr__, __dir__ = lazy_attributes(__name__, _MODULES)

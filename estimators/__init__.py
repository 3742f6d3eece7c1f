"""What is known of KL[q(z) ‖ p(z)], the distance of the aggregate posterior from the prior.

The estimators take arrays, posteriors and a prior, never a model, so that they serve any encoder.
Everything is in nats. A name's module is imported when the name is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfdm.lazy import lazy_attributes

if TYPE_CHECKING:
    from tfdm.estimators.bounds import (
        PosteriorBounds as PosteriorBounds,
        posterior_bounds as posterior_bounds,
    )
    from tfdm.estimators.codes import (
        CodeSampler as CodeSampler,
        FixedCodes as FixedCodes,
        GaussianCodes as GaussianCodes,
    )
    from tfdm.estimators.config import (
        DensityFitConfig as DensityFitConfig,
        DensityRatioConfig as DensityRatioConfig,
    )
    from tfdm.estimators.density_model import density_model_kl as density_model_kl
    from tfdm.estimators.density_ratio import (
        DensityRatio as DensityRatio,
        density_ratio_kl as density_ratio_kl,
        fit_density_ratio as fit_density_ratio,
    )
    from tfdm.estimators.importance_weighted import (
        ImportanceWeightedBound as ImportanceWeightedBound,
        importance_weighted_bound as importance_weighted_bound,
    )
    from tfdm.estimators.mixture import MixtureDensity as MixtureDensity
    from tfdm.estimators.monte_carlo import (
        monte_carlo_kl as monte_carlo_kl,
        posterior_monte_carlo_kl as posterior_monte_carlo_kl,
    )
    from tfdm.estimators.posteriors import DataPosteriors as DataPosteriors
    from tfdm.estimators.records import (
        DensityModelKL as DensityModelKL,
        DensityRatioKL as DensityRatioKL,
        MonteCarloKL as MonteCarloKL,
        NoEstimate as NoEstimate,
    )

__getattr__, __dir__, __all__ = lazy_attributes(__name__)

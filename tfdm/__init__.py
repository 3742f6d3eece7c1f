"""tfdm: distribution matching in variational inference, in TensorFlow 2 and Keras 3.

The reference implementation of *Distribution Matching in Variational Inference* (Rosca,
Lakshminarayanan, Mohamed, 2018): VAEs, GANs and their hybrids in one harness.

  tfdm.train          trains a model into a run folder
  tfdm.load_run       a run folder: its model, its data, its configuration
  tfdm.estimate_kl    how far the aggregate posterior q(z) is from the prior p(z)
  tfdm.evaluate       how good samples are
  tfdm.fit_prior      a density fitted to q(z) becomes the prior of a run
  tfdm.register_model makes a model of your own known to all of these

  tfdm.models, tfdm.estimators, tfdm.eval   the pieces, which need no run folder

Nothing heavy is imported here: TensorFlow loads with the first name that needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfdm.lazy import lazy_attributes
from tfdm.models.saved_models import know_saved_models

if TYPE_CHECKING:
    from tfdm import (
        datasets as datasets,
        distributions as distributions,
        estimators as estimators,
        eval as eval,
        models as models,
        networks as networks,
        training as training,
    )
    from tfdm.experiments.estimate_kl import estimate_kl as estimate_kl
    from tfdm.experiments.evaluate import evaluate as evaluate
    from tfdm.experiments.fit_prior import fit_prior as fit_prior
    from tfdm.experiments.load import load_run as load_run
    from tfdm.experiments.sample import sample as sample
    from tfdm.experiments.sweep import sweep as sweep
    from tfdm.experiments.synthetic_gaussians import synthetic_gaussians as synthetic_gaussians
    from tfdm.experiments.train import train as train
    from tfdm.experiments.train_classifier import train_classifier as train_classifier
    from tfdm.models.registry import register_model as register_model
    from tfdm.reproduction.reproduce import reproduce as reproduce

__version__ = "0.1.0"

know_saved_models()

__getattr__, __dir__, __all__ = lazy_attributes(__name__)

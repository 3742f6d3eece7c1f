"""How good generated images are: features of images apart from statistics of features.

A statistic is a pure function of arrays (logits, features, images) and knows no model; what turns
images into features is passed in. A name's module is imported when the name is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfdm.lazy import lazy_attributes

if TYPE_CHECKING:
    from tfdm.eval.classifiers.config import ClassifierConfig as ClassifierConfig
    from tfdm.eval.classifiers.saved_model import SavedModelClassifier as SavedModelClassifier
    from tfdm.eval.classifiers.saved_model import (
        load_saved_model_classifier as load_saved_model_classifier,
    )
    from tfdm.eval.classifiers.shipped import ImageClassifier as ImageClassifier
    from tfdm.eval.classifiers.shipped import load_classifier as load_classifier
    from tfdm.eval.config import CriticConfig as CriticConfig
    from tfdm.eval.feature_distances import KernelDistance as KernelDistance
    from tfdm.eval.feature_distances import frechet_distance as frechet_distance
    from tfdm.eval.feature_distances import kernel_distance as kernel_distance
    from tfdm.eval.improved_precision_recall import PrecisionRecall as PrecisionRecall
    from tfdm.eval.improved_precision_recall import precision_recall as precision_recall
    from tfdm.eval.inception_score import InceptionScore as InceptionScore
    from tfdm.eval.inception_score import (
        inception_score_from_logits as inception_score_from_logits,
    )
    from tfdm.eval.moments import FeatureMoments as FeatureMoments
    from tfdm.eval.records import Evaluation as Evaluation
    from tfdm.eval.records import Record as Record
    from tfdm.eval.structural_similarity import Diversity as Diversity
    from tfdm.eval.structural_similarity import ms_ssim as ms_ssim
    from tfdm.eval.structural_similarity import ms_ssim_diversity as ms_ssim_diversity
    from tfdm.eval.wasserstein_critic import CriticDistance as CriticDistance
    from tfdm.eval.wasserstein_critic import (
        independent_wasserstein_critic as independent_wasserstein_critic,
    )

_NAMES = {
    "classifiers.config": ("ClassifierConfig",),
    "classifiers.saved_model": ("SavedModelClassifier", "load_saved_model_classifier"),
    "classifiers.shipped": ("ImageClassifier", "load_classifier"),
    "config": ("CriticConfig",),
    "feature_distances": ("KernelDistance", "frechet_distance", "kernel_distance"),
    "improved_precision_recall": ("PrecisionRecall", "precision_recall"),
    "inception_score": ("InceptionScore", "inception_score_from_logits"),
    "moments": ("FeatureMoments",),
    "records": ("Evaluation", "Record"),
    "structural_similarity": ("Diversity", "ms_ssim", "ms_ssim_diversity"),
    "wasserstein_critic": ("CriticDistance", "independent_wasserstein_critic"),
}
_MODULES = {name: f"tfdm.eval.{module}" for module, names in _NAMES.items() for name in names}

__all__ = sorted(_MODULES)

__getattr__, __dir__ = lazy_attributes(__name__, _MODULES)

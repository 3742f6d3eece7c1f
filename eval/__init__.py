"""How good generated images are: features of images apart from statistics of features.

A statistic is a pure function of arrays (logits, features, images) and knows no model; what turns
images into features is passed in. A name's module is imported when the name is first used.
"""

from __future__ import annotations

from tfdm.lazy import lazy_attributes

_MODULES = {
    "ClassifierConfig": "tfdm.eval.classifiers.config",
    "CriticConfig": "tfdm.eval.critic_config",
    "CriticDistance": "tfdm.eval.wasserstein_critic",
    "Diversity": "tfdm.eval.structural_similarity",
    "FeatureMoments": "tfdm.eval.feature_distances",
    "ImageClassifier": "tfdm.eval.classifiers.shipped",
    "InceptionScore": "tfdm.eval.inception_score",
    "KernelDistance": "tfdm.eval.feature_distances",
    "PrecisionRecall": "tfdm.eval.improved_precision_recall",
    "SavedModelClassifier": "tfdm.eval.classifiers.saved_model",
    "frechet_distance": "tfdm.eval.feature_distances",
    "inception_score_from_logits": "tfdm.eval.inception_score",
    "independent_wasserstein_critic": "tfdm.eval.wasserstein_critic",
    "kernel_distance": "tfdm.eval.feature_distances",
    "load_classifier": "tfdm.eval.classifiers.shipped",
    "load_saved_model_classifier": "tfdm.eval.classifiers.saved_model",
    "ms_ssim": "tfdm.eval.structural_similarity",
    "ms_ssim_diversity": "tfdm.eval.structural_similarity",
    "precision_recall": "tfdm.eval.improved_precision_recall",
}

__all__ = [
    "ClassifierConfig",
    "CriticConfig",
    "CriticDistance",
    "Diversity",
    "FeatureMoments",
    "ImageClassifier",
    "InceptionScore",
    "KernelDistance",
    "PrecisionRecall",
    "SavedModelClassifier",
    "frechet_distance",
    "inception_score_from_logits",
    "independent_wasserstein_critic",
    "kernel_distance",
    "load_classifier",
    "load_saved_model_classifier",
    "ms_ssim",
    "ms_ssim_diversity",
    "precision_recall",
]

__getattr__, __dir__ = lazy_attributes(__name__, _MODULES)

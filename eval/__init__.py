"""How good generated images are: statistics of arrays (logits, features, images), and classifiers.

A name's module is imported when the name is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfdm.lazy import lazy_attributes

if TYPE_CHECKING:
    from tfdm.eval.classifiers.config import ClassifierConfig as ClassifierConfig
    from tfdm.eval.classifiers.saved_model import (
        SavedModelClassifier as SavedModelClassifier,
        load_saved_model_classifier as load_saved_model_classifier,
    )
    from tfdm.eval.classifiers.shipped import (
        ImageClassifier as ImageClassifier,
        load_classifier as load_classifier,
    )
    from tfdm.eval.config import CriticConfig as CriticConfig
    from tfdm.eval.feature_distances import (
        KernelDistance as KernelDistance,
        frechet_distance as frechet_distance,
        kernel_distance as kernel_distance,
    )
    from tfdm.eval.improved_precision_recall import (
        PrecisionRecall as PrecisionRecall,
        precision_recall as precision_recall,
    )
    from tfdm.eval.inception_score import (
        InceptionScore as InceptionScore,
        inception_score_from_logits as inception_score_from_logits,
    )
    from tfdm.eval.inputs import FeatureMoments as FeatureMoments
    from tfdm.eval.records import Evaluation as Evaluation, Record as Record
    from tfdm.eval.structural_similarity import (
        Diversity as Diversity,
        ms_ssim as ms_ssim,
        ms_ssim_diversity as ms_ssim_diversity,
    )
    from tfdm.eval.wasserstein_critic import (
        CriticDistance as CriticDistance,
        independent_wasserstein_critic as independent_wasserstein_critic,
    )

__getattr__, __dir__, __all__ = lazy_attributes(__name__)

"""The measures of samples by name: fields, what each needs, and how it is shown.

TensorFlow is not needed to list them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tfdm.eval.critic_config import CriticConfig
from tfdm.fields import CheckedConfig, setting

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from tfdm.eval.features import ClassifierPass

CRITIC_IMAGES = 10_000


@dataclasses.dataclass(frozen=True)
class ScoreConfig(CheckedConfig):
    """Fields of the inception score."""

    num_splits: int = setting(10, "parts the shuffled samples are cut into", minimum=1)


@dataclasses.dataclass(frozen=True)
class DiversityConfig(CheckedConfig):
    """Fields of the diversity."""

    num_batches: int = setting(32, "disjoint batches, fewer for few images", minimum=1)
    batch_size: int = setting(64, "images a batch, all pairs of which count", minimum=2)


@dataclasses.dataclass(frozen=True)
class FrechetConfig(CheckedConfig):
    """The Fréchet distance takes all samples and has no fields."""


@dataclasses.dataclass(frozen=True)
class KernelConfig(CheckedConfig):
    """Fields of the kernel distance."""

    num_images: int = setting(10_000, "samples, and as many real images, at most", minimum=2)
    max_block_size: int = setting(1000, "images a block, at most", minimum=2)


@dataclasses.dataclass(frozen=True)
class PrecisionRecallConfig(CheckedConfig):
    """Fields of precision and recall."""

    num_images: int = setting(10_000, "samples, and as many real images, at most", minimum=2)
    neighbours: int = setting(3, "which nearest neighbour sets a radius", minimum=1)


@dataclasses.dataclass(frozen=True)
class CriticImages:
    """Real images for an independent critic, uint8 [n, H, W, C], and where they are from.

    Attributes:
      real: those that it learns from.
      held_out: those that it is read off on.
      training: some that the model was trained on, `None` where that means nothing.
      splits: the names of the three splits.
    """

    real: np.ndarray
    held_out: np.ndarray
    training: np.ndarray | None
    splits: dict[str, str | None]


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What measures work on; images are uint8 [n, H, W, C].

    Attributes:
      images: a random choice of the samples, in random order.
      classified: what the classifier made of samples and real images, `None` without one.
      critic_images: reads the real images of a critic.
      seed: the seed of everything drawn.
      state: the folder of a critic that was stopped.
      open_progress: opens a bar for a measure that takes long; what it returns is called with
        (done, total).
    """

    images: np.ndarray
    classified: ClassifierPass | None
    critic_images: Callable[[], CriticImages]
    seed: int
    state: Path
    open_progress: Callable[[], Callable[[int, int], None]]


@dataclasses.dataclass(frozen=True)
class Metric:
    """A measure.

    Attributes:
      name: its name on the command line and in `evaluation.json`.
      config: its fields.
      needs_classifier: whether it works on logits or features.
      needs_features: whether it compares features with those of real images.
      summary: one line for the help.
      run: measures; returns what `evaluation.json` shall hold.
    """

    name: str
    config: type[CheckedConfig]
    needs_classifier: bool
    needs_features: bool
    summary: str
    run: Callable[[Inputs, Any], dict[str, Any]]


def _inception_score(inputs: Inputs, config: ScoreConfig) -> dict[str, Any]:
    from tfdm.eval import inception_score_from_logits

    classified = _classified(inputs)
    score = inception_score_from_logits(classified.logits, config.num_splits, inputs.seed)
    record = dataclasses.asdict(score)
    temperature = getattr(classified.classifier, "temperature", None)
    if temperature is not None:
        # The score depends on how sure the classifier is, not only on what it thinks.
        calibrated = inception_score_from_logits(
            classified.logits / temperature, config.num_splits, inputs.seed
        )
        record |= {"temperature": temperature, "mean_calibrated": calibrated.mean}
    return record


def _ms_ssim(inputs: Inputs, config: DiversityConfig) -> dict[str, Any]:
    from tfdm.eval import ms_ssim_diversity

    diversity = ms_ssim_diversity(
        inputs.images[: config.num_batches * config.batch_size],
        num_batches=config.num_batches,
        batch_size=config.batch_size,
        seed=inputs.seed,
    )
    return dataclasses.asdict(diversity)


def _wasserstein_critic(inputs: Inputs, config: CriticConfig) -> dict[str, Any]:
    from tfdm.eval import independent_wasserstein_critic

    images = inputs.critic_images()
    distance = independent_wasserstein_critic(
        images.real,
        images.held_out,
        inputs.images[:CRITIC_IMAGES],
        config,
        training_images=images.training,
        seed=inputs.seed,
        state=inputs.state,
        progress=inputs.open_progress(),
    )
    return {**dataclasses.asdict(distance), **images.splits}


def _frechet_distance(inputs: Inputs, config: FrechetConfig) -> dict[str, Any]:
    from tfdm.eval import frechet_distance

    classified = _classified(inputs)
    generated, real = classified.moments, classified.real_features().moments
    return {
        "value": frechet_distance(generated, real),
        "num_generated": generated.count,
        "num_real": real.count,
        "num_features": len(generated.mean),
    }


def _kernel_distance(inputs: Inputs, config: KernelConfig) -> dict[str, Any]:
    from tfdm.eval import kernel_distance

    classified = _classified(inputs)
    real, generated = classified.pairs(config.num_images)
    distance = kernel_distance(real, generated, config.max_block_size)
    return {**dataclasses.asdict(distance), "num_generated": len(generated), "num_real": len(real)}


def _precision_recall(inputs: Inputs, config: PrecisionRecallConfig) -> dict[str, Any]:
    from tfdm.eval import precision_recall

    real, generated = _classified(inputs).pairs(config.num_images)
    return dataclasses.asdict(precision_recall(real, generated, config.neighbours))


def _classified(inputs: Inputs) -> ClassifierPass:
    if inputs.classified is None:
        raise ValueError("the measure works on a classifier's outputs, expected a classifier")
    return inputs.classified


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "inception_score",
            ScoreConfig,
            True,
            False,
            "exp of the mean KL[p(y|x) ‖ p(y)] (Appendix I); higher is better",
            _inception_score,
        ),
        Metric(
            "ms_ssim",
            DiversityConfig,
            False,
            False,
            "1 - MS-SSIM of pairs of samples (Appendix I); best near the real images'",
            _ms_ssim,
        ),
        Metric(
            "wasserstein_critic",
            CriticConfig,
            False,
            False,
            "independent Wasserstein critic on held-out images (Appendix I); lower is better",
            _wasserstein_critic,
        ),
        Metric(
            "frechet_distance",
            FrechetConfig,
            True,
            True,
            "between Gaussians fitted to features; lower is better",
            _frechet_distance,
        ),
        Metric(
            "kernel_distance",
            KernelConfig,
            True,
            True,
            "squared maximum mean discrepancy of features; lower is better",
            _kernel_distance,
        ),
        Metric(
            "precision_recall",
            PrecisionRecallConfig,
            True,
            True,
            "shares of samples and of real images in the other's support; higher is better",
            _precision_recall,
        ),
    )
}

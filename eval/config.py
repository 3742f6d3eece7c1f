"""The fields of each metric; without TensorFlow."""

from __future__ import annotations

import dataclasses

from tfdm.fields import CheckedConfig, adam_rate, setting

CRITIC_IMAGES = 10_000


@dataclasses.dataclass(frozen=True)
class MetricConfig(CheckedConfig):
    """The fields of a metric; a metric without fields takes this class."""

    @property
    def images_needed(self) -> int:
        """How many samples, at most, the metric takes as images or as single features."""
        return 0


@dataclasses.dataclass(frozen=True)
class ScoreConfig(MetricConfig):
    """Fields of the inception score."""

    num_splits: int = setting(10, "parts the shuffled samples are cut into", minimum=1)


@dataclasses.dataclass(frozen=True)
class DiversityConfig(MetricConfig):
    """Fields of the diversity."""

    num_batches: int = setting(
        32, "disjoint batches; fewer where there are not enough images", minimum=1
    )
    batch_size: int = setting(64, "images a batch, all pairs of which count", minimum=2)

    @property
    def images_needed(self) -> int:
        """The images of all batches."""
        return self.num_batches * self.batch_size


@dataclasses.dataclass(frozen=True)
class _PairsConfig(MetricConfig):
    num_images: int = setting(10_000, "maximum number of samples, and of real images", minimum=2)

    @property
    def images_needed(self) -> int:
        """The samples of the pairs."""
        return self.num_images


@dataclasses.dataclass(frozen=True)
class KernelConfig(_PairsConfig):
    """Fields of the kernel distance."""

    num_images: int = setting(
        10_000, "maximum number of samples; all real images are used", minimum=2
    )
    max_block_size: int = setting(1000, "maximum number of samples in a block", minimum=2)


@dataclasses.dataclass(frozen=True)
class PrecisionRecallConfig(_PairsConfig):
    """Fields of precision and recall."""

    neighbours: int = setting(3, "which nearest neighbour sets a radius", minimum=1)


@dataclasses.dataclass(frozen=True)
class CriticConfig(MetricConfig):
    """The recipe of independent critics (Appendix I); every field moves the value."""

    steps: int = setting(500, "updates of each critic", minimum=1, maximum=10_000_000)
    batch_size: int = setting(
        64, "real images in an update, and as many samples", minimum=1, maximum=65_536
    )
    num_seeds: int = setting(
        3, "critics to train, each with its own weights and batches", minimum=1, maximum=1000
    )
    learning_rate: float = adam_rate(1e-4, "critic")
    beta_1: float = setting(0.5, "decay of Adam's first moment", minimum=0.0, maximum=0.999999)
    beta_2: float = setting(0.9, "decay of Adam's second moment", minimum=0.0, maximum=0.999999)
    # Not 0: nothing would then hold the critic's slope, and the value would have no unit.
    gradient_penalty: float = setting(
        10.0, "coefficient λ of the penalty", minimum=1e-3, maximum=1e6
    )
    # Not batch: it makes the penalty of one example depend on the others.
    normalization: str = setting(
        "none", "normalisation inside the critic", choices=("none", "layer")
    )
    width: float = setting(
        1.0, "factor on the feature maps of the critic", minimum=1 / 64, maximum=16.0
    )

    @property
    def images_needed(self) -> int:
        """The samples of training and reading together."""
        return CRITIC_IMAGES

"""Fields of the estimators: typed, ranged, documented, without TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import Any

from tfdm.fields import CheckedConfig, setting

# Of the synthetic Gaussians: both fixed, or one that learns to be the other.
SETTINGS = ("estimation", "learning")


def _rate(default: float, help: str) -> Any:
    return setting(default, help, minimum=0.0, maximum=1.0)


def _decay(default: float, moment: str) -> Any:
    return setting(default, f"decay of Adam's {moment} moment", minimum=0.0, maximum=0.999999)


def _count(default: int, help: str, maximum: int | None = None) -> Any:
    return setting(default, help, minimum=1, maximum=maximum)


def _patience(default: int) -> Any:
    help = "stop after this many evaluations without a better held-out loss; 0 is off"
    return setting(default, help, minimum=0)


@dataclasses.dataclass(frozen=True)
class CrossTermConfig(CheckedConfig):
    """Fields of the variants of Algorithm 1."""

    num_samples: int = setting(1_000_000, "samples of z; the paper has 10⁶", minimum=2)


@dataclasses.dataclass(frozen=True)
class MonteCarloConfig(CrossTermConfig):
    """Fields of Algorithm 1; the last two are for posteriors that are not Gaussian."""

    num_data: int = _count(256, "images in the mixture, for posteriors that are not Gaussian")
    max_pairs: int = setting(
        2**20,
        "maximum number of pairs of a sample and an image, for posteriors that are not Gaussian",
        minimum=2,
    )


@dataclasses.dataclass(frozen=True)
class FitConfig(CheckedConfig):
    """Fields of whatever is fitted to codes by Adam."""

    steps: int = _count(5000, "maximum number of training steps")
    batch_size: int = _count(256, "codes a step")
    learning_rate: float = _rate(1e-3, "Adam learning rate; 5e-5 to 1e-3 in the paper")
    adam_beta_1: float = _decay(0.9, "first")
    adam_beta_2: float = _decay(0.999, "second")
    patience: int = _patience(5)
    evaluate_every: int = _count(250, "steps between two evaluations")
    num_samples: int = setting(100_000, "codes behind the estimate", minimum=2)


@dataclasses.dataclass(frozen=True)
class DensityRatioConfig(FitConfig):
    """Fields of Algorithm 2 and Appendix A.3, and of what goes beyond them."""

    steps: int = _count(20_000, "training steps; 500,000 in the paper")
    batch_size: int = setting(256, "codes of q(z) in a step, and as many of p(z)", minimum=2)
    learning_rate: float = _rate(5e-4, "of Adam")
    adam_beta_2: float = _decay(0.9, "second")
    patience: int = _patience(0)
    evaluate_every: int = _count(500, "steps between two evaluations")
    keep_best: bool = setting(
        False, "use the weights with the lowest held-out cross entropy, not the last"
    )
    num_layers: int = _count(3, "hidden layers of the classifier; 3 to 10 in the paper", 20)
    width: int = _count(1000, "units of a layer; 5000 in the paper")
    gradient_penalty: float = setting(
        0.0, "weight of the penalty (‖∇ logit‖ − 1)² between the codes", minimum=0.0
    )
    activation_noise: float = setting(
        0.0, "standard deviation of noise on the hidden activations in training", minimum=0.0
    )
    dropout: float = setting(
        0.0, "share of the hidden units dropped in training", minimum=0.0, maximum=0.95
    )
    calibrate: bool = setting(
        False, "divide the logits by a temperature fitted on held-out codes (Guo et al. 2017)"
    )
    num_bridges: int = setting(
        0, "distributions between q(z) and p(z), a classifier for each gap", minimum=0, maximum=50
    )
    bridge_power: float = setting(
        1.0, "bridge k of K has a share (k / (K + 1))^power of the prior", minimum=0.1, maximum=10.0
    )


@dataclasses.dataclass(frozen=True)
class DensityFitConfig(FitConfig):
    """Fields of Algorithm 3, whatever the density is."""

    clip_norm: float = setting(10.0, "largest norm of the gradient; 0 does not clip", minimum=0.0)


@dataclasses.dataclass(frozen=True)
class GaussianMixtureConfig(DensityFitConfig):
    """A diagonal Gaussian mixture (A.4)."""

    num_components: int = _count(100, "components; 10, 50 or 100 in the paper")


@dataclasses.dataclass(frozen=True)
class FlowConfig(DensityFitConfig):
    """A masked autoregressive flow (A.4)."""

    num_flows: int = _count(2, "flows; 1 to 3 in the paper", 20)
    num_layers: int = _count(2, "hidden layers a flow; 1 or 2 in the paper")
    width: int = _count(512, "units a layer; 512 to 2048 in the paper")


@dataclasses.dataclass(frozen=True)
class LSTMConfig(DensityFitConfig):
    """A Gaussian auto-regressive LSTM (A.4)."""

    num_layers: int = _count(2, "layers; 1 to 5 in the paper", 20)
    units: int = _count(128, "units a layer; 500 to 2000 in the paper")


@dataclasses.dataclass(frozen=True)
class SyntheticConfig(CheckedConfig):
    """The synthetic experiments of section 5 and Appendix E."""

    steps: int = _count(10_000, "training steps; 10⁶ in the paper")
    num_seeds: int = _count(10, "repetitions, each with Gaussians of its own")
    seed: int = setting(0, "seed of the first repetition", minimum=0, maximum=2**31 - 1)
    num_layers: int = _count(4, "hidden layers of the classifier; 3 or 4 in the paper", 20)
    width: int = _count(256, "units of a layer; the paper has 10⁸ weights, about 5600 at d = 1000")
    batch_size: int = _count(128, "samples of each Gaussian a step")
    discriminator_learning_rate: float = _rate(1e-4, "of the classifier's Adam")
    generator_learning_rate: float = _rate(1e-3, "of the learned Gaussian's Adam")
    discriminator_steps: int = _count(
        1, "classifier steps for each step of the learned Gaussian; 1 or 5 in the paper"
    )
    parameter_scale: float = setting(
        1.0, "standard deviation of the entries of W and b", minimum=1e-3, maximum=1e3
    )
    log_every: int = _count(100, "steps between two evaluations")
    num_samples: int = setting(4096, "samples behind an estimate", minimum=2)

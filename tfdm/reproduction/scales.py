"""How much work a reproduction does: steps, samples and widths; imports no TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

Fields = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Scale:
    """One scale.

    Attributes:
      name: "smoke", "reduced" or "paper".
      steps: training steps by data set.
      dataset_of: the data set that takes the place of another one.
      training: fields of every run; those of an artifact replace them.
      own: fields of the runs of one model, which replace those of `training`.
      estimators: fields by estimator.
      metrics: fields by metric.
      num_samples: samples behind the metrics.
      gaussians: fields of the synthetic experiments.
      swept: the models whose hyperparameters are swept, by data set.
      sweep: options of these sweeps.
    """

    name: str
    steps: Mapping[str, int]
    dataset_of: Mapping[str, str]
    training: Fields
    own: Mapping[str, Fields]
    estimators: Mapping[str, Fields]
    metrics: Mapping[str, Fields]
    num_samples: int
    gaussians: Fields
    swept: Mapping[str, tuple[str, ...]]
    sweep: Fields

    def dataset(self, name: str) -> str:
        """Returns the data set that stands for `name` at this scale."""
        return self.dataset_of.get(name, name)


def _fits(steps: int, num_samples: int, **others: Any) -> dict[str, Any]:
    return {"steps": steps, "num_samples": num_samples, **others}


# Every code path in a few minutes; the numbers mean nothing. It needs no download: the digits
# that come with a package stand for all 70,000.
SMOKE = Scale(
    name="smoke",
    steps={"color_mnist": 4, "cifar10": 2, "celeb_a": 2},
    dataset_of={"color_mnist": "color_mnist_5k"},
    training={"width": 0.0625, "batch_size": 8, "log_every": 1, "sample_every": 100},
    own={
        "draw": {"num_steps": 2, "latent_maps": 1, "hidden_maps": 16},
        "veegan": {"head_maps": 32},
    },
    estimators={
        "monte_carlo": {"num_samples": 200},
        "density_ratio": _fits(20, 200, width=16, evaluate_every=10),
        "gmm": _fits(20, 200, num_components=5, evaluate_every=10),
        "maf": _fits(20, 200, width=16, num_flows=1, evaluate_every=10),
        "lstm": _fits(20, 200, units=8, num_layers=1, evaluate_every=10),
    },
    metrics={
        "ms_ssim": {"num_batches": 2, "batch_size": 8},
        "wasserstein_critic": {"steps": 4, "num_seeds": 2, "batch_size": 8, "width": 0.0625},
    },
    num_samples=64,
    gaussians={
        "dims": (1, 10),
        "steps": 20,
        "num_seeds": 2,
        "width": 16,
        "log_every": 10,
        "num_samples": 256,
    },
    swept={"color_mnist": ("vae",)},
    sweep={"budget": 2, "steps": 2},
)

# What two cores do in some days, and what `results/reproduction` shows.
REDUCED = Scale(
    name="reduced",
    steps={"color_mnist": 10_000, "cifar10": 5_000, "celeb_a": 5_000},
    dataset_of={},
    training={"preset": "paper"},
    own={"draw": {"hidden_maps": 24}},
    estimators={
        "monte_carlo": {"num_samples": 100_000},
        "density_ratio": _fits(20_000, 100_000, width=1000),
        "gmm": _fits(5_000, 100_000),
        "maf": _fits(5_000, 100_000),
        "lstm": _fits(5_000, 100_000),
    },
    metrics={},
    num_samples=10_000,
    gaussians={"dims": (1, 10, 100, 1000), "steps": 8_000, "num_seeds": 5, "width": 128},
    swept={"color_mnist": ("vae", "dcgan", "wgan_gp", "aae", "aae_plus_plus", "aae_gan")},
    sweep={"budget": 8, "steps": 2_000},
)

_COMPARED = ("vae", "dcgan", "wgan_gp", "aae", "veegan", "aae_plus_plus", "aae_gan")

PAPER = Scale(
    name="paper",
    steps={"color_mnist": 100_000, "cifar10": 200_000, "celeb_a": 200_000},
    dataset_of={},
    training={"preset": "paper"},
    own={},
    estimators={
        "monte_carlo": {"num_samples": 1_000_000},
        "density_ratio": _fits(500_000, 1_000_000, width=5000, adam_beta_2=0.9),
        "gmm": _fits(50_000, 1_000_000, num_components=100),
        "maf": _fits(50_000, 1_000_000, num_flows=3, width=1024),
        "lstm": _fits(50_000, 1_000_000, num_layers=3, units=1000),
    },
    metrics={"wasserstein_critic": {"steps": 5_000}},
    num_samples=50_000,
    gaussians={
        "dims": (1, 10, 100, 1000),
        "steps": 1_000_000,
        "num_seeds": 10,
        "width": 5600,
        "log_every": 1000,
    },
    swept=dict.fromkeys(("color_mnist", "cifar10", "celeb_a"), _COMPARED),
    sweep={"budget": 0},
)

SCALES: Mapping[str, Scale] = {scale.name: scale for scale in (SMOKE, REDUCED, PAPER)}

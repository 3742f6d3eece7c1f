"""The options of a sweep, without TensorFlow and without Ray."""

from __future__ import annotations

import dataclasses

from tfdm.eval.metrics import METRICS
from tfdm.fields import CheckedConfig, folder, setting


@dataclasses.dataclass(frozen=True)
class SweepConfig(CheckedConfig):
    """Which trials a sweep has, where they run, and how they are compared."""

    budget: int = setting(0, "number of trials; 0 is the whole grid", minimum=0)
    order: str = setting(
        "random",
        "random: trials are drawn without replacement; grid: in the order of the values",
        choices=("random", "grid"),
    )
    seeds: tuple[int, ...] = setting((0,), "seeds of each point of the grid", minimum=0)
    metrics: tuple[str, ...] = setting(
        ("wasserstein_critic",),
        "metrics that evaluate each trial",
        choices=lambda: METRICS,
        metavar="NAME",
    )
    num_samples: int = setting(10_000, "samples behind the metrics", minimum=2)
    concurrent: int = setting(
        0,
        "trials at a time on this machine, which share its cores; 0: one",
        minimum=0,
    )
    ray_address: str | None = setting(
        None,
        "a running Ray cluster that reaches output_dir; without it this machine",
        kind=str,
        metavar="ADDRESS",
    )
    output_dir: str | None = folder(
        "the folder of the sweep; several models may share it, and what stands there is kept",
        "runs/sweep-DATASET",
    )

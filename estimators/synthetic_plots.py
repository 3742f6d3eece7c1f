"""The plots of Figures 2, 8, 9 and 10: divergences over training, one panel for each dimension."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfdm.pictures import figure_png, new_figure


def plot_synthetic(results: Mapping[str, Any], setting: str, title: str) -> bytes:
    """Returns a PNG of one setting: mean over the repetitions, and one standard deviation.

    Results are `{dimension: {setting: {"steps", "true_kl", "estimate", "initial_kl"}}}`, where
    `true_kl` and `estimate` hold `mean` and `spread` over the steps. In `learning` the last
    estimate of `estimation`, where it is there too, is the second line of reference.
    """
    shown = {dim: of_dim for dim, of_dim in results.items() if setting in of_dim}
    figure = new_figure(3.6 * max(1, len(shown)), 3.2, title)
    for place, (dim, of_dim) in enumerate(shown.items()):
        axes = figure.add_subplot(1, len(shown), place + 1)
        record = of_dim[setting]
        steps, initial = record["steps"], float(np.mean(record["initial_kl"]))
        name = "true KL" if setting == "estimation" else "true KL of the learned Gaussian"
        _line(axes, steps, record["true_kl"], "#228833", name)
        _line(axes, steps, record["estimate"], "#4477aa", "estimate by the density ratio")
        if setting == "learning":
            axes.axhline(initial, color="black", linewidth=1.0, label="true KL at the start")
            if "estimation" in of_dim:
                last = of_dim["estimation"]["estimate"]["mean"][-1]
                label = "estimate with both Gaussians fixed"
                axes.axhline(last, color="black", linestyle="--", linewidth=1.0, label=label)
        axes.set_title(f"d = {dim}", fontsize=8)
        axes.set_xlabel("steps", fontsize=7)
        axes.tick_params(labelsize=7)
        axes.margins(x=0)
        if place == 0:
            axes.set_ylabel("KL[model ‖ data], nats", fontsize=7)
            axes.legend(fontsize=6)
    return figure_png(figure)


def _line(axes: Any, steps: list[int], values: Mapping[str, list], color: str, name: str) -> None:
    mean = np.array(values["mean"], np.float64)
    spread = np.nan_to_num(np.array(values["spread"], np.float64))
    axes.plot(steps, mean, color=color, linewidth=1.0, label=name)
    axes.fill_between(steps, mean - spread, mean + spread, color=color, alpha=0.2, linewidth=0)

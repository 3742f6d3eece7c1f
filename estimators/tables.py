"""Estimates of KL[q(z) ‖ p(z)] side by side: a table and the plot of Figures 1 and 6.

Both take what `kl.json` holds: the bounds of eq. 5 at the top level, and under `estimates` a record
with `kl`, `standard_error` and perhaps bounds for each estimator. Everything is in nats.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tfdm.pictures import figure_png, new_figure

# An estimate beyond this many times the average KL does not stretch the axis.
_HIGHEST = 1.25
# Fields of a record that stand in the table, and their names there.
_REMARKS = {
    "mutual_information": "mutual information",
    "kl_uncalibrated": "uncalibrated",
    "donsker_varadhan": "Donsker–Varadhan bound",
    "nwj": "NWJ bound",
    "accuracy": "accuracy",
    "held_out_log_likelihood": "held-out log-likelihood",
    "kl_held_out_images": "on held-out images",
}
_COLORS = ("#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377", "#bbbbbb")


def estimates_table(content: Mapping[str, Any]) -> str:
    """Returns a Markdown table of the bounds and the estimates of a `kl.json`."""
    latents = content["num_latents"]
    lines = [
        "| estimate of KL[q(z) ‖ p(z)] | nats | standard error | nats a dimension | remarks |",
        "|---|---|---|---|---|",
    ]
    if content.get("average_kl") is not None:
        average, minimum = content["average_kl"], content["minimum_marginal_kl"]
        error, active = content.get("average_kl_standard_error"), content.get("active_latents")
        mean = "upper bound" + ("" if active is None else f"; {active} of {latents} latents active")
        lines.append(_row("average KL[q(z\\|x) ‖ p(z)]", average, error, latents, mean))
        bound = f"lower bound; log N = {content['log_num_data']:.3f}"
        lines.append(_row("average KL − log N", minimum, error, latents, bound))
    for name, record in content["estimates"].items():
        if record.get("kl") is None:
            lines.append(f"| {name} | – | – | – | {record.get('reason', '')} |")
            continue
        error = record.get("standard_error")
        lines.append(_row(name, record["kl"], error, latents, _remarks(record)))
    return "\n".join(lines) + "\n"


def plot_estimates(content: Mapping[str, Any], title: str) -> bytes:
    """Returns a PNG: a bar for each estimate, lines for the two bounds (Figures 1 and 6)."""
    shown = {n: r for n, r in content["estimates"].items() if r.get("kl") is not None}
    average, minimum = content.get("average_kl"), content.get("minimum_marginal_kl")
    values = [float(record["kl"]) for record in shown.values()]
    finite = [value for value in values if math.isfinite(value)]
    top = _HIGHEST * average if average is not None else max([1.0, *finite]) * 1.1
    bottom = 1.15 * min([0.0, *(max(value, -top) for value in finite)])

    figure = new_figure(max(5.0, 1.4 + 1.05 * len(shown)), 3.8)
    axes = figure.add_subplot()
    for place, (value, record) in enumerate(zip(values, shown.values(), strict=True)):
        inside = math.isfinite(value) and value <= top
        error = 1.96 * (record.get("standard_error") or 0.0) if inside else None
        height, hatch = (value, None) if inside else (top, "//")
        color = _COLORS[place % len(_COLORS)]
        axes.bar(place, height, width=0.65, color=color, yerr=error, capsize=3, hatch=hatch)
        axes.annotate(
            f"{value:.4g}", (place, min(max(height, 0.0), 0.94 * top)), ha="center", va="bottom",
            fontsize=7, xytext=(0, 3), textcoords="offset points",
        )  # fmt: skip
    if average is not None and minimum is not None:
        axes.axhline(average, color="black", linewidth=1.0, label="average KL[q(z|x) ‖ p(z)]")
        label = "average KL − log N, the minimum"
        axes.axhline(minimum, color="black", linewidth=1.0, linestyle="--", label=label)
        axes.legend(fontsize=7, loc="upper right", ncols=2)
    labels = [name.replace("_", " ").replace(":", "\n") for name in shown]
    axes.set_xticks(range(len(shown)), labels, fontsize=7, rotation=30 if len(shown) > 5 else 0)
    axes.set_ylim(bottom, top)
    axes.set_ylabel("KL[q(z) ‖ p(z)], nats", fontsize=8)
    axes.tick_params(axis="y", labelsize=7)
    axes.set_title(title, fontsize=9)
    return figure_png(figure, dpi=120)


def _row(name: str, value: float, error: float | None, latents: int, remarks: str) -> str:
    shown_error = "" if error is None else f"{error:.2g}"
    return f"| {name} | {value:.4g} | {shown_error} | {value / latents:.4g} | {remarks} |"


def _remarks(record: Mapping[str, Any]) -> str:
    remarks = []
    for key, name in _REMARKS.items():
        value = record.get(key)
        is_kl = key == "kl_uncalibrated" and value == record["kl"]
        if isinstance(value, int | float) and not is_kl:
            remarks.append(f"{name} {value:.4g}")
        if key == "mutual_information" and record.get("saturated"):
            remarks[-1] += ", saturated"
    words = {"diverged": "diverged", "still_improving": "still improving at the step limit"}
    return "; ".join([*remarks, *(word for key, word in words.items() if record.get(key))])

"""Estimates of KL[q(z) ‖ p(z)] side by side: a table and the plot of Figures 1 and 6.

Both take what `kl.json` holds: the bounds of eq. 5 at the top level, and under `estimates` a record
with `kl`, `standard_error` and perhaps bounds for each estimator. Everything is in nats. An
estimate of the mixture's KL that is below its provable minimum is marked: it is wrong, however
small its error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tfdm.pictures import figure_png, new_figure
from tfdm.tables import aligned_table, notes

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
# Variants of Monte Carlo whose KL is not that of the mixture, which log N says nothing about.
_OTHER_MIXTURES = ("leave_one_out", "held_out")
_MARK, _BELOW_COLOR = " †", "#cc3311"
# Standard errors on either side of a 95 % confidence interval.
_NORMAL_95 = 1.96
_COLORS = ("#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377", "#bbbbbb")


def estimates_table(content: Mapping[str, Any]) -> str:
    """Returns a Markdown table of the bounds and the estimates of a `kl.json`, remarks below it."""
    latents, rows, remarks = content["num_latents"], [], {}
    if content.get("average_kl") is not None:
        average, minimum = content["average_kl"], content["minimum_marginal_kl"]
        error, active = content.get("average_kl_standard_error"), content.get("active_latents")
        upper, lower = "average KL[q(z\\|x) ‖ p(z)]", "average KL − log N"
        rows += [_row(upper, average, error, latents), _row(lower, minimum, error, latents)]
        active_remark = "" if active is None else f"; {active} of {latents} latents active"
        remarks[upper] = f"upper bound{active_remark}"
        remarks[lower] = f"lower bound; log N = {content['log_num_data']:.3f}"
    for name, record in content["estimates"].items():
        if record.get("kl") is None:
            rows.append([name, "–", "–", "–"])
            remarks[name] = record.get("reason", "")
            continue
        mark = _MARK if is_below_minimum(record, content) else ""
        rows.append(_row(name, record["kl"], record.get("standard_error"), latents, mark))
        remarks[name] = "; ".join([*_minimum_remark(record, content), *_remarks(record)])
    head = ("KL[q(z) ‖ p(z)]", "nats", "std. error", "nats a dimension")
    return "\n".join([*aligned_table(head, rows), "", *notes(remarks)]) + "\n"


def provable_minimum(record: Mapping[str, Any], content: Mapping[str, Any]) -> float | None:
    """Returns what the KL that a record of `kl.json` estimates cannot be below, in nats.

    It is the average KL − log N of the mixture (eq. 5), but no less than zero. `None` where the
    record is not of the mixture of the posteriors: `leave_one_out` and `held_out`.
    """
    if record.get("variant") in _OTHER_MIXTURES:
        return None
    # Monte Carlo may have taken a subset of the data: a mixture of its own.
    average, log_num_data = (
        record.get(key, content.get(key)) for key in ("average_kl", "log_num_data")
    )
    return 0.0 if average is None else max(0.0, average - log_num_data)


def is_below_minimum(record: Mapping[str, Any], content: Mapping[str, Any]) -> bool | None:
    """Says whether an estimate is below what can be proved; `None` where nothing is known."""
    minimum, kl = provable_minimum(record, content), record.get("kl")
    return None if minimum is None or kl is None else kl < minimum


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
        error = _NORMAL_95 * (record.get("standard_error") or 0.0) if inside else None
        height, hatch = (value, None) if inside else (top, "//")
        color = _COLORS[place % len(_COLORS)]
        axes.bar(place, height, width=0.65, color=color, yerr=error, capsize=3, hatch=hatch)
        below = is_below_minimum(record, content)
        axes.annotate(
            f"{value:.4g}" + ("\nbelow the\nminimum" if below else ""),
            (place, min(max(height, 0.0), 0.94 * top)), ha="center", va="bottom",
            fontsize=7, xytext=(0, 3), textcoords="offset points",
            color=_BELOW_COLOR if below else "black",
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


def _row(name: str, value: float, error: float | None, latents: int, mark: str = "") -> list[str]:
    shown_error = "" if error is None else f"{error:.2g}"
    return [name, f"{value:.4g}{mark}", shown_error, f"{value / latents:.4g}"]


def _minimum_remark(record: Mapping[str, Any], content: Mapping[str, Any]) -> list[str]:
    if not is_below_minimum(record, content):
        return []
    minimum = provable_minimum(record, content) or 0.0
    within = record["kl"] + _NORMAL_95 * (record.get("standard_error") or 0.0) >= minimum
    return [f"† below the minimum {minimum:.4g}" + (", within its error" if within else "")]


def _remarks(record: Mapping[str, Any]) -> list[str]:
    remarks = []
    for key, name in _REMARKS.items():
        value = record.get(key)
        is_kl = key == "kl_uncalibrated" and value == record["kl"]
        if isinstance(value, int | float) and not is_kl:
            remarks.append(f"{name} {value:.4g}")
        if key == "mutual_information" and record.get("saturated"):
            remarks[-1] += ", saturated"
    words = {"diverged": "diverged", "still_improving": "still improving at the step limit"}
    return [*remarks, *(word for key, word in words.items() if record.get(key))]

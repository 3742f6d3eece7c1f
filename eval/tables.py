"""Evaluations side by side: tables, and the box and dot plots of Figures 4 and 5.

All take what `evaluation.json` holds: `metrics` with a record for each measure, `source` with what
was measured. A source with a `model` is a trained run, one with a `split` real images.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

NAME = "evaluation.json"
_NONE = "–"
_DOTS, _REAL = "black", ("#228833", "#ee6677", "#4477aa", "#aa3377")


@dataclasses.dataclass(frozen=True)
class Quantity:
    """One number of a record, as tables and plots show it.

    Attributes:
      metric: the measure.
      field: the number in its record.
      label: its heading.
      error: the number that is its error or spread, `None` without one.
      higher_is_better: the direction; `None` where it is best near the real images'.
      negated: whether the plot shows it with the other sign, as Figure 4 does.
    """

    metric: str
    field: str
    label: str
    error: str | None = None
    higher_is_better: bool | None = True
    negated: bool = False


QUANTITIES = (
    Quantity("inception_score", "mean", "inception score", "std"),
    Quantity("ms_ssim", "diversity", "diversity, 1 − MS-SSIM", "standard_error", None),
    Quantity(
        "wasserstein_critic", "value", "Wasserstein critic", "standard_error", False, negated=True
    ),
    Quantity("frechet_distance", "value", "Fréchet distance", None, False),
    Quantity("kernel_distance", "value", "kernel distance", "standard_error", False),
    Quantity("precision_recall", "precision", "precision"),
    Quantity("precision_recall", "recall", "recall"),
)
_ARROWS = {True: " ↑", False: " ↓", None: ""}


def evaluation_table(content: Mapping[str, Any]) -> str:
    """Returns a Markdown table of one `evaluation.json`."""
    lines = [
        f"{content['title']}: {content['num_samples']:,} samples, seed {content['seed']}, beside "
        f"{content['dataset']}",
        "",
        "| measure | value | protocol |",
        "|---|---|---|",
    ]
    for key, record in content["metrics"].items():
        metric, _, owner = key.partition(":")
        for quantity in QUANTITIES:
            if quantity.metric == metric:
                name = quantity.label + _ARROWS[quantity.higher_is_better]
                name += f", {owner}" if owner else ""
                protocol = record.get("reason") or protocol_of(record)
                lines.append(f"| {name} | {_shown(record, quantity)} | {protocol} |")
    return "\n".join(lines) + "\n"


def comparison_table(contents: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns a Markdown table with a row for each evaluation, real images last.

    Below it stands the protocol of each measure; a number of another protocol than most in its
    column bears a dagger.

    Args:
      contents: what the `evaluation.json` files hold, by the name of the row.
    """
    columns = _columns(contents)
    heads = [
        f"{quantity.label}{f', {owner}' if owner else ''}{_ARROWS[quantity.higher_is_better]}"
        for quantity, owner in columns
    ]
    usual = {_key(*column): _usual_protocol(contents, _key(*column)) for column in columns}
    lines = [f"| | samples | {' | '.join(heads)} |", "|---" * (len(heads) + 2) + "|"]
    differs = False
    for name in sorted(contents, key=lambda name: _is_real(contents[name])):
        content = contents[name]
        cells = [name, f"{content['num_samples']:,}"]
        for quantity, owner in columns:
            key = _key(quantity, owner)
            record = content["metrics"].get(key, {})
            cell = _shown(record, quantity)
            if cell != _NONE and _comparable(record) != usual[key]:
                cell, differs = f"{cell} †", True
            cells.append(cell)
        lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    for key in usual:
        records = [content["metrics"].get(key, {}) for content in contents.values()]
        record = next((r for r in records if r and _comparable(r) == usual[key]), None)
        if record is not None:
            lines.append(f"- {key.replace(':', ', ')}: {protocol_of(record, of_one=False)}")
    if differs:
        lines.append("- † another protocol than most of the column: not to be compared with it")
    return "\n".join(lines) + "\n"


def plot_comparison(contents: Mapping[str, Mapping[str, Any]], title: str) -> bytes:
    """Returns a PNG with one plot for each quantity.

    The runs of a model share a column: a box over their values, and a dot at the best (Figures 4
    and 5); one run is a dot. Real images and files of samples are horizontal lines. Numbers of
    another protocol than most, which the table marks, are left out.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = _columns(contents)
    groups: dict[str, list[str]] = {}
    for name, content in contents.items():
        if content["source"].get("model"):
            groups.setdefault(group_of(content["source"]), []).append(name)
    lines = [name for name in contents if not contents[name]["source"].get("model")]
    width = max(1, min(3, len(columns)))
    rows = -(-max(1, len(columns)) // width)
    figure = Figure(figsize=(4.2 * width, 3.2 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=10)
    for index, (quantity, owner) in enumerate(columns):
        axes = figure.add_subplot(rows, width, index + 1)
        sign = -1.0 if quantity.negated else 1.0

        def values(names: Sequence[str], key: str, field: str, sign: float) -> list[float]:
            usual = _usual_protocol(contents, key)
            records = [contents[name]["metrics"].get(key, {}) for name in names]
            found = [r.get(field) for r in records if _comparable(r) == usual]
            return [sign * value for value in found if value is not None]

        key = _key(quantity, owner)
        for place, names in enumerate(groups.values()):
            shown = values(names, key, quantity.field, sign)
            if len(shown) > 1:
                axes.boxplot([shown], positions=[place], widths=0.5, showfliers=True)
            if shown:
                axes.plot(place, _best(shown, quantity), "o", color=_DOTS, markersize=5)
        for number, name in enumerate(lines):
            for value in values([name], key, quantity.field, sign):
                color = _REAL[number % len(_REAL)]
                axes.axhline(value, linestyle="--", linewidth=1.0, color=color, label=name)
        label = f"− {quantity.label}" if quantity.negated else quantity.label
        axes.set_title(label + (f", {owner}" if owner else ""), fontsize=9)
        labels = [name.replace("_", "\n", 1) for name in groups]
        axes.set_xticks(range(len(groups)), labels, fontsize=7)
        axes.set_xlim(-0.6, max(len(groups), 1) - 0.4)
        axes.tick_params(axis="y", labelsize=7)
        if lines and index == 0:
            axes.legend(fontsize=7)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110)
    return buffer.getvalue()


def _columns(contents: Mapping[str, Mapping[str, Any]]) -> list[tuple[Quantity, str]]:
    """The quantities that any evaluation has, each with the label behind its measure's name."""
    keys = {key: None for content in contents.values() for key in content["metrics"]}
    owners = list(dict.fromkeys(key.partition(":")[2] for key in keys))
    return [
        (quantity, owner)
        for owner in owners
        for quantity in QUANTITIES
        if _key(quantity, owner) in keys
    ]


def group_of(source: Mapping[str, Any]) -> str:
    """Returns what a trained run is shown as: its model, apart from the same with noise."""
    noise = f", noise {source['noise_scale']:g}" if source.get("noise_scale") else ""
    return f"{source['model']}{noise}"


def _key(quantity: Quantity, owner: str) -> str:
    return f"{quantity.metric}:{owner}" if owner else quantity.metric


def _best(values: list[float], quantity: Quantity) -> float:
    """The best of several runs, in the sign of the plot; the median where neither end is best."""
    if quantity.higher_is_better is None:
        return float(np.median(values))
    return max(values) if quantity.higher_is_better or quantity.negated else min(values)


def _is_real(content: Mapping[str, Any]) -> bool:
    return "split" in content["source"]


def _comparable(record: Mapping[str, Any]) -> str:
    """What two records must share for their numbers to be compared, as text.

    Which unseen images a critic is read off on is chance; those that it learnt from are not.
    """
    fields = (
        "config",
        "classifier_digest",
        "reference",
        "num_samples",
        "num_generated",
        "num_real",
        "real_split",
    )
    return json.dumps([record.get(field) for field in fields], sort_keys=True)


def _usual_protocol(contents: Mapping[str, Mapping[str, Any]], key: str) -> str:
    """The protocol of most records of a measure, the first of equally frequent ones."""
    records = [content["metrics"].get(key, {}) for content in contents.values()]
    found = [_comparable(record) for record in records if record and "reason" not in record]
    return max(dict.fromkeys(found), key=found.count, default="")


def _shown(record: Mapping[str, Any], quantity: Quantity) -> str:
    value = record.get(quantity.field)
    if value is None:
        return _NONE
    error = _error(record, quantity)
    if error is None or not math.isfinite(error):
        return f"{value:.4g}"
    return f"{value:.4g} ± {error:.2g}"


def _error(record: Mapping[str, Any], quantity: Quantity) -> float | None:
    """The error or spread of a number; a critic's of chance over critics and over images."""
    error = record.get(quantity.error) if quantity.error else None
    over_images = record.get("image_standard_error")
    return error if error is None or over_images is None else math.hypot(error, over_images)


def protocol_of(record: Mapping[str, Any], of_one: bool = True) -> str:
    """Returns what has to be known of a number to compare it with another.

    Args:
      record: the record of a measure.
      of_one: whether to add what is true of this record alone.
    """
    parts = []
    if record.get("classifier"):
        digest = record.get("classifier_digest")
        parts.append(f"classifier {record['classifier']}{f' ({digest[:8]})' if digest else ''}")
    if record.get("temperature"):
        calibrated = f": {record['mean_calibrated']:.4g} when calibrated" if of_one else ""
        parts.append(f"temperature {record['temperature']:.3g}{calibrated}")
    own_fields = (("held_out_split", "read off on {}"),) if of_one else ()
    for field, words in (
        ("num_splits", "± over {} splits"),
        ("num_batches", "± standard error over {} batches"),
        ("batch_size", "of {} images"),
        ("num_blocks", "± standard error over {} blocks"),
        ("neighbours", "neighbour {}"),
        ("num_generated", "{} samples"),
        ("num_real", "{} real images"),
        ("reference", "of {}"),
        ("real_split", "learnt on {}"),
        *own_fields,
    ):
        if isinstance(record.get(field), int | str):
            parts.append(words.format(record[field]))
    if record.get("per_seed"):
        steps = record["config"]["steps"]
        number, over_images = len(record["per_seed"]), record.get("image_standard_error")
        both = " and over images" if over_images is not None else ""
        parts.append(f"± standard error over {number} critics of {steps} steps{both}")
        if of_one:
            parts.extend(_of_one_critic(record))
    features = record.get("num_features")
    if features and record["num_generated"] <= features:
        parts.append(f"no more samples than the {features} features: biased upwards")
    return ", ".join(parts)


def _of_one_critic(record: Mapping[str, Any]) -> list[str]:
    """How far the critics and the model overfitted."""
    parts = []
    for field, words in (
        ("critic_gap", "critic's gap {:.3g}"),
        ("model_gap", "model's gap {:.3g}"),
        ("model_gap_image_standard_error", "± {:.2g} over images"),
    ):
        if record.get(field) is not None:
            parts.append(words.format(record[field]))
    return parts

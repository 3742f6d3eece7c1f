"""Evaluations side by side: tables, and the box and dot plots of Figures 4 and 5.

All take what `evaluation.json` holds: `metrics` with a record for each metric, `source` with what
was measured. A source with a `model` is a trained run, one with a `split` real images.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tfdm.eval.metrics import METRICS, Quantity
from tfdm.pictures import figure_png, new_figure

_NONE = "–"
_DOTS, _REAL = "black", ("#228833", "#ee6677", "#4477aa", "#aa3377")
_ARROWS = {True: " ↑", False: " ↓", None: ""}

# How tables tell the fields of records: what numbers depend on, and what is true of one alone.
_PROTOCOL = {
    "num_splits": "± over {} splits",
    "num_batches": "± standard error over {} batches",
    "batch_size": "{} images a batch",
    "num_blocks": "± standard error over {} blocks",
    "neighbours": "neighbour {}",
    "num_generated": "{} samples",
    "num_real": "{} real images",
    "reference": "of {}",
    "resizer": "images scaled {}",
    "real_split": "learnt on {}",
}
_OF_ONE = {
    "held_out_split": "read off on {}",
    "critic_gap": "critic's gap {:.3g}",
    "model_gap": "model's gap {:.3g}",
    "model_gap_image_standard_error": "± {:.2g} over images",
}

Content = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class _Column:
    """One number of one metric under one classifier, over several evaluations.

    Attributes:
      key: the metric's name in `evaluation.json`.
      quantity: the number in its record.
    """

    key: str
    quantity: Quantity

    def name(self, arrow: bool = True) -> str:
        """The heading: the number, its direction, and a second classifier."""
        _, colon, owner = self.key.partition(":")
        direction = _ARROWS[self.quantity.higher_is_better] if arrow else ""
        return f"{self.quantity.label}{direction}{f', {owner}' if colon else ''}"


def evaluation_table(content: Content) -> str:
    """Returns a Markdown table of one `evaluation.json`."""
    beside = f", beside {content['dataset']}" if content["dataset"] else ""
    lines = [
        f"{content['title']}: {content['num_samples']:,} samples, seed {content['seed']}{beside}",
        "",
        "| metric | value | protocol |",
        "|---|---|---|",
    ]
    for column in _columns([content]):
        record = content["metrics"][column.key]
        protocol = record.get("reason") or protocol_of(record)
        lines.append(f"| {column.name()} | {_shown(record, column.quantity)} | {protocol} |")
    return "\n".join(lines) + "\n"


def comparison_table(contents: Mapping[str, Content]) -> str:
    """Returns a Markdown table with a row for each evaluation, real images last.

    Below it stands the protocol of each metric; a number of another protocol than most in its
    column bears a dagger.

    Args:
      contents: what the `evaluation.json` files hold, by the name of the row.
    """
    columns = _columns(contents.values())
    usual = {column.key: _usual_protocol(contents, column.key) for column in columns}
    heads = " | ".join(column.name() for column in columns)
    lines = [f"| | samples | {heads} |", "|---" * (len(columns) + 2) + "|"]
    differs = False
    for name in sorted(contents, key=lambda name: "split" in contents[name]["source"]):
        content = contents[name]
        cells = [name, f"{content['num_samples']:,}"]
        for column in columns:
            record = content["metrics"].get(column.key, {})
            cell = _shown(record, column.quantity)
            if cell != _NONE and _comparable(record) != usual[column.key]:
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


def plot_comparison(contents: Mapping[str, Content], title: str) -> bytes:
    """Returns a PNG with one plot for each quantity.

    The runs of a model share a column: a box over their values, and a dot at the best (Figures 4
    and 5); one run is a dot. Real images and files of samples are horizontal lines. Numbers of
    another protocol than most, which the table marks, are left out.
    """
    columns = _columns(contents.values())
    groups: dict[str, list[str]] = {}
    for name, content in contents.items():
        if content["source"].get("model"):
            groups.setdefault(group_of(content["source"]), []).append(name)
    lines = [name for name in contents if not contents[name]["source"].get("model")]
    width = max(1, min(3, len(columns)))
    rows = -(-max(1, len(columns)) // width)
    figure = new_figure(4.2 * width, 3.2 * rows, title, fontsize=10)
    for index, column in enumerate(columns):
        axes = figure.add_subplot(rows, width, index + 1)
        values = _values(contents, column)
        for place, names in enumerate(groups.values()):
            shown = [values[name] for name in names if name in values]
            if len(shown) > 1:
                axes.boxplot([shown], positions=[place], widths=0.5, showfliers=True)
            if shown:
                best = _best(shown, column.quantity)
                axes.plot(place, best, "o", color=_DOTS, markersize=5)
        for number, name in enumerate(lines):
            if name in values:
                color = _REAL[number % len(_REAL)]
                axes.axhline(values[name], linestyle="--", linewidth=1.0, color=color, label=name)
        sign = "− " if column.quantity.negated else ""
        axes.set_title(sign + column.name(arrow=False), fontsize=9)
        labels = [name.replace("_", "\n", 1) for name in groups]
        axes.set_xticks(range(len(groups)), labels, fontsize=7)
        axes.set_xlim(-0.6, max(len(groups), 1) - 0.4)
        axes.tick_params(axis="y", labelsize=7)
        if index == 0 and axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=7)
    return figure_png(figure)


def _columns(contents: Iterable[Content]) -> list[_Column]:
    """The quantities that any evaluation has, those of a second classifier behind the others."""
    keys = {key: None for content in contents for key in content["metrics"]}
    owners = list(dict.fromkeys(key.partition(":")[2] for key in keys))
    return [
        _Column(key, quantity)
        for owner in owners
        for metric in METRICS.values()
        if (key := f"{metric.name}:{owner}" if owner else metric.name) in keys
        for quantity in metric.quantities
    ]


def _values(contents: Mapping[str, Content], column: _Column) -> dict[str, float]:
    """The numbers of a column in the sign of the plot, without those of another protocol."""
    sign = -1.0 if column.quantity.negated else 1.0
    usual = _usual_protocol(contents, column.key)
    records = {name: content["metrics"].get(column.key, {}) for name, content in contents.items()}
    return {
        name: sign * record[column.quantity.field]
        for name, record in records.items()
        if record.get(column.quantity.field) is not None and _comparable(record) == usual
    }


def group_of(source: Mapping[str, Any]) -> str:
    """Returns what a trained run is shown as: its model, apart from the same with noise."""
    noise = f", noise {source['noise_scale']:g}" if source.get("noise_scale") else ""
    return f"{source['model']}{noise}"


def _best(values: list[float], quantity: Quantity) -> float:
    """The best of several runs, in the sign of the plot; the median where neither end is best."""
    if quantity.higher_is_better is None:
        return float(np.median(values))
    return max(values) if quantity.higher_is_better or quantity.negated else min(values)


def _comparable(record: Mapping[str, Any]) -> str:
    """What two records must share for their numbers to be compared, as text.

    Which unseen images a critic is read off on is chance; those that it learnt from are not.
    """
    fields = ["config", "classifier_digest", "resizer", "num_samples", "num_generated", "num_real"]
    fields += ["real_split", "reference_digest"]
    return json.dumps([record.get(field) for field in fields], sort_keys=True)


def _usual_protocol(contents: Mapping[str, Content], key: str) -> str:
    """The protocol of most records of a metric, the first of equally frequent ones."""
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
      record: the record of a metric.
      of_one: whether to add what is true of this record alone.
    """
    parts = []
    if record.get("classifier"):
        digest = record.get("classifier_digest")
        parts.append(f"classifier {record['classifier']}{f' ({digest[:8]})' if digest else ''}")
    if record.get("temperature"):
        calibrated = f": {record['mean_calibrated']:.4g} when calibrated" if of_one else ""
        parts.append(f"temperature {record['temperature']:.3g}{calibrated}")
    parts += _in_words(record, _PROTOCOL)
    if record.get("per_seed"):
        steps = record["config"]["steps"]
        number, over_images = len(record["per_seed"]), record.get("image_standard_error")
        both = " and over images" if over_images is not None else ""
        parts.append(f"± standard error over {number} critics of {steps} steps{both}")
    parts += _in_words(record, _OF_ONE) if of_one else []
    features = record.get("num_features")
    if features and record["num_generated"] <= features:
        parts.append(f"no more samples than the {features} features: biased upwards")
    return ", ".join(parts)


def _in_words(record: Mapping[str, Any], fields: Mapping[str, str]) -> list[str]:
    values = {name: record[name] for name in fields if record.get(name) is not None}
    # One split, batch or block has no spread.
    return [
        fields[name].format(value)
        for name, value in values.items()
        if value != 1 or not fields[name].startswith("±")
    ]

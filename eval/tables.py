"""Evaluations side by side: tables, and the box and dot plots of Figures 4 and 5.

All take what `evaluation.json` holds. A `source` with a `model` is a trained run, one with a
`split` real images. A column is a metric's name and one number of its record.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tfdm.eval.metrics import METRICS, Quantity
from tfdm.pictures import figure_png, new_figure
from tfdm.tables import aligned_table, notes, wrapped

_NONE = "–"
_DOTS, _REAL = "black", ("#228833", "#ee6677", "#4477aa", "#aa3377")
_ARROWS = {True: " ↑", False: " ↓", None: ""}

# The fields of records in words: what numbers depend on, and what is true of one alone.
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
# What two records must share for their numbers to be compared. Which unseen images a critic is read
# off on is chance; those that it learnt from are not.
_COMPARABLE = (
    "config", "classifier_digest", "resizer", "num_samples", "num_generated", "num_real",
    "real_split", "reference_digest",
)  # fmt: skip

Content = Mapping[str, Any]


def evaluation_table(content: Content) -> str:
    """Returns a Markdown table of one `evaluation.json`, the protocol of each metric below it."""
    beside = f", beside {content['dataset']}" if content["dataset"] else ""
    title = (
        f"{content['title']}: {content['num_samples']:,} samples, seed {content['seed']}{beside}"
    )
    columns, metrics = _columns([content]), content["metrics"]
    rows = [(_heading(key, quantity), _shown(metrics[key], quantity)) for key, quantity in columns]
    said = {key: metrics[key].get("reason") or _protocol_of(metrics[key]) for key, _ in columns}
    lines = [wrapped(title), "", *aligned_table(("metric", "value"), rows), "", *notes(said)]
    return "\n".join(lines) + "\n"


def comparison_table(contents: Mapping[str, Content]) -> str:
    """Returns a Markdown table with a row for each evaluation by its name, real images last.

    A number of another protocol than most in its column bears a dagger.
    """
    columns = _columns(contents.values())
    usual = {key: _usual(contents, key) for key, _ in columns}
    heads = " | ".join(itertools.starmap(_heading, columns))
    lines = [f"| | samples | {heads} |", "|---" * (len(columns) + 2) + "|"]
    differs = False
    for name, content in sorted(contents.items(), key=lambda row: "split" in row[1]["source"]):
        cells = [name, f"{content['num_samples']:,}"]
        for key, quantity in columns:
            record = content["metrics"].get(key, {})
            cell = _shown(record, quantity)
            if cell != _NONE and _comparable(record) != _comparable(usual[key]):
                cell, differs = f"{cell} †", True
            cells.append(cell)
        lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    for key, record in usual.items():
        if record:
            lines.append(f"- {key.replace(':', ', ')}: {_protocol_of(record, of_one=False)}")
    if differs:
        lines.append("- † another protocol than most of the column: not to be compared with it")
    return "\n".join(lines) + "\n"


def plot_comparison(contents: Mapping[str, Content], title: str) -> bytes:
    """Returns a PNG with one plot for each quantity.

    The runs of a model share a column: a box over their values, and a dot at the best (Figures 4
    and 5). Real images and files of samples are horizontal lines. Numbers that the table marks are
    left out.
    """
    columns = _columns(contents.values())
    groups: dict[str, list[str]] = {}
    lines: list[str] = []
    for name, content in contents.items():
        is_run = content["source"].get("model")
        same = groups.setdefault(group_of(content["source"]), []) if is_run else lines
        same.append(name)
    width = max(1, min(3, len(columns)))
    rows = -(-max(1, len(columns)) // width)
    figure = new_figure(4.2 * width, 3.2 * rows, title, fontsize=10)
    for index, (key, quantity) in enumerate(columns):
        axes = figure.add_subplot(rows, width, index + 1)
        values = _values(contents, key, quantity)
        for place, names in enumerate(groups.values()):
            shown = [values[name] for name in names if name in values]
            if len(shown) > 1:
                axes.boxplot([shown], positions=[place], widths=0.5, showfliers=True)
            if shown:
                axes.plot(place, _best(shown, quantity), "o", color=_DOTS, markersize=5)
        for name, color in zip(lines, itertools.cycle(_REAL), strict=False):
            if name in values:
                axes.axhline(values[name], linestyle="--", linewidth=1.0, color=color, label=name)
        sign = "− " if quantity.negated else ""
        axes.set_title(sign + _heading(key, quantity, arrow=False), fontsize=9)
        labels = [name.replace("_", "\n", 1) for name in groups]
        axes.set_xticks(range(len(groups)), labels, fontsize=7)
        axes.set_xlim(-0.6, max(len(groups), 1) - 0.4)
        axes.tick_params(axis="y", labelsize=7)
        if index == 0 and axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=7)
    return figure_png(figure)


def group_of(source: Mapping[str, Any]) -> str:
    """Returns what a trained run is shown as: its model, apart from the same with noise."""
    noise = f", noise {source['noise_scale']:g}" if source.get("noise_scale") else ""
    return f"{source['model']}{noise}"


def _columns(contents: Iterable[Content]) -> list[tuple[str, Quantity]]:
    """The quantities that any evaluation has, those of a second classifier behind the others."""
    keys = {key: None for content in contents for key in content["metrics"]}
    owners = dict.fromkeys(key.partition(":")[2] for key in keys)
    return [
        (key, quantity)
        for owner in owners
        for metric in METRICS.values()
        if (key := f"{metric.name}:{owner}" if owner else metric.name) in keys
        for quantity in metric.quantities
    ]


def _heading(key: str, quantity: Quantity, arrow: bool = True) -> str:
    """The number, its direction, and a second classifier."""
    direction = _ARROWS[quantity.higher_is_better] if arrow else ""
    return ", ".join([quantity.label + direction, *key.split(":")[1:]])


def _values(contents: Mapping[str, Content], key: str, quantity: Quantity) -> dict[str, float]:
    """The numbers of a column in the sign of the plot, without those of another protocol."""
    sign, usual = -1.0 if quantity.negated else 1.0, _comparable(_usual(contents, key))
    return {
        name: sign * record[quantity.field]
        for name, content in contents.items()
        if (record := content["metrics"].get(key, {})).get(quantity.field) is not None
        and _comparable(record) == usual
    }


def _best(values: list[float], quantity: Quantity) -> float:
    """The best of several runs, in the sign of the plot; the median where neither end is best."""
    if quantity.higher_is_better is None:
        return float(np.median(values))
    return max(values) if quantity.higher_is_better or quantity.negated else min(values)


def _comparable(record: Mapping[str, Any]) -> str:
    return json.dumps([record.get(field) for field in _COMPARABLE], sort_keys=True)


def _usual(contents: Mapping[str, Content], key: str) -> Mapping[str, Any]:
    """The first record of a metric that has the protocol of most, `{}` where none has numbers."""
    records = [content["metrics"].get(key, {}) for content in contents.values()]
    records = [record for record in records if record and "reason" not in record]
    protocols = [_comparable(record) for record in records]
    return max(records, key=lambda record: protocols.count(_comparable(record)), default={})


def _shown(record: Mapping[str, Any], quantity: Quantity) -> str:
    """A number with its error or spread: a critic's is of chance over critics and over images."""
    value = record.get(quantity.field)
    if value is None:
        return _NONE
    error = record.get(quantity.error) if quantity.error else None
    if error is not None:
        error = math.hypot(error, record.get("image_standard_error") or 0.0)
    spread = "" if error is None or not math.isfinite(error) else f" ± {error:.2g}"
    return f"{value:.4g}{spread}"


def _protocol_of(record: Mapping[str, Any], of_one: bool = True) -> str:
    """What numbers depend on and, with `of_one`, what is true of this record alone."""
    parts = []
    if record.get("classifier"):
        digest = record.get("classifier_digest")
        parts.append(f"classifier {record['classifier']}{f' ({digest[:8]})' if digest else ''}")
    if record.get("temperature"):
        calibrated = f": {record['mean_calibrated']:.4g} when calibrated" if of_one else ""
        parts.append(f"temperature {record['temperature']:.3g}{calibrated}")
    parts += _in_words(record, _PROTOCOL)
    if record.get("per_seed"):
        both = "" if record.get("image_standard_error") is None else " and over images"
        number, steps = len(record["per_seed"]), record["config"]["steps"]
        several = f"± standard error over {number} critics of {steps} steps{both}"
        parts.append(several if number > 1 else f"one critic of {steps} steps")
    parts += _in_words(record, _OF_ONE) if of_one else []
    features = record.get("num_features")
    for field, what in (("num_generated", "samples"), ("num_real", "real images")):
        if features and record[field] <= features:
            parts.append(f"no more {what} than the {features} features: biased upwards")
    if of_one and record.get("num_classes"):
        size = record["num_samples"] // record["num_splits"]
        if size < record["num_classes"]:
            parts.append(f"{size} images a split: at most {size}")
    return ", ".join(parts)


def _in_words(record: Mapping[str, Any], fields: Mapping[str, str]) -> list[str]:
    return [
        words.format(record[name])
        for name, words in fields.items()
        # One split, batch or block has no spread.
        if record.get(name) is not None and not (record[name] == 1 and words.startswith("±"))
    ]

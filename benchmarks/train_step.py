"""Milliseconds a training step, for every model, image size and precision.

    python benchmarks/train_step.py [--models=dcgan,aae_gan] [--sizes=28,32] [--steps=15]
    python benchmarks/train_step.py --whole=aae_plus_plus

The second compares a whole run of the training command (data, logs, grids, checkpoints) with the
bare step before and after it.

All models of one size and precision are measured in turns in one process, with the machine's
matrix product between them, so that ratios hold on a machine whose speed wanders. Prints a table
and with --output=FILE writes the same as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from operations import COUNTED, matrix_product_rate, seconds, step_operations

from tfdm.experiments.config import resolve_run_config
from tfdm.experiments.train import train_run
from tfdm.models.registry import MODELS

PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
WARM_UP = 3
# Sizes at which two cores take seconds, not minutes; they stand in the model's row.
SMALLER: dict[str, dict[str, Any]] = {"draw": {"hidden_maps": 24}}


def make_step(
    name: str, size: int, precision: str, batch_size: int
) -> tuple[Any, Callable[[], tf.Tensor]]:
    """Returns a model and a function that runs one traced training step on a fixed batch."""
    entry = MODELS[name]
    config = entry.config(**SMALLER.get(name, {}))
    model = entry.load()(config, (size, size, 3), seed=0, dtype=PRECISIONS[precision])
    batches = (model.batches_per_step,) if model.batches_per_step > 1 else ()
    images = np.random.default_rng(0).integers(
        0, 256, (batch_size, *batches, size, size, 3), dtype=np.uint8
    )
    step = tf.function(model.train_step, autograph=False)
    batch = tf.constant(images)

    def run() -> tf.Tensor:
        return next(iter(step(batch).values()))

    for _ in range(WARM_UP):
        run()
    return model, run


def measure(
    names: list[str], size: int, precision: str, steps: int, batch_size: int
) -> list[dict[str, Any]]:
    """Returns a row for each model, measured in turns with the matrix product."""
    made = {name: make_step(name, size, precision, batch_size) for name in names}
    times: dict[str, list[float]] = {name: [] for name in names}
    peak = 0.0
    for _ in range(steps):
        peak = max(peak, matrix_product_rate("float32", repeats=1))
        for name, (_, run) in made.items():
            times[name] += seconds(run, 1)
    rows = []
    for name, (model, _) in made.items():
        row: dict[str, Any] = {"model": name, "size": size, "precision": precision}
        row |= SMALLER.get(name, {})
        row["milliseconds"] = {
            "median": 1e3 * float(np.median(times[name])),
            "best": 1e3 * min(times[name]),
        }
        if name in COUNTED:
            operations = step_operations(model, name, batch_size)
            rate = operations / min(times[name])
            row["gigaflop"] = operations / 1e9
            row["gigaflop_per_second"] = rate / 1e9
            row["share_of_float32_peak"] = rate / peak
            row["float32_peak_gigaflop_per_second"] = peak / 1e9
        rows.append(row)
    return rows


def measure_whole(name: str, steps: int, batch_size: int) -> dict[str, Any]:
    """Returns the step times of a run on the default data set and of the bare step around it."""
    values = {"model": name, "steps": steps, "batch_size": batch_size}
    _, bare = make_step(name, 28, "float32", batch_size)
    before = seconds(bare, steps // 4)
    with tempfile.TemporaryDirectory() as folder:
        config = resolve_run_config({**values, "output_dir": f"{folder}/run"})
        summary = train_run(config, progress=False).summary
    after = seconds(bare, steps // 4)
    whole = 1.0 / summary["steps_per_second"]
    mean = float(np.mean([*before, *after]))
    return {
        "model": name,
        "steps": steps,
        "bare_milliseconds": 1e3 * mean,
        "bare_milliseconds_before_and_after": [1e3 * float(np.mean(t)) for t in (before, after)],
        "whole_milliseconds": 1e3 * whole,
        "loss": whole / mean - 1.0,
        "peak_memory_mib": summary["peak_memory_mib"],
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the rows as a table of text."""
    heads = f"{'median':>9}{'best':>9}{'GFLOP/s':>9}{'peak':>7}"
    lines = [f"{'model':16}{'size':>5}  {'precision':10}{heads}"]
    for row in rows:
        line = f"{row['model']:16}{row['size']:5}  {row['precision']:10}"
        line += "".join(f"{row['milliseconds'][key]:6.1f} ms" for key in ("median", "best"))
        if "gigaflop" in row:
            share = row["share_of_float32_peak"]
            line += f"{row['gigaflop_per_second']:9.0f}{100 * share:6.0f}%"
        lines.append(line)
    return "\n".join(lines)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--sizes", default="28,32")
    parser.add_argument("--precisions", default=",".join(PRECISIONS))
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--whole", help="a model whose whole run is compared with the bare step")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    if arguments.whole:
        whole = measure_whole(arguments.whole, max(arguments.steps, 400), arguments.batch_size)
        print(json.dumps(whole, indent=2))
        return
    rows = []
    for size in map(int, arguments.sizes.split(",")):
        for precision in arguments.precisions.split(","):
            names = arguments.models.split(",")
            rows += measure(names, size, precision, arguments.steps, arguments.batch_size)
    print(table(rows))
    if arguments.output:
        versions = {"python": platform.python_version(), "tensorflow": tf.__version__}
        record = {"versions": versions, "cores": os.cpu_count(), "rows": rows}
        arguments.output.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

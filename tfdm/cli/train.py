"""`tfdm-train`: trains a model into a run folder, or goes on with the run that stands there."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfdm.cli.command import how_to_call, quiet_tensorflow, run_command
from tfdm.cli.flags import help_text, wants_help
from tfdm.cli.train_flags import TrainingRequest, flag_groups, read_request

if TYPE_CHECKING:
    from tfdm.runs import RunFolder

_SUMMARY = (
    "Trains a model and leaves a run folder: grids of samples and reconstructions, TensorBoard "
    "logs, checkpoints, the trained networks as SavedModels, and config.json and summary.json. "
    "The same command goes on with a run that was stopped, from its newest good checkpoint."
)

_ENDING = """\
Examples
  {command}
      AAE++ on 4,000 real digits, some five minutes on two cores
  {command} --model=vae --dataset=cifar10 --steps=5000 --latent_dim=128
  {command} --model=wgan_gp --config.critic_steps=3 --seed=1 --output_dir=runs/three-steps

Exit status
  0 done, 2 bad input, 3 training diverged, 130 interrupted, 143 stopped by SIGTERM; after 130
  and 143 during training the last step stands in a checkpoint"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return run_command(_train, arguments)


def _train(arguments: Sequence[str]) -> None:
    if wants_help(arguments):
        command = how_to_call("train")
        usage = f"{command} [--NAME=VALUE ...]"
        print(help_text(usage, _SUMMARY, flag_groups(), _ENDING.format(command=command)), end="")
        return
    request = read_request(arguments)
    from tfdm.runs import RunFolder  # with NumPy, which the help can do without

    config, folder = request.config, RunFolder(request.output_dir)
    if config.strategy == "multi_worker":
        # The folder may be the chief's alone, and is checked when it is known who that is.
        summary = _run(request)
    else:
        folder.create()
        try:
            folder.check_config(config.flat())
            summary = _run(request)
        finally:
            folder.discard_if_unused()
    print(report(summary, folder))


def _run(request: TrainingRequest) -> dict[str, Any]:
    config = request.config
    with quiet_tensorflow():
        from tfdm.experiments.train import train

        device = _device(config.strategy)
    print(
        f"{config.model} on {config.dataset}: {config.steps} steps of batch {config.batch_size}, "
        f"seed {config.seed}, {device}, into {request.output_dir}",
        flush=True,
    )
    return train(config, request.output_dir, data_dir=request.data_dir, cache_dir=request.cache_dir)


def _device(strategy: str) -> str:
    """Names what the strategy will train on, without initialising TensorFlow's runtime."""
    import tensorflow as tf

    if strategy in ("cpu", "tpu"):
        return strategy.upper()
    if strategy == "multi_worker":
        try:
            cluster = json.loads(os.environ["TF_CONFIG"])
            task = cluster["task"]
            return f"{task['type']} {task['index']} of a cluster"
        except (KeyError, TypeError, ValueError):
            return "a cluster"  # the strategy will say what is wrong with TF_CONFIG
    gpus = len(tf.config.list_physical_devices("GPU"))
    return f"{gpus} GPU{'s' if gpus > 1 else ''}" if gpus else "CPU"


def report(summary: Mapping[str, Any], folder: RunFolder) -> str:
    """Returns the closing table: final losses, rate, and where to look.

    Args:
      summary: what `tfdm.experiments.train.train` returned; a worker that is not the chief has
        only `steps` to tell.
      folder: the run folder.
    """
    if "final" not in summary:
        return f"done: {summary['steps']} steps"
    rate = summary.get("steps_per_second")
    rows = {name: f"{value:.4g}" for name, value in summary["final"].items() if value is not None}
    rows |= {
        "steps": f"{summary['steps']}",
        "steps a second": "-" if rate is None else f"{rate:.3g}",
        "time": _duration(summary["wall_seconds"]),
    }
    places = {
        "samples": _newest_grid(folder.samples),
        "reconstructions": _newest_grid(folder.reconstructions),
        "curves": f"tensorboard --logdir {folder.path}",
        "SavedModels": folder.export if folder.export.is_dir() else None,
        "summary": folder.summary_path,
    }
    places = {name: place for name, place in places.items() if place is not None}
    width = max(map(len, [*rows, *places]))
    numbers = max(map(len, rows.values()))
    lines = [f"  {name:{width}}  {value:>{numbers}}" for name, value in rows.items()]
    lines += ["", *(f"  {name:{width}}  {place}" for name, place in places.items())]
    return "\n".join(["", *lines])


def _newest_grid(folder: Path) -> Path | None:
    return max(folder.glob("step_*.png"), default=None, key=lambda path: (len(path.name), path))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"

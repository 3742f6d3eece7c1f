"""`tfdm-train`: trains a model into a run folder, or resumes the run that stands there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from tfdm.cli.command import Command, quiet_tensorflow
from tfdm.cli.flags import Given
from tfdm.cli.train_flags import flag_groups, run_config
from tfdm.experiments.config import RunConfig, default_fields

if TYPE_CHECKING:
    from tfdm.experiments.train import TrainingResult


def _train(given: Given) -> str:
    from tfdm.runs import RunFolder  # loads NumPy, which the help does without

    config = run_config(given)
    folder = RunFolder(config.folder)
    if config.strategy == "multi_worker":
        # The folder may be the chief's alone, and is checked when it is known who that is.
        return report(_run(config))
    folder.create()
    try:
        folder.check_config(config.flat(), default_fields(config))
        return report(_run(config))
    finally:
        folder.discard_if_unused()


def _run(config: RunConfig) -> TrainingResult:
    with quiet_tensorflow():
        from tfdm.experiments.train import train_run

        device = _device(config.strategy)
    print(
        f"{config.model} on {config.dataset}: {config.steps} steps of batch {config.batch_size}, "
        f"latent_dim {config.hyperparameters.latent_dim}, seed {config.seed}, {device}, "
        f"into {config.folder}",
        flush=True,
    )
    return train_run(config)


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


def report(result: TrainingResult) -> str:
    """Returns the closing table: final losses, rate, and where to look."""
    if result.wall_seconds is None:  # a worker that is not the chief
        return f"done: {result.steps} steps"
    folder, rate = result.folder, result.steps_per_second
    rows = {name: f"{value:.4g}" for name, value in result.final.items() if value is not None}
    rows |= {
        "steps": f"{result.steps}",
        "steps a second": "-" if rate is None else f"{rate:.3g}",
        "time": _duration(result.wall_seconds),
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


COMMAND = Command(
    name="train",
    usage="[--NAME=VALUE ...]",
    summary=(
        "Trains a model and leaves a run folder: grids of samples and reconstructions, TensorBoard "
        "logs, checkpoints, the trained networks as SavedModels, and config.json and summary.json. "
        "The same command resumes a run that was interrupted, from its newest good checkpoint."
    ),
    groups=flag_groups,
    run=_train,
    ending="""\
Examples
  {command}
      AAE++ on 4,000 real digits, some five minutes on two cores
  {command} --model=vae --dataset=cifar10 --steps=5000 --latent_dim=128
  {command} --model=wgan_gp --config.critic_steps=3 --seed=1 --output_dir=runs/three-steps

Exit status
  0 done, 2 bad input, 3 training diverged, 130 interrupted, 143 stopped by SIGTERM; after 130
  and 143 during training the last step stands in a checkpoint""",
)
main = COMMAND.main

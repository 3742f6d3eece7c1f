"""`tfdm-train`: trains a model into a run folder, or resumes the run that stands there."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable

from tfdm.cli.command import Command
from tfdm.cli.flags import Flag, FlagGroup, Given, flags_of, listed
from tfdm.datasets.registry import DATASETS
from tfdm.errors import UserError
from tfdm.experiments.config import RunConfig, preset_default, resolve_run_config
from tfdm.models.registry import MODELS, find_model, model_names
from tfdm.quiet import quiet_tensorflow
from tfdm.training.config import ModelConfig

PREFIX = "config."


def flag_groups() -> list[FlagGroup]:
    """Returns the flags of the run, those of all models and of each, and short forms."""
    for name in set(model_names()) - MODELS.keys():  # of other packages
        with quiet_tensorflow(), contextlib.suppress(UserError):
            find_model(name)
    run = _with_presets(flags_of(RunConfig))
    return [
        FlagGroup("What to train, and how", run),
        FlagGroup("Models", note=listed({name: m.summary for name, m in MODELS.items()})),
        FlagGroup("Data sets", note=listed({name: d.summary for name, d in DATASETS.items()})),
        *_model_groups(),
        FlagGroup("", _short_forms(flag.name for flag in run)),
    ]


def run_config(given: Given) -> RunConfig:
    """Returns the run that a command line describes; a `UserError` says what to change in it."""
    full = {n.removeprefix(PREFIX): v for n, v in given.items() if n.startswith(PREFIX)}
    short = {n: v for n, v in given.items() if not n.startswith(PREFIX) and n != "register"}
    return resolve_run_config(short, full)


def _model_groups() -> list[FlagGroup]:
    """Returns the hyperparameters that all models share, then those of each model."""
    shared = {field.name: field for field in dataclasses.fields(ModelConfig)}
    heading = "Hyperparameters of every model; --NAME=VALUE is short for --config.NAME=VALUE"
    groups = [FlagGroup(heading, _with_presets(flags_of(ModelConfig, prefix=PREFIX)))]
    for name, entry in MODELS.items():
        own = tuple(
            dataclasses.replace(flag, is_text=True)
            for flag in flags_of(entry.config, prefix=PREFIX)
            if flag.field is not shared.get(flag.field.name)
        )
        groups.append(FlagGroup(f"Hyperparameters of {name}", own))
    return groups


def _with_presets(flags: Iterable[Flag]) -> tuple[Flag, ...]:
    """Returns the flags with the values of the presets in their help."""
    return tuple(
        dataclasses.replace(flag, shown_default=preset_default(flag.field)) for flag in flags
    )


def _short_forms(taken: Iterable[str]) -> tuple[Flag, ...]:
    """Returns `--latent_dim` for `--config.latent_dim`, and so on, where the name is free."""
    taken = set(taken)
    fields = {
        field.name: field
        for entry in MODELS.values()
        for field in dataclasses.fields(entry.config)
        if field.name not in taken
    }
    return tuple(Flag(name, field, in_help=False, is_text=True) for name, field in fields.items())


def _train(given: Given) -> str:
    from tfdm.experiments.train import train_run  # loads NumPy, which the help does without

    return train_run(run_config(given)).table()


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
      AAE++ on 4,000 real digits, about six minutes on two cores
  {command} --model=vae --dataset=cifar10 --latent_dim=128
  {command} --model=wgan_gp --critic_steps=3 --output_dir=runs/w

Exit status
  0 done, 1 system failure, 2 bad input, 3 training diverged, 130 interrupted,
  143 stopped by SIGTERM; training that ends with 130 or 143 leaves a checkpoint
  of its last step""",
)
main = COMMAND.main

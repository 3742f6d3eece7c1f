"""The flags of `tfdm-train`: those of the run, those of every model, and short forms."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from tfdm.cli.flags import Flag, FlagGroup, Given, flags_of, listed
from tfdm.datasets.registry import DATASETS
from tfdm.errors import UserError
from tfdm.experiments.config import PRESETS, RunConfig, preset_values, resolve_run_config
from tfdm.models.registry import MODELS, find_model
from tfdm.training.config import ModelConfig

Fields = tuple[dataclasses.Field, ...]

PREFIX = "config."
_GROUPS = {
    "What to train": ("model", "dataset", "preset", "steps", "batch_size", "seed"),
    "Data sets": ("image_size", "crop"),
    "Folders": ("output_dir", "data_dir", "cache_dir"),
    "How to train": ("strategy", "precision", "steps_per_execution"),
    "What to report": ("log_every", "sample_every", "checkpoint_every"),
}


def flag_groups() -> list[FlagGroup]:
    """Returns all flags: the run's, those of every model, those of some models, short forms."""
    placed = {name for names in _GROUPS.values() for name in names}
    flags = {flag.name: _with_presets(flag) for flag in flags_of(RunConfig)}
    # A field that is added to the configuration gets its flag without being named here.
    groups = {**_GROUPS, "More": tuple(name for name in flags if name not in placed)}
    notes = {"Data sets": {name: entry.summary for name, entry in DATASETS.items()}}
    models = FlagGroup("Models", note=listed({m.name: m.summary for m in MODELS.values()}))
    run = [
        FlagGroup(title, tuple(flags[n] for n in names if n in flags), _note(notes.get(title)))
        for title, names in groups.items()
    ]
    of_models = [
        FlagGroup(title, tuple(Flag(PREFIX + field.name, field) for field in fields))
        for title, fields in _model_groups()
    ]
    return [run[0], models, *run[1:], *of_models, FlagGroup("", _short_forms(flags))]


def run_config(given: Given) -> RunConfig:
    """Returns the run that a command line describes.

    Raises:
      UserError: it does not describe a run; the line says what to change.
    """
    values = given.values
    _refuse_other_models(values)
    full = {n.removeprefix(PREFIX): v for n, v in values.items() if n.startswith(PREFIX)}
    short = {n: v for n, v in values.items() if not n.startswith(PREFIX) and n != "register"}
    return resolve_run_config(short, full)


def _refuse_other_models(values: Mapping[str, Any]) -> None:
    """Names the models that know a hyperparameter which the chosen one does not."""
    chosen = find_model(values.get("model", RunConfig.model))
    taken = {flag.name for flag in flags_of(RunConfig)}
    for flag in values:
        name = flag.removeprefix(PREFIX)
        owners = [entry.name for entry in MODELS.values() if name in _names(entry.config)]
        if (flag != name or name not in taken) and owners and chosen.name not in owners:
            raise UserError(
                f"--{flag} is a hyperparameter of {' and '.join(owners)}, not of {chosen.name}: "
                "drop it or choose another --model"
            )


def _names(config: type[ModelConfig]) -> set[str]:
    return {field.name for field in dataclasses.fields(config)}


def _with_presets(flag: Flag) -> Flag:
    by_preset = {
        preset: {preset_values(preset, name).get(flag.name) for name in DATASETS}
        for preset in PRESETS
    }
    if None in by_preset[PRESETS[0]]:
        return flag
    shown = [
        f"{' or '.join(str(value) for value in sorted(values, key=str))} ({preset})"
        for preset, values in by_preset.items()
    ]
    return dataclasses.replace(flag, shown_default=", ".join(shown))


def _model_groups() -> list[tuple[str, Fields]]:
    """Returns headings and fields: those of all models first, then those of models alike."""
    by_model: dict[str, Fields] = {n: dataclasses.fields(e.config) for n, e in MODELS.items()}
    shared = tuple(
        field
        for field in dataclasses.fields(ModelConfig)
        if all(_signature(field) in map(_signature, fields) for fields in by_model.values())
    )
    alike: dict[tuple, tuple[list[str], Fields]] = {}
    for name, fields in by_model.items():
        own = tuple(f for f in fields if _signature(f) not in map(_signature, shared))
        alike.setdefault(tuple(map(_signature, own)), ([], own))[0].append(name)
    heading = "Hyperparameters of every model; --NAME=VALUE is short for --config.NAME=VALUE"
    return [(heading, shared)] + [
        (f"Hyperparameters of {' and '.join(names)}", fields) for names, fields in alike.values()
    ]


def _signature(field: dataclasses.Field) -> tuple:
    return (field.name, field.default, *sorted(map(repr, field.metadata.items())))


def _short_forms(taken: Iterable[str]) -> tuple[Flag, ...]:
    """Returns `--latent_dim` for `--config.latent_dim`, and so on, where the name is free."""
    taken = set(taken)
    fields = {
        field.name: field
        for entry in MODELS.values()
        for field in dataclasses.fields(entry.config)
        if field.name not in taken
    }
    return tuple(Flag(name, field, in_help=False) for name, field in fields.items())


def _note(entries: Mapping[str, str] | None) -> str:
    return listed(entries) if entries else ""

"""The flags of `tfdm-train`, made from the configuration, and the run that they describe."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from tfdm.cli.flags import Flag, FlagGroup, field_flag, parse_flags
from tfdm.datasets.registry import DATASETS
from tfdm.errors import UserError
from tfdm.experiments import config
from tfdm.models import registry
from tfdm.training.config import ModelConfig

Fields = tuple[dataclasses.Field, ...]

_PREFIX = "config."
_WHAT = ("model", "dataset", "preset", "steps", "batch_size", "seed")
_IMAGES = ("image_size", "crop")
_HOW = ("strategy", "precision", "steps_per_execution")
_REPORTS = ("log_every", "sample_every", "checkpoint_every")

_FOLDERS = (
    Flag(
        "output_dir",
        "the run folder; one that holds the same run is resumed",
        value="DIR",
        default="runs/MODEL-DATASET-seedSEED",
    ),
    Flag(
        "data_dir",
        "where the data set is read from: the data folder of TFDS, or your folder of images",
        value="DIR",
        default="$TFDS_DATA_DIR or TFDS's own",
    ),
    Flag(
        "cache_dir",
        "where prepared data sets are kept",
        value="DIR",
        default="$TFDM_CACHE_DIR or ~/.cache/tfdm",
    ),
)


@dataclasses.dataclass(frozen=True)
class TrainingRequest:
    """What a command line of `tfdm-train` asks for.

    Attributes:
      config: the checked configuration.
      output_dir: the run folder.
      data_dir: where the data set is read from; `None` leaves it to the data set.
      cache_dir: where the prepared data set stands; `None` leaves it to the data set.
    """

    config: config.RunConfig
    output_dir: Path
    data_dir: str | None
    cache_dir: str | None


def read_request(arguments: Sequence[str]) -> TrainingRequest:
    """Reads and checks a command line.

    Raises:
      UserError: it does not describe a run; the line says what to change.
    """
    given = parse_flags(flag_groups(), arguments)
    folders = {flag.name: given.pop(flag.name, None) for flag in _FOLDERS}
    full = {n.removeprefix(_PREFIX): v for n, v in given.items() if n.startswith(_PREFIX)}
    short = {n: v for n, v in given.items() if not n.startswith(_PREFIX)}
    _refuse_other_models(given)
    run = config.resolve_run_config(short, full)
    if run.dataset == "image_folder" and folders["data_dir"] is None:
        raise UserError("--dataset=image_folder needs --data_dir: the folder of your images")
    default = Path("runs", f"{run.model}-{run.dataset}-seed{run.seed}")
    return TrainingRequest(
        config=run,
        output_dir=Path(folders["output_dir"] or default).expanduser(),
        data_dir=folders["data_dir"],
        cache_dir=folders["cache_dir"],
    )


def _refuse_other_models(given: Mapping[str, str]) -> None:
    """Names the models that know a hyperparameter which the chosen one does not."""
    chosen = registry.find_model(given.get("model", config.RunConfig.model))
    taken = {field.name for field in config.run_fields()}
    for flag in given:
        name = flag.removeprefix(_PREFIX)
        owners = [entry.name for entry in registry.MODELS.values() if _has(entry, name)]
        if (flag != name or name not in taken) and owners and chosen.name not in owners:
            raise UserError(
                f"--{flag} is a hyperparameter of {' and '.join(owners)}, not of {chosen.name}: "
                "drop it or choose another --model"
            )


def _has(entry: registry.ModelEntry, name: str) -> bool:
    return name in {field.name for field in dataclasses.fields(entry.config)}


def flag_groups() -> list[FlagGroup]:
    """Returns all flags: the run's, those of every model, those of some models, short forms."""
    fields = {field.name: field for field in config.run_fields()}
    # A field added to the configuration gets its flag without being named here.
    placed = {*_WHAT, *_IMAGES, *_HOW, *_REPORTS}
    rest = tuple(name for name in fields if name not in placed)

    def run_flags(names: Sequence[str]) -> tuple[Flag, ...]:
        return tuple(_run_flag(fields[name]) for name in names)

    models = [FlagGroup(title, _hyperparameter_flags(names)) for title, names in _model_groups()]
    return [
        FlagGroup("What to train", run_flags(_WHAT)),
        FlagGroup("Models", note=_listed({e.name: e.summary for e in registry.MODELS.values()})),
        FlagGroup(
            "Data sets",
            run_flags(_IMAGES),
            note=_listed({e.name: e.summary for e in DATASETS.values()}),
        ),
        FlagGroup("Folders", _FOLDERS),
        FlagGroup("How to train", run_flags((*_HOW, *rest))),
        FlagGroup("What to report", run_flags(_REPORTS)),
        *models,
        FlagGroup("", tuple(_short_forms(fields))),
    ]


def _run_flag(field: dataclasses.Field) -> Flag:
    flag = field_flag(field)
    presets = {
        preset: {config.preset_values(preset, name).get(field.name) for name in DATASETS}
        for preset in config.PRESETS
    }
    if None in presets[config.PRESETS[0]]:
        return flag
    by_preset = [
        f"{' or '.join(str(value) for value in sorted(values, key=str))} ({preset})"
        for preset, values in presets.items()
    ]
    return dataclasses.replace(flag, default=", ".join(by_preset))


def _model_groups() -> list[tuple[str, Fields]]:
    """Returns headings and fields: those of all models first, then those of models alike."""
    by_model: dict[str, Fields] = {
        name: dataclasses.fields(entry.config) for name, entry in registry.MODELS.items()
    }
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
    return (field.name, field.default, tuple(sorted(field.metadata.items(), key=lambda i: i[0])))


def _hyperparameter_flags(fields: Fields) -> tuple[Flag, ...]:
    return tuple(field_flag(field, _PREFIX + field.name) for field in fields)


def _short_forms(run_fields: Mapping[str, dataclasses.Field]) -> list[Flag]:
    """Returns `--latent_dim` for `--config.latent_dim`, and so on, where the name is free."""
    taken = {*run_fields, *(flag.name for flag in _FOLDERS)}
    names = {
        field.name: field
        for entry in registry.MODELS.values()
        for field in dataclasses.fields(entry.config)
        if field.name not in taken
    }
    flags = (field_flag(field) for field in names.values())
    return [dataclasses.replace(flag, in_help=False) for flag in flags]


def _listed(entries: Mapping[str, str]) -> str:
    return "\n".join(f"{name:16}{text}" for name, text in entries.items())

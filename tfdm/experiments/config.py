"""The configuration of a run: what decides the weights that come out of it."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, Self

from tfdm.datasets.registry import DATASETS, find_dataset
from tfdm.errors import UserError, did_you_mean
from tfdm.fields import CheckedConfig, check_value, folder, parse_value, setting
from tfdm.models.config import AAEPlusPlusConfig
from tfdm.models.registry import MODELS, ModelEntry, find_model, model_names, unknown_model_advice
from tfdm.training.config import ModelConfig

PRESETS = ("quick", "paper")
STRATEGIES = ("auto", "cpu", "mirrored", "multi_worker", "tpu")
PRECISIONS = ("float32", "mixed_bfloat16")
_DATASET_NAME = re.compile(r"[^/\\\x00-\x1f]+")


@dataclasses.dataclass(frozen=True)
class RunConfig(CheckedConfig):
    """A checked, complete configuration of one training run.

    `dataset` is a name of the registry, or that of images which the caller has.
    """

    model: str = setting("aae_plus_plus", "the model, one of Models below", metavar="MODEL")
    dataset: str = setting(
        "color_mnist_5k", "the data set, one of Data sets below", metavar="DATASET"
    )
    preset: str = setting("quick", "the scale of the run", choices=PRESETS)
    steps: int = setting(2500, "training steps (generator updates)", minimum=1)
    batch_size: int = setting(64, "examples a step, over all replicas", minimum=1)
    seed: int = setting(0, "seed of all random numbers", minimum=0, maximum=2**31 - 1)
    strategy: str = setting("auto", "where to train", choices=STRATEGIES)
    precision: str = setting("float32", "arithmetic of the networks", choices=PRECISIONS)
    deterministic: bool = setting(
        False,
        "use deterministic TensorFlow operations, for an exact resume on a GPU; slower",
    )
    image_size: int = setting(0, "side of the images in pixels; 0 is the data set's own", minimum=0)
    crop: int = setting(0, "side of the centre crop in pixels; 0 is the data set's own", minimum=0)
    log_every: int = setting(50, "steps between two logged lines", minimum=1)
    sample_every: int = setting(500, "steps between two grids of images", minimum=1)
    checkpoint_every: int = setting(500, "steps between two checkpoints", minimum=1)
    steps_per_execution: int = setting(1, "steps in one call of the traced function", minimum=1)
    output_dir: str | None = folder(
        "the run folder; one that holds the same run is resumed", "runs/MODEL-DATASET-seedSEED"
    )
    data_dir: str | None = folder(
        "where the data set is read from: the data folder of TFDS, or your folder of images",
        "$TFDS_DATA_DIR or TFDS's own",
    )
    cache_dir: str | None = folder(
        "where prepared data sets are kept", "$TFDM_CACHE_DIR or ~/.cache/tfdm"
    )
    hyperparameters: ModelConfig = dataclasses.field(default_factory=AAEPlusPlusConfig)

    def __post_init__(self) -> None:
        """Checks every field; raises `ValueError` with the value and what was expected."""
        super().__post_init__()
        if not _DATASET_NAME.fullmatch(self.dataset):  # It becomes part of the name of a folder.
            raise ValueError(f"dataset is {self.dataset!r}, expected a name without '/'")
        try:
            expected = find_model(self.model).config
        except UserError as error:
            raise ValueError(str(error)) from None
        if type(self.hyperparameters) is not expected:
            given = type(self.hyperparameters).__name__
            raise ValueError(f"hyperparameters are a {given}, expected a {expected.__name__}")
        taken = sorted(_names(expected) & {field.name for field in run_fields()})
        if taken:
            name = expected.__name__
            raise ValueError(f"{name} has {', '.join(taken)}, which every run has: rename them")

    @property
    def folder(self) -> str:
        """The run folder: `output_dir`, or the default one."""
        default = f"runs/{self.model}-{self.dataset}-seed{self.seed}"
        return os.path.expanduser(self.output_dir or default)

    def flat(self) -> dict[str, Any]:
        """Returns what `config.json` records: the fields of run and model, but two folders."""
        fields = self.to_dict()
        for name in ("hyperparameters", "output_dir", "cache_dir"):
            del fields[name]
        return fields | self.hyperparameters.to_dict()

    def default_flat(self) -> dict[str, Any]:
        """Returns what a run of the same model records where nothing is chosen."""
        return RunConfig(model=self.model, hyperparameters=type(self.hyperparameters)()).flat()

    def for_images(self, image_shape: tuple[int, int, int]) -> Self:
        """Returns the configuration with the hyperparameters that follow from the images' shape.

        `UserError` where one does not fit the images.
        """
        try:
            hyperparameters = self.hyperparameters.for_images(image_shape)
        except ValueError as error:
            raise UserError(f"bad value for {self.dataset}: {error}") from None
        return dataclasses.replace(self, hyperparameters=hyperparameters)

    @classmethod
    def of(cls, config: Self | Mapping[str, Any] | None, **values: Any) -> Self:
        """Returns the configuration that an object, a mapping or keywords describe.

        The fields of the model stand beside those of the run; `values` replace those of `config`.
        Errors are those of `resolve_run_config`.
        """
        if isinstance(config, RunConfig):
            run = {field.name: getattr(config, field.name) for field in run_fields()}
            config = config.hyperparameters.to_dict() | run
        return cls(**_resolved({**(config or {}), **values}, {}))

    @classmethod
    def from_flat(cls, flat: Mapping[str, Any]) -> RunConfig:
        """Returns the configuration that `flat` gave; other keys (versions, digests) are ignored.

        A field that an older version did not record takes its default. `UserError` where the model
        is not known here, or a value is not admissible.
        """
        name = flat.get("model")
        if not isinstance(name, str):
            raise UserError("the configuration names no model; start a new run")
        if name not in model_names():
            raise UserError(unknown_model_advice(name, flat.get("model_source")))
        model_config = find_model(name).config
        run = {field.name for field in run_fields()}
        try:
            own = model_config(**{name: flat[name] for name in _names(model_config) & set(flat)})
            return cls(**{name: flat[name] for name in run & set(flat)}, hyperparameters=own)
        except ValueError as error:
            raise UserError(f"bad configuration: {error}") from None


def run_fields() -> tuple[dataclasses.Field, ...]:
    """Returns the fields of a run that do not belong to its model."""
    return tuple(f for f in dataclasses.fields(RunConfig) if f.name != "hyperparameters")


def preset_values(preset: str, dataset: str) -> dict[str, int]:
    """Returns the steps, intervals and hyperparameters of a preset (Appendix K).

    `quick` takes some six minutes on two cores for AAE++ on the default data; on ColorMNIST it has
    the smallest latent size of the paper's sweep, whose prior is matched soonest. `paper` has the
    latents of Table 1; of its two sizes for ColorMNIST, the smaller one.
    """
    is_color_mnist = dataset.startswith("color_mnist")
    if preset == "quick":
        values = {"steps": 2500, "log_every": 50, "sample_every": 500, "checkpoint_every": 500}
        return values | ({"latent_dim": 10} if is_color_mnist else {})
    if preset == "paper":
        steps = 100_000 if is_color_mnist else 200_000
        values = {"steps": steps, "log_every": 100, "sample_every": 5000, "checkpoint_every": 1000}
        return values | ({"latent_dim": 100} if dataset in ("cifar10", "celeb_a") else {})
    raise ValueError(f"preset is {preset!r}, expected one of {', '.join(PRESETS)}")


def preset_default(field: dataclasses.Field) -> str | None:
    """Returns the default of a field and of the presets in words, `None` where these have none."""
    shown = []
    for preset in PRESETS:
        names: dict[Any, list[str]] = {}
        for dataset in DATASETS:
            value = preset_values(preset, dataset).get(field.name, field.default)
            if value != field.default:
                names.setdefault(value, []).append(dataset)
        for value, datasets in names.items():
            where = "" if len(datasets) == len(DATASETS) else f" on {', '.join(datasets)}"
            shown.append(f"{value}{where} ({preset})")
    return "; ".join([str(field.default), *shown]) if shown else None


def resolve_run_config(
    values: Mapping[str, Any], hyperparameters: Mapping[str, Any] | None = None
) -> RunConfig:
    """Turns what a user typed into a configuration.

    Args:
      values: fields of the run and of the model; text is read as the field's type.
      hyperparameters: fields of the model that were given by their full name.

    Raises:
      UserError: an unknown name, a wrong type, a value out of range, or a hyperparameter given
        twice with different values. The line says what to do.
    """
    if "dataset" in values:
        find_dataset(values["dataset"])
    return RunConfig(**_resolved(values, hyperparameters or {}))


def _resolved(values: Mapping[str, Any], full: Mapping[str, Any]) -> dict[str, Any]:
    run = {field.name: field for field in run_fields()}
    entry = find_model(str(values.get("model", run["model"].default)))
    dataset = str(values.get("dataset", run["dataset"].default))
    own = {field.name: field for field in dataclasses.fields(entry.config)}
    chosen: dict[str, Any] = {}
    for given, known in ((values, own | run), (full, own)):
        for name, value in given.items():
            if name not in known:
                raise _unknown(entry, name, known)
            read = _read(known[name], value)
            if chosen.setdefault(name, read) != read:
                raise UserError(f"{name} is given twice, {chosen[name]} and {read}: drop one")
    preset = preset_values(chosen.get("preset", run["preset"].default), dataset)
    for name, value in preset.items():
        if name in run or own[name].default is not None:  # Else it follows from other fields.
            chosen.setdefault(name, value)
    try:
        config = entry.config(**{name: chosen[name] for name in chosen if name not in run})
    except ValueError as error:
        raise UserError(f"bad value: {error}") from None
    return {name: chosen[name] for name in chosen if name in run} | {"hyperparameters": config}


def _names(config: type[ModelConfig]) -> set[str]:
    return {field.name for field in dataclasses.fields(config)}


def _unknown(entry: ModelEntry, name: str, known: Iterable[str]) -> UserError:
    """Returns the refusal of a name, with the models that have a hyperparameter of it."""
    owners = [model for model, other in MODELS.items() if name in _names(other.config)]
    if owners:
        return UserError(
            f"{name} is a hyperparameter of {' and '.join(owners)}, not of {entry.name}: "
            "drop it or choose another model"
        )
    return UserError(f"{entry.name} has no {name!r}: {did_you_mean(name, known)}")


def _read(field: dataclasses.Field, value: Any) -> Any:
    try:
        return parse_value(field, value) if isinstance(value, str) else check_value(field, value)
    except ValueError as error:
        raise UserError(f"bad value: {error}") from None

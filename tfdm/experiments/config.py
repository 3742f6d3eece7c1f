"""The configuration of a run: what decides the weights that come out of it.

A run is its model with hyperparameters, its data, the number of steps, the batch size and
the seed. `resolve_run_config` turns what a user typed into a checked `RunConfig`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from tfdm.datasets.registry import DATASETS, check_dataset
from tfdm.errors import UserError, did_you_mean
from tfdm.fields import check_value, parse_value, setting
from tfdm.models.config import AAEPlusPlusConfig
from tfdm.models.registry import MODELS, find_model
from tfdm.training.config import ModelConfig

PRESETS = ("quick", "paper")
STRATEGIES = ("auto", "cpu", "mirrored", "multi_worker", "tpu")
PRECISIONS = ("float32", "mixed_bfloat16")


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """A checked, complete configuration of one training run.

    The intervals are in steps. `image_size` and `crop` are 0 where the data set decides.
    """

    model: str = setting("aae_plus_plus", "the model", choices=tuple(MODELS))
    dataset: str = setting("color_mnist_5k", "the data set", choices=tuple(DATASETS))
    preset: str = setting("quick", "the scale of the run", choices=PRESETS)
    steps: int = setting(2500, "training steps (generator updates)", minimum=1)
    batch_size: int = setting(64, "examples a step, over all replicas", minimum=1)
    seed: int = setting(0, "seed of everything that is drawn", minimum=0, maximum=2**31 - 1)
    strategy: str = setting("auto", "where to train", choices=STRATEGIES)
    precision: str = setting("float32", "arithmetic of the networks", choices=PRECISIONS)
    image_size: int = setting(0, "side of the images; 0: the data set's", minimum=0)
    crop: int = setting(0, "side of the centre crop; 0: the data set's", minimum=0)
    log_every: int = setting(50, "steps between two logged lines", minimum=1)
    sample_every: int = setting(500, "steps between two grids of images", minimum=1)
    checkpoint_every: int = setting(500, "steps between two checkpoints", minimum=1)
    steps_per_execution: int = setting(1, "steps in one call of the traced function", minimum=1)
    hyperparameters: ModelConfig = dataclasses.field(default_factory=AAEPlusPlusConfig)

    def __post_init__(self) -> None:
        """Checks every field; raises `ValueError` with the value and what was expected."""
        for field in run_fields():
            object.__setattr__(self, field.name, check_value(field, getattr(self, field.name)))
        expected = MODELS[self.model].config
        if type(self.hyperparameters) is not expected:
            given = type(self.hyperparameters).__name__
            raise ValueError(f"hyperparameters are a {given}, expected a {expected.__name__}")

    def flat(self) -> dict[str, Any]:
        """Returns all fields, those of the model at the top level too, as JSON can hold them."""
        fields = {field.name: getattr(self, field.name) for field in run_fields()}
        return fields | self.hyperparameters.to_dict()

    @classmethod
    def from_flat(cls, flat: Mapping[str, Any]) -> RunConfig:
        """Returns the configuration that `flat` gave; other keys (versions, digests) are ignored.

        Raises:
          UserError: a field is missing, or a value is not admissible.
        """
        entry = find_model(str(flat.get("model")))
        fields = {field.name for field in run_fields()}
        own = {field.name for field in dataclasses.fields(entry.config)}
        missing = sorted((fields | own) - set(flat))
        if missing:
            raise UserError(f"the configuration lacks {', '.join(missing)}; start a new run")
        try:
            config = entry.config(**{name: flat[name] for name in own})
            return cls(**{name: flat[name] for name in fields}, hyperparameters=config)
        except ValueError as error:
            raise UserError(f"bad configuration: {error}") from None


def run_fields() -> tuple[dataclasses.Field, ...]:
    """Returns the fields of a run that do not belong to its model."""
    return tuple(f for f in dataclasses.fields(RunConfig) if f.name != "hyperparameters")


def preset_values(preset: str, dataset: str) -> dict[str, int]:
    """Returns the steps, intervals and hyperparameters of a preset (Appendix K).

    Args:
      preset: `quick`, some six minutes on two cores for AAE++ on the default data, and on
        ColorMNIST the smallest latent size of the paper's sweep, whose prior is matched soonest;
        `paper`, 100,000 steps on ColorMNIST and 200,000 on the other data sets.
      dataset: the name of the data set.

    Raises:
      ValueError: there is no such preset.
    """
    is_color_mnist = dataset.startswith("color_mnist")
    if preset == "quick":
        values = {"steps": 2500, "log_every": 50, "sample_every": 500, "checkpoint_every": 500}
        return values | ({"latent_dim": 10} if is_color_mnist else {})
    if preset == "paper":
        steps = 100_000 if is_color_mnist else 200_000
        return {"steps": steps, "log_every": 100, "sample_every": 5000, "checkpoint_every": 1000}
    raise ValueError(f"preset is {preset!r}, expected one of {', '.join(PRESETS)}")


def resolve_run_config(
    values: Mapping[str, Any], hyperparameters: Mapping[str, str] | None = None
) -> RunConfig:
    """Turns what a user typed into a configuration.

    Args:
      values: run fields by name, and hyperparameters by their short name (`latent_dim`); text
        is read as the field's type; `None` stands for "not given".
      hyperparameters: the same for hyperparameters given by their full name.

    Raises:
      UserError: an unknown name, a wrong type, a value out of range, or a hyperparameter given
        twice with different values. The line says what to do.
    """
    values = {name: value for name, value in values.items() if value is not None}
    full = {name: text for name, text in (hyperparameters or {}).items() if text is not None}
    run = {field.name: field for field in run_fields()}
    entry = find_model(str(values.get("model", run["model"].default)))
    dataset = check_dataset(str(values.get("dataset", run["dataset"].default)))
    own = {field.name: field for field in dataclasses.fields(entry.config)}

    chosen_run: dict[str, Any] = {}
    chosen_own: dict[str, Any] = {}
    for name, value in values.items():
        if name in run:
            chosen_run[name] = _read(run[name], value)
        elif name in own:
            chosen_own[name] = _read(own[name], value)
        else:
            raise UserError(f"{entry.name} has no {name!r}: {did_you_mean(name, [*run, *own])}")
    for name, value in full.items():
        if name not in own:
            hint = did_you_mean(name, own)
            raise UserError(f"{entry.name} has no hyperparameter {name!r}: {hint}")
        read = _read(own[name], value)
        if name in chosen_own and chosen_own[name] != read:
            raise UserError(f"{name} is given twice, {chosen_own[name]} and {read}: drop one")
        chosen_own[name] = read

    preset = chosen_run.get("preset", run["preset"].default)
    preset_run: dict[str, Any] = {}
    preset_own: dict[str, Any] = {}
    for name, value in preset_values(preset, dataset).items():
        (preset_run if name in run else preset_own)[name] = value
    config = entry.config(**{**preset_own, **chosen_own})
    return RunConfig(**{**preset_run, **chosen_run}, hyperparameters=config)


def _read(field: dataclasses.Field, value: Any) -> Any:
    try:
        return parse_value(field, value) if isinstance(value, str) else check_value(field, value)
    except ValueError as error:
        raise UserError(f"bad value: {error}") from None

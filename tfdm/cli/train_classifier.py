"""`tfdm-train-classifier`: trains the classifiers whose logits and features measure samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from tfdm.cli.command import how_to_call, quiet_tensorflow, run_command
from tfdm.cli.flags import Flag, FlagGroup, field_flag, help_text, parse_flags, wants_help
from tfdm.errors import UserError
from tfdm.eval.classifiers.config import RECIPES, ClassifierConfig
from tfdm.fields import parse_value

_FIELDS = {field.name: field for field in dataclasses.fields(ClassifierConfig)}

_WHAT = FlagGroup(
    "What to train",
    (
        Flag(
            "dataset",
            "cifar10: objects; color_mnist: digits, grey or coloured",
            value="|".join(RECIPES),
            default="cifar10",
            choices=tuple(RECIPES),
        ),
        Flag(
            "output_dir",
            "where weights, card and checkpoints go; a folder with the same training goes on",
            value="DIR",
            default="runs/classifier-DATASET",
        ),
        Flag("data_dir", "where TFDS has its data", value="DIR"),
        Flag("cache_dir", "where prepared data sets are kept", value="DIR"),
    ),
)
_RECIPE = FlagGroup("Recipe", tuple(map(field_flag, _FIELDS.values())))

_SUMMARY = (
    "Trains a small VGG-style classifier (Appendix I) without label smoothing, and writes its "
    "weights DATASET.npz and its card DATASET.json: data, recipe, error on the official test "
    "images, temperature, and the inception score that these images have under it."
)


@dataclasses.dataclass(frozen=True)
class ClassifierRequest:
    """A checked command line; the fields are the flags of the same names."""

    dataset: str
    config: ClassifierConfig
    output_dir: Path
    data_dir: str | None
    cache_dir: str | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return run_command(_train_classifier, arguments)


def _train_classifier(arguments: Sequence[str]) -> None:
    if wants_help(arguments):
        usage = f"{how_to_call('train_classifier')} [--dataset=NAME] [--NAME=VALUE ...]"
        print(help_text(usage, _SUMMARY, [_WHAT, _recipe_group(arguments)]), end="")
        return
    request = read_request(parse_flags([_WHAT, _RECIPE], arguments))
    with quiet_tensorflow():
        from tfdm.experiments.train_classifier import train_classifier
    done = train_classifier(
        request.dataset,
        dataclasses.asdict(request.config),
        output_dir=str(request.output_dir),
        data_dir=request.data_dir,
        cache_dir=request.cache_dir,
    )
    errors = ", ".join(f"{name} {100 * error:.2f} %" for name, error in done.test_error.items())
    print(f"test error: {errors}\n{done.files[0]}")


def read_request(given: Mapping[str, str]) -> ClassifierRequest:
    """Checks the flags.

    Raises:
      UserError: they describe no training; the line says what to change.
    """
    dataset = given.get("dataset", "cifar10")
    values = {}
    for name in filter(given.__contains__, _FIELDS):
        try:
            values[name] = parse_value(_FIELDS[name], given[name])
        except ValueError as error:
            raise UserError(f"--{name}: {error}") from None
    return ClassifierRequest(
        dataset=dataset,
        config=dataclasses.replace(RECIPES[dataset], **values),
        output_dir=Path(given.get("output_dir", f"runs/classifier-{dataset}")).expanduser(),
        data_dir=given.get("data_dir"),
        cache_dir=given.get("cache_dir"),
    )


def _recipe_group(arguments: Sequence[str]) -> FlagGroup:
    """Returns the recipe's flags with the defaults of the data set that is asked for."""
    # However it is written: --dataset=NAME or, in two arguments, --dataset NAME.
    words = "=".join(arguments).split("=")
    asked = (value for flag, value in pairwise(words) if flag.lstrip("-") == "dataset")
    name = next((value for value in asked if value in RECIPES), "cifar10")
    recipe = dataclasses.asdict(RECIPES[name])
    flags = (
        dataclasses.replace(flag, default=str(recipe[flag.name]))
        for flag in map(field_flag, _FIELDS.values())
    )
    return FlagGroup(f"Recipe of {name}", tuple(flags))

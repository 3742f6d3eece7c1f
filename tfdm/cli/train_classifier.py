"""`tfdm-train-classifier`: trains the classifiers whose logits and features measure samples."""

from __future__ import annotations

import dataclasses

from tfdm.cli.command import Command
from tfdm.cli.flags import FlagGroup, Given, flags_of
from tfdm.eval.classifiers.config import RECIPES, ClassifierConfig
from tfdm.experiments.options import TrainClassifierConfig
from tfdm.fields import CheckedConfig, setting, shown_value
from tfdm.quiet import quiet_tensorflow


@dataclasses.dataclass(frozen=True)
class _Data(CheckedConfig):
    dataset: str = setting(
        "cifar10", "cifar10: objects; color_mnist: digits, grey or coloured", choices=tuple(RECIPES)
    )


def _groups() -> list[FlagGroup]:
    folders = flags_of(TrainClassifierConfig, "output_dir", "data_dir", "cache_dir")
    recipe = tuple(
        dataclasses.replace(flag, shown_default=_defaults(flag.name))
        for flag in flags_of(ClassifierConfig)
    )
    return [FlagGroup("What to train", flags_of(_Data) + folders), FlagGroup("Recipe", recipe)]


def _defaults(name: str) -> str:
    """The values of a field in the recipes: one, or one for each data set."""
    values = {dataset: getattr(recipe, name) for dataset, recipe in RECIPES.items()}
    if len(set(values.values())) == 1:
        return shown_value(next(iter(values.values())))
    return ", ".join(f"{shown_value(value)} ({dataset})" for dataset, value in values.items())


def _train_classifier(given: Given) -> str:
    dataset = given.get("dataset", _Data.dataset)
    recipe = RECIPES[dataset].to_dict()
    config = given.config(TrainClassifierConfig, output_dir=f"runs/classifier-{dataset}", **recipe)
    with quiet_tensorflow():
        from tfdm.experiments.train_classifier import train_classifier
    trained = train_classifier(dataset, config)
    errors = ", ".join(f"{name} {100 * e:.2f} %" for name, e in trained.test_error.items())
    return f"test error: {errors}\n{trained.files[0]}"


COMMAND = Command(
    name="train_classifier",
    usage="[--dataset=NAME] [--NAME=VALUE ...]",
    summary=(
        "Trains a small VGG-style classifier (Appendix I) without label smoothing, and writes its "
        "weights DATASET.npz and its card DATASET.json: data, recipe, error on the official test "
        "images, temperature, and the inception score that these images have under it."
    ),
    groups=_groups,
    run=_train_classifier,
)
main = COMMAND.main

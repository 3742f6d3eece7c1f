"""`tfdm-train-classifier`: trains the classifiers whose logits and features measure samples."""

from __future__ import annotations

import dataclasses

from tfdm.cli.command import Command, quiet_tensorflow
from tfdm.cli.flags import FlagGroup, Given, flags_of, shown_value
from tfdm.eval.classifiers.config import RECIPES, ClassifierConfig
from tfdm.experiments.classifier_config import TrainClassifierConfig
from tfdm.fields import CheckedConfig, setting


@dataclasses.dataclass(frozen=True)
class _What(CheckedConfig):
    dataset: str = setting(
        "cifar10", "cifar10: objects; color_mnist: digits, grey or coloured", choices=tuple(RECIPES)
    )


def _train(given: Given) -> str:
    values = dict(given.values)
    dataset = values.pop("dataset", "cifar10")
    values.setdefault("output_dir", f"runs/classifier-{dataset}")
    config = TrainClassifierConfig.for_dataset(dataset, values)
    with quiet_tensorflow():
        from tfdm.experiments.train_classifier import train_classifier
    done = train_classifier(dataset, config)
    errors = ", ".join(f"{name} {100 * error:.2f} %" for name, error in done.test_error.items())
    return f"test error: {errors}\n{done.files[0]}"


def _groups() -> list[FlagGroup]:
    usual, digits = RECIPES["cifar10"].to_dict(), RECIPES["color_mnist"].to_dict()
    changes = [f"{n} {shown_value(digits[n])}" for n in digits if digits[n] != usual[n]]
    lines = [", ".join(changes[first : first + 5]) for first in range(0, len(changes), 5)]
    note = "\n".join(["The defaults are those of cifar10; color_mnist has", *lines])
    folders = flags_of(TrainClassifierConfig, "output_dir", "data_dir", "cache_dir")
    return [
        FlagGroup("What to train", flags_of(_What) + folders),
        FlagGroup("Recipe", flags_of(ClassifierConfig), note=note),
    ]


COMMAND = Command(
    name="train_classifier",
    usage="[--dataset=NAME] [--NAME=VALUE ...]",
    summary=(
        "Trains a small VGG-style classifier (Appendix I) without label smoothing, and writes its "
        "weights DATASET.npz and its card DATASET.json: data, recipe, error on the official test "
        "images, temperature, and the inception score that these images have under it."
    ),
    groups=_groups,
    run=_train,
)
main = COMMAND.main

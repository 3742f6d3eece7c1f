"""The options of the training of a classifier; without TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from tfdm.errors import did_you_mean
from tfdm.eval.classifiers.config import RECIPES, ClassifierConfig
from tfdm.fields import folder


@dataclasses.dataclass(frozen=True)
class TrainClassifierConfig(ClassifierConfig):
    """The recipe, and where data and results are."""

    output_dir: str | None = folder(
        "where weights, card and checkpoints go; a folder with the same training is resumed",
        "runs/classifier-DATASET",
    )
    data_dir: str | None = folder("the data folder of TFDS")
    cache_dir: str | None = folder("where prepared data sets are kept")

    @property
    def recipe(self) -> ClassifierConfig:
        """The fields that decide the weights."""
        fields = dataclasses.fields(ClassifierConfig)
        return ClassifierConfig(**{field.name: getattr(self, field.name) for field in fields})

    @classmethod
    def for_dataset(
        cls, dataset: str, config: Self | Mapping[str, Any] | None = None, **values: Any
    ) -> Self:
        """Returns the options for a data set; fields that are not given are those of its recipe.

        A whole group is taken as it is; `values` replace fields of `config`. A data set without
        recipe, or a field that is not admissible, is a `ValueError`.
        """
        if dataset not in RECIPES:
            raise ValueError(f"unknown dataset {dataset!r}: {did_you_mean(dataset, RECIPES)}")
        if isinstance(config, ClassifierConfig):
            return cls.of(config, **values)
        return cls.of({**RECIPES[dataset].to_dict(), **(config or {}), **values})

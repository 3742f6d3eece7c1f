"""The options of the training of a classifier; without TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from tfdm.errors import did_you_mean
from tfdm.eval.classifiers.config import RECIPES, ClassifierConfig
from tfdm.fields import setting


@dataclasses.dataclass(frozen=True)
class TrainClassifierConfig(ClassifierConfig):
    """The recipe, and where data and results are."""

    output_dir: str | None = setting(
        None,
        "where weights, card and checkpoints go; a folder with the same training goes on",
        kind=str,
        placeholder="DIR",
        shown_default="runs/classifier-DATASET",
    )
    data_dir: str | None = setting(None, "where TFDS has its data", kind=str, placeholder="DIR")
    cache_dir: str | None = setting(
        None, "where prepared data sets are kept", kind=str, placeholder="DIR"
    )

    @property
    def recipe(self) -> ClassifierConfig:
        """The fields that decide the weights."""
        names = [field.name for field in dataclasses.fields(ClassifierConfig)]
        return ClassifierConfig(**{name: getattr(self, name) for name in names})

    @classmethod
    def for_dataset(
        cls, dataset: str, config: Self | Mapping[str, Any] | None = None, **values: Any
    ) -> Self:
        """Returns the options for a data set; fields that are not given are those of its recipe.

        Args:
          dataset: a name of `RECIPES`.
          config: a whole group, which is taken as it is, or some of its fields.
          **values: fields that replace those of `config`.

        Raises:
          ValueError: there is no recipe of the data set, or a field is not admissible.
        """
        if dataset not in RECIPES:
            raise ValueError(f"unknown dataset {dataset!r}: {did_you_mean(dataset, RECIPES)}")
        if isinstance(config, ClassifierConfig):
            return cls.of(config, **values)
        return cls.of({**RECIPES[dataset].to_dict(), **(config or {}), **values})

"""The constructor of a model as editors and `help` show it: one keyword for each hyperparameter."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

# What `keras.Model` takes itself.
KERAS_OPTIONS = ("name", "dtype", "trainable", "autocast", "activity_regularizer")


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Splits keywords of a model's constructor into those of Keras and hyperparameters."""
    of_keras = {name: value for name, value in options.items() if name in KERAS_OPTIONS}
    return of_keras, {name: value for name, value in options.items() if name not in of_keras}


def describe_constructor(model_class: Any) -> None:
    """Gives a class of models the signature and the documentation of its hyperparameters.

    Args:
      model_class: has a `config_class`; the `**kwargs` of its `__init__` stand for the fields.
    """
    fields = dataclasses.fields(model_class.config_class)
    _, *parameters = inspect.signature(model_class.__init__).parameters.values()
    if parameters and parameters[-1].kind is inspect.Parameter.VAR_KEYWORD:
        shown = [("dtype", None, "Any"), *((f.name, f.default, f.type) for f in fields)]
        parameters[-1:] = [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
            )
            for name, default, annotation in shown
            if all(name != parameter.name for parameter in parameters)
        ]
    model_class.__signature__ = inspect.Signature(parameters)
    text = inspect.cleandoc(model_class.__dict__.get("__doc__") or model_class.__name__)
    lines = [f"  {f.name}: {f.metadata.get('help', '')} ({f.default})" for f in fields]
    model_class.__doc__ = "\n".join([text, "", "Hyperparameters (default):", *lines])

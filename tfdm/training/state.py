"""The whole state of a model in training as named arrays, and back.

A state holds every variable of the model (networks, moving averages, step counter) and of each
optimiser. Put back, it goes on exactly as the model it was taken from would have.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

# Keras numbers layers that have no name by what the process made before: no part of a state.
_COUNTER = re.compile(r"_\d+(?=[/_]|$)")


def capture_state(model: Any) -> dict[str, np.ndarray]:
    """Returns copies of all variables of a model and of its optimisers.

    Args:
      model: anything with a list `variables` of variables of Keras or TensorFlow, and a
        dictionary `optimizers` of optimisers that were built.

    Returns:
      Arrays by unique names such as `model/0003/generator/dense/kernel` and
      `optimizers/encoder/0002/dense_kernel_momentum`. The names depend on the model alone, not
      on what else the process built.
    """
    return {name: np.array(variable.numpy()) for name, variable in _named_variables(model)}


def restore_state(model: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """Puts a state back; checks all of it before it changes the model.

    Args:
      model: a model built like the one the state was taken from.
      arrays: what `capture_state` returned.

    Raises:
      ValueError: names, a shape or a type differ from those of the model.
    """
    variables = dict(_named_variables(model))
    missing = sorted(variables.keys() - arrays.keys())
    unknown = sorted(arrays.keys() - variables.keys())
    if missing or unknown:
        raise ValueError(
            f"state lacks {_listed(missing)} and has {_listed(unknown)} that the model does not"
        )
    for name, variable in variables.items():
        array = arrays[name]
        if array.shape != tuple(variable.shape):
            raise ValueError(f"{name} has shape {array.shape}, expected {tuple(variable.shape)}")
        if array.dtype.name != variable.dtype:
            raise ValueError(f"{name} is of type {array.dtype.name}, expected {variable.dtype}")
    for name, variable in variables.items():
        variable.assign(arrays[name])


def first_non_finite(arrays: Mapping[str, np.ndarray]) -> str | None:
    """Returns the name of the first array that holds NaN or an infinity, or `None`."""
    for name, array in arrays.items():
        if array.dtype.kind not in "biu" and not np.isfinite(array).all():
            return name
    return None


def _named_variables(model: Any) -> Iterator[tuple[str, Any]]:
    yield from _numbered("model", model.variables)
    for player in sorted(model.optimizers):
        yield from _numbered(f"optimizers/{player}", model.optimizers[player].variables)


def _numbered(prefix: str, variables: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    for position, variable in enumerate(variables):
        # A variable of TensorFlow has a name and no path.
        path = getattr(variable, "path", "variable")
        yield f"{prefix}/{position:04d}/{_COUNTER.sub('', path)}", variable


def _listed(names: list[str]) -> str:
    if not names:
        return "nothing"
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more

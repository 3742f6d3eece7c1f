"""The whole state of a model in training, its variables and its optimisers', as named arrays."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

# Keras numbers layers that have no name by what the process made before: no part of a state.
_COUNTER = re.compile(r"_\d+(?=[/_]|$)")


def capture_state(model: Any) -> dict[str, np.ndarray]:
    """Returns copies of all variables of a model and of its optimisers, by unique names.

    A model is anything with a list `variables` of variables of Keras or TensorFlow, and a
    dictionary `optimizers` of optimisers that were built. The names, such as
    `model/0003/generator/dense/kernel` and `optimizers/encoder/0002/dense_kernel_momentum`, depend
    on the model alone, not on what else the process built.
    """
    return {name: np.array(v.numpy()) for name, v in _named_variables(model).items()}


def restore_state(model: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """Puts a state back; `ValueError`, before any change, where names, shapes or types differ."""
    variables = _named_variables(model)
    missing = sorted(variables.keys() - arrays.keys())
    unknown = sorted(arrays.keys() - variables.keys())
    if missing or unknown:
        raise ValueError(
            f"state lacks {listed(missing)} and has {listed(unknown)} that the model does not"
        )
    for name, variable in variables.items():
        array, shape = arrays[name], tuple(variable.shape)
        if array.shape != shape:
            raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
        if array.dtype.name != variable.dtype:
            raise ValueError(f"{name} is of type {array.dtype.name}, expected {variable.dtype}")
    for name, variable in variables.items():
        variable.assign(arrays[name])


def first_non_finite(arrays: Mapping[str, np.ndarray]) -> str | None:
    """Returns the name of the first array that holds NaN or an infinity, or `None`."""
    floats = ((n, array) for n, array in arrays.items() if array.dtype.kind not in "biu")
    return next((name for name, array in floats if not np.isfinite(array).all()), None)


def _named_variables(model: Any) -> dict[str, Any]:
    groups = {"model": model.variables}
    groups |= {f"optimizers/{p}": model.optimizers[p].variables for p in sorted(model.optimizers)}
    # A variable of TensorFlow has a name and no path.
    return {
        f"{group}/{i:04d}/{_COUNTER.sub('', getattr(variable, 'path', 'variable'))}": variable
        for group, variables in groups.items()
        for i, variable in enumerate(variables)
    }


def listed(names: list[str]) -> str:
    """Returns the first three of these names and the number of the others."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more if names else "nothing"

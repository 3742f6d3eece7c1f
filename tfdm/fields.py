"""Typed, ranged, documented fields of frozen dataclasses; imports nothing heavy."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any


def hyperparameter(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[Any, ...] | None = None,
) -> Any:
    """Declares a dataclass field with its documentation and its admissible values.

    Args:
      default: the default value; its type is the type of the field.
      help: one line for the command's help.
      minimum: smallest admissible value, inclusive.
      maximum: largest admissible value, inclusive.
      choices: all admissible values.
    """
    metadata = {"help": help, "minimum": minimum, "maximum": maximum, "choices": choices}
    return dataclasses.field(default=default, metadata=metadata)


def check_value(field: dataclasses.Field, value: Any) -> Any:
    """Returns `value` as the field's type, or raises `ValueError` that says what is admissible."""
    kind: type = type(field.default)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        raise ValueError(f"{field.name} is {value!r}, expected a value of type {kind.__name__}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{field.name} is {value!r}, expected a finite number")
    choices = field.metadata.get("choices")
    if choices is not None and value not in choices:
        allowed = ", ".join(str(choice) for choice in choices)
        raise ValueError(f"{field.name} is {value!r}, expected one of {allowed}")
    minimum, maximum = field.metadata.get("minimum"), field.metadata.get("maximum")
    if minimum is not None and value < minimum:
        raise ValueError(f"{field.name} is {value!r}, expected at least {minimum}")
    if maximum is not None and value > maximum:
        raise ValueError(f"{field.name} is {value!r}, expected at most {maximum}")
    return value


def parse_value(field: dataclasses.Field, text: str) -> Any:
    """Reads `text`, as it stands on a command line, as a value of the field.

    Raises:
      ValueError: `text` is not of the field's type, or the value is not admissible.
    """
    kind: type = type(field.default)
    readers: dict[type, Callable[[str], Any]] = {
        bool: _parse_bool,
        int: int,
        float: float,
        str: str,
    }
    try:
        value = readers[kind](text)
    except ValueError:
        names = {bool: "true or false", int: "a whole number", float: "a number"}
        raise ValueError(f"{field.name} is {text!r}, expected {names[kind]}") from None
    return check_value(field, value)


def _parse_bool(text: str) -> bool:
    known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in known:
        raise ValueError(text)
    return known[text.lower()]


def adam_rate(default: float, of: str) -> Any:
    """Declares the Adam learning rate `of` a player (Table 5)."""
    return hyperparameter(default, f"Adam learning rate of the {of}", minimum=0.0, maximum=1.0)


@dataclasses.dataclass(frozen=True)
class CheckedConfig:
    """A frozen group of fields that `hyperparameter` declared, each checked when it is made."""

    def __post_init__(self) -> None:
        """Checks every field; raises `ValueError` with the value and what was expected."""
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, check_value(field, getattr(self, field.name)))

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as a plain dictionary that JSON can hold."""
        return dataclasses.asdict(self)

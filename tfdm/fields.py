"""Typed, ranged, documented fields of frozen dataclasses; imports nothing heavy.

A field is declared once, by `setting`, and read everywhere: it is checked when the dataclass is
made, becomes a flag of a command, a line of the help, and a key of a JSON file.

    @dataclasses.dataclass(frozen=True)
    class FitConfig(CheckedConfig):
        steps: int = setting(5000, "training steps", minimum=1)
        dims: tuple[int, ...] = setting((1, 10), "dimensions", minimum=1)
        name: str | None = setting(None, "title of the plot", kind=str)
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self, TypeVar

from tfdm.errors import did_you_mean

Group = TypeVar("Group", bound="CheckedConfig")
Choices = Iterable[Any] | Callable[[], Iterable[Any]]

_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def setting(
    default: Any,
    help: str,
    *,
    kind: type | None = None,
    optional: bool = False,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Choices | None = None,
    metavar: str = "",
    shown_default: str | None = None,
    in_help: bool = True,
) -> Any:
    """Declares a dataclass field with its documentation and its admissible values.

    Args:
      default: the default value; a tuple makes the field a tuple.
      help: one line for the command's help.
      kind: the type of the value or of a tuple's elements, by default that of `default`.
      optional: whether the value may be `None`; implied by a default of `None`.
      minimum, maximum: smallest and largest admissible value, inclusive.
      choices: all admissible values, or a function that returns them.
      metavar: what stands for the value in the help, such as `DIR`.
      shown_default: what the help shows as the default, if not `default`.
      in_help: whether the help shows the field.

    Raises:
      ValueError: the type cannot be told from the default.
    """
    many = isinstance(default, tuple)
    example = default[0] if many and default else default
    if kind is None and (example is None or example == ()):
        raise ValueError(f"default is {default!r}, expected a kind beside it")
    metadata = {
        "help": help,
        "kind": kind or type(example),
        "many": many,
        "optional": optional or default is None,
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
        "metavar": metavar,
        "shown_default": shown_default,
        "in_help": in_help,
    }
    return dataclasses.field(default=default, metadata=metadata)


def folder(help: str, shown_default: str | None = None) -> Any:
    """Declares a folder that the user may choose; `None` stands for what the help shows."""
    return setting(None, help, kind=str, metavar="DIR", shown_default=shown_default)


def adam_rate(default: float, of: str) -> Any:
    """Declares the Adam learning rate `of` a player (Table 5)."""
    return setting(default, f"Adam learning rate of the {of}", minimum=0.0, maximum=1.0)


def choices_of(field: dataclasses.Field) -> tuple[Any, ...]:
    """Returns all admissible values of a field, `()` where they are not listed."""
    choices = field.metadata.get("choices")
    return tuple(choices() if callable(choices) else choices or ())


def range_of(field: dataclasses.Field) -> str:
    """Returns the range of a field as the end of a sentence, such as `; at least 1`."""
    low, high = field.metadata["minimum"], field.metadata["maximum"]
    if low is None:
        return "" if high is None else f"; at most {shown_value(high)}"
    if high is None:
        return f"; at least {shown_value(low)}"
    return f"; {shown_value(low)} to {shown_value(high)}"


def shown_value(value: object) -> str:
    """Returns a value as a command line would have it."""
    if isinstance(value, tuple):
        return ",".join(map(shown_value, value))
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def check_value(field: dataclasses.Field, value: Any) -> Any:
    """Returns `value` as the field's type, or raises `ValueError` that says what is admissible."""
    if value is None and field.metadata["optional"]:
        return None
    if not field.metadata["many"]:
        return _check_one(field, value)
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ValueError(f"{field.name} is {value!r}, expected a sequence")
    return tuple(_check_one(field, item) for item in value)


def _check_one(field: dataclasses.Field, value: Any) -> Any:
    kind: type = field.metadata["kind"]
    if hasattr(value, "item"):
        value = value.item()  # a NumPy scalar
    if kind is str and isinstance(value, os.PathLike):
        value = os.fspath(value)
    if kind is float and type(value) is int:
        value = float(value)
    choices, low, high = choices_of(field), field.metadata["minimum"], field.metadata["maximum"]
    if type(value) is not kind:
        expected = f"a value of type {kind.__name__}"
    elif isinstance(value, float) and not math.isfinite(value):
        expected = "a finite number"
    elif choices and value not in choices:
        expected = f"one of {', '.join(map(str, choices))}"
    elif low is not None and value < low:
        expected = f"at least {low}"
    elif high is not None and value > high:
        expected = f"at most {high}"
    else:
        return value
    raise ValueError(f"{field.name} is {value!r}, expected {expected}")


def parse_value(field: dataclasses.Field, text: str) -> Any:
    """Reads the text of a command line as a value of the field; raises as `check_value`.

    A tuple's elements are separated by commas; `none` is `None` where the field may be.
    """
    if field.metadata["optional"] and text.lower() == "none":
        return None
    if field.metadata["many"]:
        parts = [part.strip() for part in text.split(",") if part.strip()]
        return check_value(field, tuple(_parse_one(field, part) for part in parts))
    return check_value(field, _parse_one(field, text))


def _parse_one(field: dataclasses.Field, text: str) -> Any:
    kind: type = field.metadata["kind"]
    try:
        return _TRUTH[text.lower()] if kind is bool else kind(text)
    except (ValueError, KeyError):
        names = {bool: "true or false", int: "a whole number", float: "a number"}
        expected = names.get(kind, kind.__name__)
        raise ValueError(f"{field.name} is {text!r}, expected {expected}") from None


@dataclasses.dataclass(frozen=True)
class CheckedConfig:
    """A frozen group of fields that `setting` declared, each checked when it is made."""

    def __post_init__(self) -> None:
        """Checks every field; raises `ValueError` with the value and what was expected."""
        for field in dataclasses.fields(self):
            if "kind" in field.metadata:
                value = check_value(field, getattr(self, field.name))
                object.__setattr__(self, field.name, value)

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as a plain dictionary that JSON can hold: tuples become lists."""
        values = dataclasses.asdict(self)
        return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}

    def part(self, group: type[Group]) -> Group:
        """Returns those fields that another group has, as that group."""
        return group(
            **{field.name: getattr(self, field.name) for field in dataclasses.fields(group)}
        )

    @classmethod
    def of(cls, config: Self | Mapping[str, Any] | None, **values: Any) -> Self:
        """Returns the group that a caller described by an object, a mapping or keywords.

        `None` stands for the defaults; `values` replace the fields of `config`. Raises `ValueError`
        where a name or a value does not fit, or `config` is of another class.
        """
        if isinstance(config, CheckedConfig):
            if not isinstance(config, cls):
                given = type(config).__name__
                raise ValueError(f"config is a {given}, expected a {cls.__name__}")
            config = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
        fields = {**(config or {}), **values}
        names = [field.name for field in dataclasses.fields(cls)]
        for name in fields:
            if name not in names:
                hint = did_you_mean(name, names)
                raise ValueError(f"{cls.__name__} has no field {name!r}: {hint}")
        return cls(**fields)

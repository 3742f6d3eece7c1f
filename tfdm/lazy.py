"""Attributes of a package that are imported when they are first asked for (PEP 562)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy_attributes(
    package: str, modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Returns the `__getattr__` and the `__dir__` of a package that loads lazily.

    Args:
      package: the package's `__name__`.
      modules: the public names, each with the full name of the module that defines it.

    Returns:
      Two functions for the package's `__init__`: the first imports the module of a name and
      returns the attribute, or raises `AttributeError` for a name that is not public; the
      second lists the public names.
    """

    def get_attribute(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(modules[name]), name)

    def list_attributes() -> list[str]:
        return sorted(modules)

    return get_attribute, list_attributes

"""Attributes of a package that are imported when they are first asked for (PEP 562).

A package's `__init__` names them twice, for its two readers; a test compares the two:

    if TYPE_CHECKING:  # for type checkers and editors
        from tfdm.models.vae import VAE as VAE

    __getattr__, __dir__ = lazy_attributes(__name__, {"VAE": "tfdm.models.vae"})
"""

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
      modules: the public names, each with the full name of the module that defines it; a name
        that is itself a module of the package stands for that module.

    Returns:
      Two functions for the package's `__init__`: the first imports the module of a name and
      returns the attribute, or raises `AttributeError` for a name that is not public; the
      second lists the public names.
    """

    def get_attribute(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(modules[name])
        return module if module.__name__ == f"{package}.{name}" else getattr(module, name)

    def list_attributes() -> list[str]:
        return sorted(modules)

    return get_attribute, list_attributes

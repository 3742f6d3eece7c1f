"""Makes the models known to `keras.models.load_model`; imports neither Keras nor TensorFlow.

Keras finds the class of a saved model in a table of registered names, which a class enters when its
module is imported. Here each name stands for its model from the start, and the module is imported
when a saved model asks for it.
"""

from __future__ import annotations

import dataclasses
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any


@dataclasses.dataclass(frozen=True)
class _NamedModel:
    """Stands for a model's class in Keras's table until its module is imported."""

    name: str

    def from_config(self, config: dict[str, Any], custom_objects: Any = None) -> Any:
        from tfdm.models.registry import MODELS

        return MODELS[self.name].load().from_config(config, custom_objects)


def know_saved_models() -> None:
    """Enters all models into Keras's table, now or as soon as Keras is imported."""
    if "keras" in sys.modules:
        _enter(sys.modules["keras"])
    else:
        sys.meta_path.insert(0, _AfterKeras())


def _enter(keras: ModuleType) -> None:
    from tfdm.models.registry import BUILT_IN, MODELS

    known = keras.saving.get_custom_objects()
    for name in BUILT_IN:
        known.setdefault(f"tfdm>{MODELS[name].class_name}", _NamedModel(name))


class _AfterKeras(importlib.abc.MetaPathFinder):
    """Enters the models after the first import of Keras."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Returns the spec of Keras with a loader that enters the models, else `None`."""
        if fullname != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            loader, execute = spec.loader, spec.loader.exec_module

            def execute_and_enter(module: ModuleType) -> None:
                execute(module)
                _enter(module)

            loader.exec_module = execute_and_enter  # type: ignore[method-assign]
        return spec

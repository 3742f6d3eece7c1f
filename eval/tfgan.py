"""TF-GAN's statistics of classifier outputs, loaded without the rest of TF-GAN.

`import tensorflow_gan` asks for parts of TensorFlow that are gone. The statistics do not: they are
imported below bare parent modules, which are then taken out again.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import threading
import types
from pathlib import Path

from tfdm.errors import UserError

_PARENTS = ("tensorflow_gan", "tensorflow_gan.python", "tensorflow_gan.python.eval")
_lock = threading.Lock()


@functools.cache
def classifier_metrics() -> types.ModuleType:
    """Returns TF-GAN's module of this name; a `UserError` where TF-GAN is not installed."""
    with _lock:
        before = _take_out()
        try:
            found = importlib.util.find_spec(_PARENTS[0])
            if found is None or not found.submodule_search_locations:
                raise UserError("TF-GAN is not installed: run pip install tensorflow-gan")
            root = Path(next(iter(found.submodule_search_locations))).parent
            for name in _PARENTS:
                bare = types.ModuleType(name)
                bare.__path__ = [str(root.joinpath(*name.split(".")))]
                sys.modules[name] = bare
            return importlib.import_module(f"{_PARENTS[-1]}.classifier_metrics")
        finally:
            _take_out()
            sys.modules.update(before)


def _take_out() -> dict[str, types.ModuleType]:
    """Takes all modules of TF-GAN out of `sys.modules`."""
    names = [name for name in sys.modules if name.split(".")[0] == _PARENTS[0]]
    return {name: sys.modules.pop(name) for name in names}

"""TF-GAN's statistics of classifier outputs, loaded without the rest of TF-GAN.

`import tensorflow_gan` asks for parts of TensorFlow that are gone. The statistics do not: they are
imported below bare parent modules, which are then taken out again.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import logging
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

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


@contextlib.contextmanager
def without_deprecations() -> Iterator[None]:
    """Keeps quiet about options that TF-GAN uses and TensorFlow will drop."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _take_out() -> dict[str, types.ModuleType]:
    """Takes all modules of TF-GAN out of `sys.modules`."""
    names = [name for name in sys.modules if name.split(".")[0] == _PARENTS[0]]
    return {name: sys.modules.pop(name) for name in names}

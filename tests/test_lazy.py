"""Packages that load lazily: what type checkers see is what there is, and nothing loads early."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

PACKAGES = ("tfdm", "tfdm.datasets", "tfdm.models", "tfdm.estimators", "tfdm.eval", "tfdm.training")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_there(package):
    module = importlib.import_module(package)
    assert module.__all__ and set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'no_such'"):
        _ = module.no_such


def test_type_checkers_see_every_model():
    """The registry and the block of imports in `tfdm.models` name the same classes."""
    registry = importlib.import_module("tfdm.models.registry")
    names = {registry.MODELS[name].class_name for name in registry.BUILT_IN}
    assert names == set(importlib.import_module("tfdm.models").__all__)


def test_the_doors_load_nothing_heavy():
    heavy = "{'tensorflow', 'keras', 'numpy', 'PIL', 'matplotlib'}"
    program = f"import sys, {', '.join(PACKAGES)}; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"

"""Packages that load lazily: what type checkers see is what there is, and nothing loads early."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGES = ("tfdm", "tfdm.datasets", "tfdm.models", "tfdm.estimators", "tfdm.eval")


def shown_to_type_checkers(package: str) -> dict[str, str]:
    """The names of the block `if TYPE_CHECKING`, each with where it comes from."""
    tree = ast.parse(Path(str(importlib.import_module(package).__file__)).read_text())
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    return {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name  # Else mypy does not take it for public.
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_type_checkers_see_the_names_that_there_are(package):
    module = importlib.import_module(package)
    shown = shown_to_type_checkers(package)
    assert sorted(shown) == sorted(set(module.__all__) - {"__version__"})
    for name, home in shown.items():
        assert getattr(module, name) is getattr(importlib.import_module(home), name)
    assert set(module.__all__) - {"__version__"} <= set(dir(module))
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'no_such'"):
        _ = module.no_such


def test_the_doors_load_nothing_heavy():
    program = (
        f"import sys, {', '.join(PACKAGES)}; "
        "print(sorted({'tensorflow', 'keras', 'numpy', 'PIL', 'matplotlib'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"

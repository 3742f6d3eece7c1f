"""The house rules that no linter knows: who imports whom, what stays light, how long a file is."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tfdm.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("tfdm", "tfdm.datasets", "tfdm.models", "tfdm.estimators", "tfdm.eval", "tfdm.training")
WINGS = ("models", "estimators", "eval")
MAX_LINES = 400

# What the commands import before they have checked their flags, and the doors of the package:
# these and all of `tfdm.cli` and `tfdm.runs`.
WITHOUT_TENSORFLOW = (
    "tfdm",
    "tfdm.experiments.config",
    "tfdm.errors",
    "tfdm.estimators",
    "tfdm.eval",
    "tfdm.models",
    "tfdm.models.registry",
)
HEAVY = ("tensorflow", "keras", "tensorflow_probability", "tensorflow_datasets", "tf_keras")

# Methods that Keras or Python calls, and documents.
DOCUMENTED_ELSEWHERE = {
    "build", "call", "compile", "compile_from_config", "compute_output_shape", "from_config",
    "get_compile_config", "get_config", "on_train_batch_end", "on_train_begin", "on_train_end",
    "train_step",
}  # fmt: skip


def _package_files() -> dict[str, Path]:
    """All modules of the package and their files; `Path.rglob` would not follow the links."""
    files = {}
    for folder, _, names in os.walk(ROOT / "tfdm", followlinks=True):
        for path in (Path(folder) / name for name in names if name.endswith(".py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            files[".".join(parts).removesuffix(".__init__")] = path
    return dict(sorted(files.items()))


MODULES = _package_files()
FOLDERS = ("tfdm", *WINGS, "tests", "scripts", "benchmarks", "examples")
ALL_FILES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]

# The rings of the house from the inside out; a file imports from its own ring and from inner ones.
RINGS = {
    "core": 0, **dict.fromkeys(WINGS, 1), "experiments": 2, "reproduction": 3, "cli": 4, "face": 5,
}  # fmt: skip
A_MODULE = re.compile(r"tfdm(\.\w+)+")


def _room(module: str) -> str:
    """The room of the house that a module of tfdm is in."""
    if module in ("tfdm", "tfdm.__main__"):
        return "face"
    name = module.split(".")[1]
    return name if name in RINGS else "core"


def _is_ours(module: str) -> bool:
    return module.split(".")[0] == "tfdm"


def _imports(tree: ast.AST) -> Iterator[str]:
    """The full name of everything that a file imports, at its top or inside a function.

    A string that is the name of a module counts: a lazy import is an import.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0  # ruff TID252
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if A_MODULE.fullmatch(node.value):
                yield node.value


def _module_of(name: str) -> str | None:
    """The module of ours that an imported name is, or is defined in."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name or None


def _graph() -> dict[str, set[str]]:
    """The modules of ours, each with those that it imports."""
    graph: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        found = {_module_of(name) for name in _imports(ast.parse(path.read_text()))}
        graph[module] = {name for name in found if name and name != module} - {"tfdm"}
    return graph


def _may_import(importer: str, imported: str) -> bool:
    """The arrows point inwards, and a wing does not know the other wings."""
    if importer in WINGS and imported in WINGS:
        return importer == imported
    return RINGS[imported] <= RINGS[importer]


def _circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle, an empty list if there is none."""
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str]:
        if module in path:
            return path[path.index(module) :]
        if module not in done:
            for other in sorted(graph[module]):
                if found := visit(other, [*path, module]):
                    return found
            done.add(module)
        return []

    return next((found for module in graph if (found := visit(module, []))), [])


def _run_python(code: str, *arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_walk_finds_every_room() -> None:
    assert {_room(module) for module in MODULES} == set(RINGS)
    assert "tfdm.estimators.bounds" in MODULES


@pytest.mark.parametrize("wing", WINGS)
def test_a_wing_stands_in_the_package_by_a_relative_link(wing: str) -> None:
    assert os.readlink(ROOT / "tfdm" / wing) == f"../{wing}"


def test_imports_keep_the_arrows() -> None:
    wrong = [
        f"{module} imports {name}"
        for module, names in _graph().items()
        for name in names
        if not _may_import(_room(module), _room(name))
    ]
    assert wrong == []


def test_no_files_import_each_other_in_a_circle() -> None:
    assert _circle(_graph()) == []
    assert _circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]


def test_no_room_outgrows_the_others() -> None:
    lines: dict[str, int] = {}
    for module, path in MODULES.items():
        parts = module.split(".")
        room = parts[1] if len(parts) > 2 or (path.name == "__init__.py" and parts[1:]) else "top"
        lines[room] = lines.get(room, 0) + len(path.read_text().splitlines())
    total = sum(lines.values())
    commands = [len(MODULES[f"tfdm.cli.{n}"].read_text().splitlines()) for n in COMMANDS]
    assert max(commands) < 110
    assert lines["cli"] - sum(commands) < 500
    assert {room: n for room, n in lines.items() if n > total / 5} == {}


def test_scripts_are_shims_onto_the_commands() -> None:
    scripts = [path for path in ALL_FILES if path.parent.name == "scripts"]
    assert scripts
    for path in scripts:
        text = path.read_text()
        rooms = {_room(name) for name in _imports(ast.parse(text)) if _is_ours(name)}
        assert rooms == {"cli"}, f"{path} imports {rooms}"
        assert len(text.splitlines()) <= 20, f"{path} is more than a shim"


def test_what_a_command_needs_to_check_its_flags_does_without_tensorflow() -> None:
    commands = [name for name in MODULES if name.startswith(("tfdm.cli", "tfdm.runs"))]
    modules = [*WITHOUT_TENSORFLOW, *commands]
    code = """
import importlib, json, sys
loaded = {}
for module in sys.argv[1].split(","):
    importlib.import_module(module)
    loaded[module] = [name for name in sys.argv[2].split(",") if name in sys.modules]
print(json.dumps(loaded))
"""
    loaded = json.loads(_run_python(code, ",".join(modules), ",".join(HEAVY)))
    assert loaded == {module: [] for module in modules}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_of_a_lazy_package_is_there(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__all__ and set(module.__all__) <= set(dir(module))
    assert all(getattr(module, name) is not None for name in module.__all__)
    # Once a module is imported, it stands in its package under its own name.
    modules = {name.rpartition(".")[2] for name in MODULES if name.startswith(f"{package}.")}
    assert not modules & set(module.__all__) or package == "tfdm"
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'no_such'"):
        _ = module.no_such


def test_type_checkers_see_every_model() -> None:
    registry = importlib.import_module("tfdm.models.registry")
    names = {registry.MODELS[name].class_name for name in registry.BUILT_IN}
    assert names == set(importlib.import_module("tfdm.models").__all__)


def test_the_doors_load_nothing_heavy() -> None:
    heavy = "{'tensorflow', 'keras', 'numpy', 'PIL', 'matplotlib'}"
    code = f"import sys, {', '.join(PACKAGES)}; print(sorted({heavy} & set(sys.modules)))"
    assert _run_python(code) == "[]\n"


def test_public_methods_have_a_docstring() -> None:
    # Modules, classes and functions are ruff's; it cannot except the methods that Keras calls.
    trees = [ast.parse(path.read_text()) for path in MODULES.values()]
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    by_name = {owner.name: owner for owner in classes}

    def is_documented(owner: ast.ClassDef, name: str) -> bool:
        """Whether the method has a docstring, its own or that of a class of the package above."""
        methods = [node for node in owner.body if isinstance(node, ast.FunctionDef)]
        bases = [by_name[base.id] for base in owner.bases if getattr(base, "id", "") in by_name]
        return any(method.name == name and ast.get_docstring(method) for method in methods) or any(
            is_documented(base, name) for base in bases
        )

    missing = [
        f"{owner.name}.{method.name}"
        for owner in classes
        for method in owner.body
        if isinstance(method, ast.FunctionDef) and method.name not in DOCUMENTED_ELSEWHERE
        if not owner.name.startswith("_") and not method.name.startswith("_")
        if not is_documented(owner, method.name)
    ]
    assert missing == []


def test_a_file_is_one_idea_and_not_a_scroll() -> None:
    lengths = {str(path): len(path.read_text().splitlines()) for path in ALL_FILES}
    assert {path: lines for path, lines in lengths.items() if lines > MAX_LINES} == {}

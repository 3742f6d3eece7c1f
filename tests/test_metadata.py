"""What the package says of itself: dependencies, version, the test command."""

from __future__ import annotations

import ast
import configparser
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import tfdm

ROOT = Path(__file__).resolve().parents[1]

# Needed by other dependencies, which do not ask for them; TF-GAN is loaded by name (eval/tfgan.py).
NOT_IMPORTED = {"importlib-resources", "tensorflow-gan", "tf-keras"}
# What an extra adds.
OPTIONAL = {"ray"}


def _setup() -> configparser.ConfigParser:
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    return setup


def _requirements(text: str) -> list[Requirement]:
    lines = (line.strip() for line in text.splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "%"))]


def _required() -> set[str]:
    requirements = _requirements(_setup()["options"]["install_requires"])
    return {canonicalize_name(requirement.name) for requirement in requirements}


def test_every_dependency_has_a_lower_and_an_upper_bound() -> None:
    setup = _setup()
    texts = [setup["options"]["install_requires"], *setup["options.extras_require"].values()]
    requirements = [requirement for text in texts for requirement in _requirements(text)]
    assert len(requirements) > 10
    for requirement in requirements:
        operators = sorted(specifier.operator for specifier in requirement.specifier)
        assert operators in (["<", ">="], ["=="]), f"{requirement}"


def test_what_the_package_imports_is_what_it_requires() -> None:
    imported = set()
    for folder in ("tfdm", "models", "estimators", "eval"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    imported |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    imported.add(node.module.split(".")[0])
    third_party = imported - set(sys.stdlib_module_names) - {"tfdm"}
    distributions = importlib.metadata.packages_distributions()
    used = {canonicalize_name(distributions[name][0]) for name in third_party}
    assert used == _required() - NOT_IMPORTED | OPTIONAL


def test_the_version_is_the_same_everywhere() -> None:
    assert _setup()["metadata"]["version"] == "attr: tfdm.__version__"
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.*)$", citation, re.MULTILINE)[1] == tfdm.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## (\S+)", changelog, re.MULTILINE)[1] == tfdm.__version__


def test_the_readme_has_one_test_command_and_ci_takes_it_from_there() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^.*python -m pytest$", readme, re.MULTILINE)
    assert len(commands) == 1
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "grep -E 'python -m pytest$' README.md" in script
    assert 'bash -euo pipefail -c "$test_command"' in script
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_every_console_command_has_its_shim_in_scripts() -> None:
    lines = _setup()["options.entry_points"]["console_scripts"].strip().splitlines()
    commands = dict(line.split(" = ") for line in lines)
    assert commands
    for command, target in commands.items():
        name = command.removeprefix("tfdm-").replace("-", "_")
        assert target == f"tfdm.cli.{name}:main"
        shim = (ROOT / "scripts" / f"{name}.py").read_text(encoding="utf-8")
        assert f"from tfdm.cli.{name} import main\n" in shim


def test_an_editable_install_works_in_the_parent_folder_of_the_clone(tmp_path: Path) -> None:
    clone, wheels, installed = (tmp_path / name for name in ("tfdm", "wheels", "installed"))
    files = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in")
    for name in ("tfdm", "models", "estimators", "eval"):
        shutil.copytree(ROOT / name, clone / name, symlinks=True)
    for name in files:
        shutil.copy(ROOT / name, clone)
    (clone / "runs").mkdir()
    wheels.mkdir()
    build = "import sys; from setuptools.build_meta import build_editable as b; b(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, wheels], cwd=clone, check=True)
    [wheel] = wheels.iterdir()
    zipfile.ZipFile(wheel).extractall(installed)
    find = (
        "import importlib.util, site, sys; site.addsitedir(sys.argv[1]); "
        "print(importlib.util.find_spec('tfdm.runs').origin)"
    )
    # Without the site-packages of this Python, where tfdm may stand too.
    found = subprocess.run(
        [sys.executable, "-S", "-c", find, installed],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert Path(found.stdout.strip()) == clone / "tfdm" / "runs" / "__init__.py"

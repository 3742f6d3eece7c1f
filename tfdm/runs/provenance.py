"""What a run records about the software that made it."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import tfdm

_PACKAGES = ("tensorflow", "keras", "tensorflow-probability", "tensorflow-datasets", "numpy")


def software() -> dict[str, Any]:
    """Returns `versions` and `git_revision` as records hold them."""
    return {"versions": versions(), "git_revision": git_revision()}


def versions() -> dict[str, str]:
    """Returns the versions of Python, of this package and of what decides its numbers."""
    found = {"python": platform.python_version(), "tfdm": tfdm.__version__}
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # as tensorflow-cpu
            found[package] = importlib.metadata.version(package)
    return found


def command() -> str:
    """Returns the command line of this process, as a shell would read it."""
    program = sys.argv[0]
    start = ["python", program] if program.endswith(".py") else [Path(program).name]
    return shlex.join([*start, *sys.argv[1:]])


def git_revision() -> str | None:
    """Returns the commit of the source tree, `-dirty` when files differ from it.

    It is `None` where git does not track this very file, as of an installed package.
    """
    source = Path(__file__).resolve()
    if _git(source.parent, "ls-files", "--error-unmatch", source.name) is None:
        return None
    return _git(source.parent, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None

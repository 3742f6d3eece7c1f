"""What a run records about its software."""

from __future__ import annotations

import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfdm
from tfdm.runs import provenance


def test_versions_are_those_that_run():
    versions = provenance.versions()
    assert versions["tfdm"] == tfdm.__version__
    assert versions["tensorflow"] == tf.__version__
    assert versions["keras"] == keras.__version__
    assert versions["numpy"] == np.__version__


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    command = ["git", *identity, *arguments]
    return subprocess.run(
        command, cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def source(monkeypatch, tmp_path):
    """A repository with one file, which stands for the source tree."""
    path = tmp_path / "module.py"
    path.write_text("1\n")
    git(tmp_path, "init", "-q")
    monkeypatch.setattr(provenance, "__file__", str(path))
    return path


def test_the_revision_is_the_commit_and_says_when_files_differ(source):
    git(source.parent, "add", "module.py")
    git(source.parent, "commit", "-q", "-m", "first")
    git(source.parent, "tag", "v1")
    head = git(source.parent, "rev-parse", "HEAD")
    assert provenance.git_revision() == head
    source.write_text("2\n")
    assert provenance.git_revision() == f"{head}-dirty"


def test_a_package_installed_inside_another_repository_has_no_revision(source):
    other = source.parent / "other.txt"
    other.write_text("x")
    git(source.parent, "add", "other.txt")
    git(source.parent, "commit", "-q", "-m", "first")
    assert provenance.git_revision() is None


def test_without_a_repository_or_git_there_is_no_revision(monkeypatch, tmp_path):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "module.py"))
    assert provenance.git_revision() is None
    monkeypatch.setenv("PATH", "")
    assert provenance.git_revision() is None

"""`tfdm-export` around the exporter: which run, under whose lock, and what it says."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tfdm.cli import export
from tfdm.errors import UserError
from tfdm.experiments.config import resolve_run_config
from tfdm.runs import RunFolder, atomic


@pytest.fixture
def run(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.create()
    folder.claim_config(resolve_run_config({"model": "vae"}).flat() | {"image_shape": [28, 28, 3]})
    return folder


@pytest.fixture
def exported(monkeypatch):
    """Puts stand-ins for the model's loader and the exporter; lists the exporter's calls."""
    calls: list[tuple[Any, Path]] = []

    def load_run(path: Path) -> SimpleNamespace:
        with pytest.raises(UserError, match="in use"), RunFolder(path).lock():
            pass
        config = resolve_run_config({"model": "vae"})
        return SimpleNamespace(model=f"model of {path}", step=7, config=config)

    def export_model(model: Any, folder: Path) -> list[Path]:
        calls.append((model, folder))
        return [folder / "generator", folder / "encoder"]

    monkeypatch.setattr("tfdm.experiments.load.load_run", load_run)
    monkeypatch.setattr("tfdm.experiments.export.export_model", export_model)
    return calls


@pytest.mark.parametrize("arguments", [[], ["--format=saved_model"]])
def test_a_run_is_exported_under_its_lock(run, exported, arguments, capsys):
    leftover = atomic.temporary_sibling(run.export)
    leftover.mkdir()
    assert export.main([f"--run={run.path}", *arguments]) == 0
    assert "replacing" not in capsys.readouterr().err
    run.export.mkdir()
    assert export.main([f"--run={run.path}", *arguments]) == 0
    assert exported == 2 * [(f"model of {run.path}", run.export)]
    assert not leftover.exists()
    shown = capsys.readouterr()
    assert shown.err == f"replacing the SavedModels in {run.export}\n"
    assert shown.out.splitlines() == [
        "vae after 7 steps:",
        f"  {run.export / 'generator'}",
        f"  {run.export / 'encoder'}",
    ]


def test_a_run_that_is_being_trained_is_refused(run, exported, capsys):
    with run.lock():
        assert export.main([f"--run={run.path}"]) == 2
    assert "in use by another process" in capsys.readouterr().err
    assert exported == []


def test_a_folder_near_by_is_named(run, capsys):
    assert export.main([f"--run={run.path}s"]) == 2
    expected = f"error: {run.path}s does not exist: did you mean {run.path}?\n"
    assert capsys.readouterr().err == expected

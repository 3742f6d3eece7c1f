"""Atomic files and folders: whole or absent, and JSON that every reader can parse."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tfdm.runs import atomic


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_with_its_content_and_nothing_else(tmp_path: Path) -> None:
    atomic.atomic_write_bytes(tmp_path / "deep" / "a.bin", b"\x00\xff")
    atomic.atomic_write_text(tmp_path / "deep" / "b.txt", "KL[q(z) ‖ p(z)]")
    assert (tmp_path / "deep" / "a.bin").read_bytes() == b"\x00\xff"
    assert (tmp_path / "deep" / "b.txt").read_bytes().decode("utf-8") == "KL[q(z) ‖ p(z)]"
    assert _names(tmp_path / "deep") == ["a.bin", "b.txt"]


def test_the_temporary_name_keeps_the_suffix(tmp_path: Path) -> None:
    with atomic.atomic_file(tmp_path / "last.weights.h5") as temporary:
        temporary.write_bytes(b"weights")
        assert temporary.name.endswith(".weights.h5")
        assert not (tmp_path / "last.weights.h5").exists()
    assert _names(tmp_path) == ["last.weights.h5"]


def test_a_failed_writer_leaves_the_old_file_and_no_temporary(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="half way"):
        with atomic.atomic_file(path) as temporary:
            temporary.write_text("new, half")
            raise RuntimeError("half way")
    assert path.read_text() == "old"
    assert _names(tmp_path) == ["a.txt"]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "export"
    for content in ("first", "second"):
        with atomic.atomic_directory(path) as temporary:
            (temporary / "generator").mkdir()
            (temporary / "generator" / content).write_text(content)
            before = _names(path / "generator") if path.exists() else None
            assert before == (None if content == "first" else ["first"])
    assert _names(path / "generator") == ["second"]
    assert _names(tmp_path) == ["export"]


@pytest.mark.parametrize("fails", ["the writer", "the swap"])
def test_failing_keeps_the_old(fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "export"
    with atomic.atomic_directory(path) as temporary:
        (temporary / "old").touch()
    replace = os.replace

    def refuse(source: Path, target: Path) -> None:
        if Path(source).name.startswith(atomic.TEMPORARY_PREFIX):
            raise OSError("the swap")
        replace(source, target)

    monkeypatch.setattr(atomic.os, "replace", refuse)
    with pytest.raises(OSError, match=fails):
        with atomic.atomic_directory(path) as temporary:
            (temporary / "new").touch()
            if fails == "the writer":
                raise OSError(fails)
    assert _names(path) == ["old"]
    assert _names(tmp_path) == ["export"]


def test_leftovers_are_removed_at_any_depth_and_nothing_else(tmp_path: Path) -> None:
    kept = tmp_path / "checkpoints" / "step_00000001.npz"
    kept.parent.mkdir()
    kept.touch()
    atomic.temporary_sibling(kept).write_bytes(b"half")
    folder = atomic.temporary_sibling(tmp_path / "export")
    (folder / "generator").mkdir(parents=True)
    (folder / "generator" / "saved_model.pb").touch()
    assert len(_names(tmp_path)) == 2
    assert len(_names(kept.parent)) == 2
    atomic.remove_leftovers(tmp_path)
    assert _names(tmp_path) == ["checkpoints"]
    assert _names(kept.parent) == [kept.name]


@pytest.mark.parametrize("new_one_stands", [False, True])
def test_a_replaced_folder_without_successor_comes_back(
    tmp_path: Path, new_one_stands: bool
) -> None:
    replaced = tmp_path / ".tfdm-old-export"
    replaced.mkdir()
    (replaced / "old").touch()
    if new_one_stands:
        (tmp_path / "export").mkdir()
        (tmp_path / "export" / "new").touch()
    atomic.remove_leftovers(tmp_path)
    assert _names(tmp_path) == ["export"]
    assert _names(tmp_path / "export") == ["new" if new_one_stands else "old"]


def test_json_is_strict_and_readable(tmp_path: Path) -> None:
    pairs = {
        "numbers": ([np.int64(3), np.float32(0.5), np.bool_(True)], [3, 0.5, True]),
        "not finite": ([float("nan"), np.float64("-inf")], [None, None]),
        "arrays": ([(28, 3), np.eye(2)], [[28, 3], [[1.0, 0.0], [0.0, 1.0]]]),
        "others": ([Path("runs"), None], ["runs", None]),
    }
    atomic.atomic_write_json(tmp_path / "a.json", {name: pair[0] for name, pair in pairs.items()})
    text = (tmp_path / "a.json").read_text()
    assert text.endswith("}\n")
    assert json.loads(text) == {name: pair[1] for name, pair in pairs.items()}


@pytest.mark.parametrize("value", [{1: "a"}, {"a": object()}, {"a": {"b": b"bytes"}}])
def test_what_json_cannot_hold_is_refused_before_writing(tmp_path: Path, value: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        atomic.atomic_write_json(tmp_path / "a.json", value)
    assert _names(tmp_path) == []


def test_what_another_process_writes_stays_until_it_is_killed(tmp_path: Path) -> None:
    code = (
        "import contextlib, sys, time; from tfdm.runs.atomic import *\n"
        "with atomic_file(sys.argv[1]) as file, atomic_directory(sys.argv[2]) as folder:\n"
        "    file.write_text('half'); (folder / 'a').touch(); print('at work', flush=True)\n"
        "    time.sleep(600)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "kl.json"), str(tmp_path / "export")]
    root = Path(__file__).parents[1]
    writer = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout is not None and writer.stdout.readline() == "at work\n"
        at_work = _names(tmp_path)
        assert len(at_work) == 2
        atomic.remove_leftovers(tmp_path)
        atomic.atomic_write_text(tmp_path / "other.txt", "")
        assert _names(tmp_path) == [*at_work, "other.txt"]
    finally:
        writer.kill()
        writer.communicate()
    # A writer without any lock clears the folder that it writes into.
    atomic.atomic_write_text(tmp_path / "other.txt", "")
    assert _names(tmp_path) == ["other.txt"]


@pytest.mark.parametrize("returns", [False, True])
def test_a_held_folder_that_was_moved_is_not_made_anew(tmp_path: Path, returns: bool) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with atomic.held(run):
        atomic.atomic_write_text(run / "weights" / "a", "1")
        run.rename(tmp_path / "moved")
        if returns:
            run.mkdir()
        for write in (atomic.atomic_write_text, lambda path, _: atomic.atomic_write_json(path, 1)):
            with pytest.raises(OSError, match=f"was moved or removed .*'{run}'") as raised:
                write(run / "weights" / "b", "2")
            assert raised.value.errno == errno.ESTALE
        assert run.exists() == returns and not (run / "weights").exists()
    atomic.atomic_write_text(run / "weights" / "b", "2")


def test_a_full_disk_is_named_by_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    for writer in (atomic.atomic_file, atomic.atomic_directory):
        with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}'"):
            with writer(path):
                raise full
    assert path.read_text() == "old" and _names(tmp_path) == ["a.txt"]

"""Checkpoints: named arrays in one file each, which is whole and proven, or no checkpoint.

A checkpoint is an uncompressed `.npz` whose name ends in the SHA-256 of its bytes
(`step_00001000-<64 hex digits>.npz`): content and digest appear together in one rename.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tfdm.runs import atomic

_logger = logging.getLogger("tfdm")

_NAME = re.compile(r"step_(?P<step>\d{8,})-(?P<digest>[0-9a-f]{64})\.npz")
# A member of older files that is no array of the state.
_NO_ARRAY = "__foreign_types__"


class NonFiniteError(ValueError):
    """An array to be saved, called `name`, holds NaN or an infinity."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"{name} holds a value that is not finite; no checkpoint was written")


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A state read back: its completed steps, its arrays bit for bit as saved, its file."""

    step: int
    arrays: dict[str, np.ndarray]
    path: Path


class CheckpointStore:
    """The rotating checkpoints of one run; one writer at a time (`RunFolder.lock`).

    Args:
      folder: where the files stand; made at the first save.
      keep: how many of the newest to keep, at least 1.
      finite: whether to refuse arrays that hold NaN or an infinity.
    """

    def __init__(self, folder: str | os.PathLike[str], keep: int = 3, finite: bool = True) -> None:
        if keep < 1:
            raise ValueError(f"keep is {keep}, expected at least 1")
        self.folder = Path(folder)
        self.keep = keep
        self.finite = finite

    def save(self, step: int, arrays: Mapping[str, np.ndarray]) -> Path:
        """Writes the state after `step` steps, and removes checkpoints beyond `keep`.

        Files of later steps are removed too: the run went on from an earlier state. Arrays hold
        booleans, integers, floating or complex numbers.

        Raises:
          NonFiniteError: an array holds NaN or an infinity, where `finite` refuses them.
          ValueError: an array is of another type, or its name is taken or empty.
        """
        if step < 0:
            raise ValueError(f"step is {step}, expected at least 0")
        arrays = {name: np.asarray(array) for name, array in arrays.items()}
        for name, array in arrays.items():
            _check(name, array, self.finite)
        with atomic.temporary_file(self.folder / f"step_{step:08d}.npz") as temporary:
            _write(temporary, arrays)
            path = self.folder / f"step_{step:08d}-{_digest(temporary)}.npz"
            atomic.commit(temporary, path)
        self._rotate(step, path)
        return path

    def latest(self) -> Checkpoint | None:
        """Returns the newest whole checkpoint or `None`; warns of damaged ones."""
        for path in sorted(self.folder.glob("step_*.npz")):
            if not _NAME.fullmatch(path.name):
                _logger.warning("skipped %s: its name carries no SHA-256 digest", path)
        for step, path in self._files():
            try:
                return Checkpoint(step, _read(path), path)
            except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
                _logger.warning("skipped the damaged checkpoint %s: %s", path, error)
        return None

    def steps(self) -> list[int]:
        """Returns the steps of the files that are there, newest first, without reading them."""
        return [step for step, _ in self._files()]

    def _files(self) -> list[tuple[int, Path]]:
        """Lists the files by step, newest first."""
        named = ((_NAME.fullmatch(path.name), path) for path in self.folder.glob("step_*.npz"))
        return sorted(((int(match["step"]), path) for match, path in named if match), reverse=True)

    def _rotate(self, saved_step: int, saved: Path) -> None:
        files = self._files()
        older = [path for step, path in files if step < saved_step]
        others = [path for step, path in files if step >= saved_step and path != saved]
        for path in [*others, *older[self.keep - 1 :]]:
            path.unlink(missing_ok=True)


def _check(name: str, array: np.ndarray, must_be_finite: bool) -> None:
    if not name or name == _NO_ARRAY or name.endswith(".npy"):
        raise ValueError(f"name of an array is {name!r}, expected a plain, non-empty name")
    if array.dtype.kind not in "biufc":
        raise ValueError(f"{name} is of type {array.dtype}, expected booleans or numbers")
    if must_be_finite and not np.isfinite(array).all():
        raise NonFiniteError(name)


def _write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    # Not `np.savez`: its keyword arguments would forbid an array to be named `file`.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _read(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a file; what it raises says what is wrong with the file."""
    if not path.stem.endswith(_digest(path)):
        raise ValueError("its content does not have the SHA-256 digest in its name")
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files if name != _NO_ARRAY}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

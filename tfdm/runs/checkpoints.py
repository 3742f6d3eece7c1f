"""Checkpoints: named arrays in one file each, which is whole and proven, or no checkpoint.

A checkpoint is an uncompressed `.npz` whose name ends in the SHA-256 of its bytes
(`step_00001000-<64 hex digits>.npz`). Content and digest thus appear together in one rename, and
no moment to be killed at leaves the one without the other.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfdm.runs import atomic

_logger = logging.getLogger("tfdm")

_NAME = re.compile(r"step_(?P<step>\d{8,})-(?P<digest>[0-9a-f]{64})\.npz")
# The member that says which arrays stand in the file as the bits of a type NumPy cannot name.
_FOREIGN_TYPES = "__foreign_types__"


class NonFiniteError(ValueError):
    """An array to be saved holds NaN or an infinity.

    Attributes:
      name: the name of the array.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"{name} holds a value that is not finite; no checkpoint was written")


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A state read back.

    Attributes:
      step: the number of completed steps.
      arrays: the arrays by name, bit for bit as they were saved.
      path: the file.
    """

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
        """Writes a checkpoint, makes it the newest one, and removes those beyond `keep`.

        Files of later steps are removed too: the run went on from an earlier state, so that they
        are damaged or belong to a past that is not this run's.

        Args:
          step: the number of completed steps.
          arrays: the state: booleans, integers, floating and complex numbers, and the types of
            `ml_dtypes` (bfloat16), of any shape.

        Returns:
          The file.

        Raises:
          NonFiniteError: an array holds NaN or an infinity, where `finite` refuses them; nothing
            was written.
          ValueError: an array is of another type, or its name is taken or empty.
        """
        if step < 0:
            raise ValueError(f"step is {step}, expected at least 0")
        arrays = {name: np.asarray(array) for name, array in arrays.items()}
        for name, array in arrays.items():
            _check(name, array, self.finite)
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = atomic.temporary_sibling(self.folder / f"step_{step:08d}.npz")
        try:
            _write(temporary, arrays)
            path = self.folder / f"step_{step:08d}-{_digest(temporary)}.npz"
            atomic.commit(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        self._rotate(step, path)
        return path

    def latest(self) -> Checkpoint | None:
        """Returns the newest checkpoint that is whole, or `None` when there is none.

        A damaged one (cut off, a bit flipped) is named in a warning and passed over.
        """
        for path in sorted(self.folder.glob("step_*.npz")):
            if not _NAME.fullmatch(path.name):
                _logger.warning("skipped %s: its name carries no SHA-256 digest", path)
        for step, path in self._files():
            arrays, problem = _read(path)
            if arrays is not None:
                return Checkpoint(step, arrays, path)
            _logger.warning("skipped the damaged checkpoint %s: %s", path, problem)
        return None

    def steps(self) -> list[int]:
        """Returns the steps of the files that are there, newest first, without reading them."""
        return [step for step, _ in self._files()]

    def _files(self) -> list[tuple[int, Path]]:
        """Lists the files by step, newest first."""
        named = ((_NAME.fullmatch(path.name), path) for path in self.folder.glob("step_*.npz"))
        return sorted(((int(match["step"]), path) for match, path in named if match), reverse=True)

    def _rotate(self, saved_step: int, saved: Path) -> None:
        older = []
        for step, path in self._files():
            if step < saved_step:
                older.append(path)
            elif path != saved:
                path.unlink(missing_ok=True)
        for path in older[self.keep - 1 :]:
            path.unlink(missing_ok=True)


def _check(name: str, array: np.ndarray, must_be_finite: bool) -> None:
    if not name or name == _FOREIGN_TYPES or name.endswith(".npy"):
        raise ValueError(f"name of an array is {name!r}, expected a plain, non-empty name")
    if array.dtype.kind in "biu":
        return
    if array.dtype.kind in "fc":
        finite = np.isfinite(array).all()
    elif _is_foreign(array.dtype):
        finite = np.isfinite(array.astype(np.float32)).all()
    else:
        raise ValueError(f"{name} is of type {array.dtype}, expected booleans or numbers")
    if must_be_finite and not finite:
        raise NonFiniteError(name)


def _is_foreign(dtype: np.dtype[Any]) -> bool:
    """Says whether the type comes from `ml_dtypes`, which the `.npy` format does not know."""
    return dtype.type.__module__.split(".")[0] == "ml_dtypes"


def _write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    foreign = {n: array.dtype.name for n, array in arrays.items() if _is_foreign(array.dtype)}
    members = dict(arrays)
    for name in foreign:
        array = arrays[name]
        members[name] = array.view(f"u{array.dtype.itemsize}")
    members[_FOREIGN_TYPES] = np.frombuffer(json.dumps(foreign).encode(), np.uint8)
    # Not `np.savez`: its keyword arguments would forbid an array to be named `file`.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in members.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _read(path: Path) -> tuple[dict[str, np.ndarray] | None, str]:
    """Returns the arrays and an empty text, or `None` and what is wrong with the file."""
    match = _NAME.fullmatch(path.name)
    try:
        if match is None or _digest(path) != match["digest"]:
            return None, "its content does not have the SHA-256 digest in its name"
        arrays = {}
        with zipfile.ZipFile(path) as archive:
            for entry in archive.namelist():
                with archive.open(entry) as member:
                    array = np.lib.format.read_array(member, allow_pickle=False)
                arrays[entry.removesuffix(".npy")] = array
        for name, dtype in json.loads(arrays.pop(_FOREIGN_TYPES).tobytes()).items():
            arrays[name] = arrays[name].view(_foreign_type(dtype))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        return None, str(error)
    return arrays, ""


def _foreign_type(name: str) -> np.dtype[Any]:
    import ml_dtypes  # only a state that has such arrays needs it

    if not hasattr(ml_dtypes, name):
        raise ValueError(f"this ml_dtypes has no type {name!r}")
    return np.dtype(getattr(ml_dtypes, name))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Files and folders that are either whole or absent, whenever the process is killed.

Everything is written under a temporary name beside its final place, flushed to the disk, then
renamed. A writer holds its temporary locked until then, and the system frees the lock of a
process that is killed: the next writer in the same folder removes what nobody holds, and leaves
what another process is at work on.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import math
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tfdm.errors import MACHINE_FAILURES

TEMPORARY_PREFIX = ".tfdm-new-"
_REPLACED_PREFIX = ".tfdm-old-"

# Folders that this process holds for itself, each with what tells it from another one there.
_held: list[tuple[Path, tuple[int, int] | None]] = []


@contextlib.contextmanager
def held(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Has writes below `folder` fail once it is no longer the folder that it is now.

    Otherwise a folder that was moved away would be made anew, with the last files alone.
    """
    path = Path(os.path.abspath(folder))
    entry = path, _identity(path)
    _held.append(entry)
    try:
        yield
    finally:
        _held.remove(entry)


@contextlib.contextmanager
def writing_at(path: Path) -> Iterator[None]:
    """Makes the folder of a file that is written in the block.

    Raises:
      OSError: the disk is full or failed, or a folder that is `held` was moved or removed; the
        error names the folder.
    """
    place = Path(os.path.abspath(path))
    for folder, identity in _held:
        if place.is_relative_to(folder) and _identity(folder) != identity:
            reason = "the folder was moved or removed while it was in use"
            raise OSError(errno.ESTALE, reason, os.fspath(folder))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno in MACHINE_FAILURES and error.errno != errno.ESTALE:
            raise OSError(error.errno, error.strerror, os.fspath(path.parent)) from error
        raise


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary path that becomes `path` when the block ends without an exception.

    It ends as `path` does, for writers that look at the suffix. Missing parents are made; an
    existing file is replaced. The block must leave a file there.
    """
    with temporary_file(path) as temporary:
        yield temporary
        commit(temporary, Path(path))


@contextlib.contextmanager
def temporary_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives an empty file beside `path`, which ends as `path` does, for the block to `commit`.

    It is removed when the block fails.
    """
    path = Path(path)
    with writing_at(path), _claimed(path, Path.touch) as temporary:
        try:
            yield temporary
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def atomic_directory(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives an empty temporary folder that becomes `path` when the block ends well.

    An old folder at `path` stays until the new one is complete. Between the two renames that swap
    them `path` is absent; `remove_leftovers` puts the old one back after a kill just there.
    """
    path = Path(path)
    replaced = path.with_name(_REPLACED_PREFIX + path.name)
    with writing_at(path), _claimed(path, Path.mkdir) as temporary:
        try:
            yield temporary
            for folder, _, names in os.walk(temporary):
                for name in names:
                    _sync(Path(folder, name))
                _sync(Path(folder))
            shutil.rmtree(replaced, ignore_errors=True)
            if path.exists():
                os.replace(path, replaced)
            os.replace(temporary, path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            if replaced.exists() and not path.exists():
                os.replace(replaced, path)
            raise
        _sync(path.parent)
        shutil.rmtree(replaced, ignore_errors=True)


def atomic_write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes `content` to `path`; a reader sees the old file or the new one, never a part."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


def atomic_write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes `text` to `path` in UTF-8, as `atomic_write_bytes` does."""
    atomic_write_bytes(path, text.encode("utf-8"))


def atomic_write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes `value` to `path` as indented JSON; see `json_ready` for what it may hold."""
    text = json.dumps(json_ready(value), indent=2, ensure_ascii=False, allow_nan=False)
    atomic_write_text(path, text + "\n")


def json_ready(value: Any) -> Any:
    """Returns `value` in the types of JSON.

    NumPy scalars and arrays become numbers and lists, tuples become lists, paths become text,
    NaN and infinities null. `ValueError` refuses other types, and keys that are no text.
    """
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"key is {key!r}, expected text")
        return {key: json_ready(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_ready(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return json_ready(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ValueError(f"value is {value!r} of type {type(value).__name__}, expected a JSON type")


def temporary_sibling(path: Path) -> Path:
    """Returns a new name beside `path` that ends as `path` does and marks a temporary."""
    return path.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(4)}-{path.name}")


def commit(temporary: Path, path: Path) -> None:
    """Makes the finished file `temporary` stand at `path`: on the disk first, then by name."""
    _sync(temporary)
    os.replace(temporary, path)
    _sync(path.parent)


def is_leftover(path: Path) -> bool:
    """Says whether `path` is a temporary of this module, left by a process that was killed."""
    return path.name.startswith((TEMPORARY_PREFIX, _REPLACED_PREFIX))


def original_name(leftover: Path) -> str:
    """Returns the name of what a temporary was to become, or had been."""
    prefixes = f"{re.escape(TEMPORARY_PREFIX)}[0-9a-f]+-|{re.escape(_REPLACED_PREFIX)}"
    return re.sub(prefixes, "", leftover.name, count=1)


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Removes what killed writers left anywhere below `folder`, and puts back what they moved.

    What a living writer is at work on stays; only the one writer of the folders below `folder` may
    call it.
    """
    for parent, folders, files in os.walk(folder):
        for path in filter(is_leftover, (Path(parent, name) for name in [*folders, *files])):
            original = path.with_name(original_name(path))
            if path.name.startswith(_REPLACED_PREFIX) and not original.exists():
                os.replace(path, original)  # killed between the two renames of a swap
            else:
                _remove_unless_in_use(path)
        folders[:] = [name for name in folders if not is_leftover(Path(name))]


@contextlib.contextmanager
def _claimed(path: Path, make: Callable[[Path], None]) -> Iterator[Path]:
    """Makes a temporary beside `path` and holds it; removes those that nobody holds."""
    for leftover in path.parent.glob(f"{TEMPORARY_PREFIX}*"):
        _remove_unless_in_use(leftover)
    descriptor = None
    while descriptor is None:
        temporary = temporary_sibling(path)
        make(temporary)
        with contextlib.suppress(FileNotFoundError):  # Removed before it could be locked.
            descriptor = os.open(temporary, os.O_RDONLY)
            with contextlib.suppress(OSError):  # No file system of every network has locks.
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not temporary.exists():
                os.close(descriptor)
                descriptor = None
    try:
        yield temporary
    finally:
        os.close(descriptor)


def _remove_unless_in_use(path: Path) -> None:
    """Removes a temporary that no living process holds."""
    with contextlib.suppress(OSError):  # It is gone, or in use.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _sync(path: Path) -> None:
    """Flushes a file, or the entries of a folder, to the disk."""
    if path.is_dir() and os.name != "posix":
        return  # other systems cannot open a folder
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

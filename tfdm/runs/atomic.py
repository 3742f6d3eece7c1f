"""Files and folders that are either whole or absent, whenever the process is killed.

Everything is written under a temporary name beside its final place, flushed to the disk, then
renamed. A killed process leaves at most temporaries, which `remove_leftovers` takes away.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

TEMPORARY_PREFIX = ".tfdm-new-"
_REPLACED_PREFIX = ".tfdm-old-"


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary path that becomes `path` when the block ends without an exception.

    It ends as `path` does, for writers that look at the suffix. Missing parents are made; an
    existing file is replaced. The block must leave a file there.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_sibling(path)
    try:
        yield temporary
        commit(temporary, path)
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
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_sibling(path)
    temporary.mkdir()
    replaced = path.with_name(_REPLACED_PREFIX + path.name)
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
    """Removes what killed writers left anywhere below `folder`.

    Only the one writer of `folder` may call it: it takes those of a living writer away too.
    """
    for parent, folders, files in os.walk(folder):
        for path in filter(is_leftover, (Path(parent, name) for name in [*folders, *files])):
            original = path.with_name(original_name(path))
            if path.name.startswith(_REPLACED_PREFIX) and not original.exists():
                os.replace(path, original)  # killed between the two renames of a swap
            elif path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        folders[:] = [name for name in folders if not is_leftover(Path(name))]


def _sync(path: Path) -> None:
    """Flushes a file, or the entries of a folder, to the disk."""
    if path.is_dir() and os.name != "posix":
        return  # other systems cannot open a folder
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

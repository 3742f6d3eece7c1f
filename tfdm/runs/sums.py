"""Digests beside the files of a folder, so that what is read again is what was written.

`SHA256SUMS` holds a line `<64 hex digits>  <relative name>` for each file, as `sha256sum` writes
and checks it.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from tfdm.runs.atomic import atomic_write_text, is_leftover

SUMS_NAME = "SHA256SUMS"


def write_sums(folder: Path) -> None:
    """Records the digests of all files below a folder."""
    files = [Path(place, name) for place, _, names in os.walk(folder) for name in names]
    found = {file.relative_to(folder).as_posix(): file for file in files if not is_leftover(file)}
    found.pop(SUMS_NAME, None)
    lines = [f"{_digest(file)}  {name}\n" for name, file in sorted(found.items())]
    atomic_write_text(folder / SUMS_NAME, "".join(lines))


def recorded_sums(folder: Path) -> dict[str, str]:
    """Returns the recorded digests by name, `{}` where there is no record that can be read."""
    try:
        lines = (folder / SUMS_NAME).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return {}
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def is_intact(folder: Path, *names: str) -> bool:
    """Says whether all recorded files, `names` among them, have the content that they had."""
    recorded = recorded_sums(folder)
    try:
        right = [_digest(folder / name) == digest for name, digest in recorded.items()]
    except OSError:
        return False
    return bool(recorded) and all(right) and set(names) <= recorded.keys()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

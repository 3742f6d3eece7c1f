"""The folder of an evaluation: its lock, its files, and whether they are about the same samples."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock

from tfdm.errors import UserError
from tfdm.eval.tables import NAME, evaluation_table
from tfdm.runs.atomic import atomic_write_json, atomic_write_text

# Where images stand does not make them other images; their pixels are compared apart.
_NOT_COMPARED = ("run", "images", "available", "quantised")
_COMPARED = ("dataset", "dataset_digest", "num_samples", "seed")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Makes the folder and keeps other writers out of it.

    Raises:
      UserError: it is in use, or cannot be written.
    """
    lock = filelock.FileLock(folder / ".evaluation.lock", timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout:
        raise UserError(f"{folder} is in use by another evaluation: wait for it to end") from None
    except OSError as error:
        raise UserError(
            f"cannot write into {folder}: {error.strerror}; choose another --output_dir"
        ) from None
    try:
        yield
    finally:
        lock.release()


def earlier_evaluation(folder: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Reads the evaluation that stands in the folder, `{}` without one.

    Args:
      folder: the folder.
      content: the top level of the evaluation to be made, which must be of the same samples.

    Raises:
      UserError: what stands there is damaged, or of other samples.
    """
    path = folder / NAME
    if not path.exists():
        return {}
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
        complete = all(isinstance(earlier[key], dict) for key in ("metrics", "classifiers"))
        complete = complete and isinstance(earlier["samples_digest"], str)
        difference = _difference(_samples(earlier), _samples(content))
    except (ValueError, KeyError, TypeError, AttributeError):
        complete, difference = False, None
    if not complete:
        raise UserError(f"{path} is damaged: move it away, or choose another --output_dir")
    if difference is not None:
        raise other_samples(folder, difference)
    return earlier


def other_samples(folder: Path, difference: str) -> UserError:
    """Returns the refusal to add measures of other samples to those that stand in the folder."""
    return UserError(
        f"{folder / NAME} is about other samples ({difference}): move it away, or choose another "
        "--output_dir"
    )


def write_evaluation(folder: Path, content: dict[str, Any]) -> None:
    """Writes `evaluation.json` and its table."""
    atomic_write_json(folder / NAME, content)
    atomic_write_text(folder / "evaluation.md", evaluation_table(content))


def _samples(content: dict[str, Any]) -> dict[str, Any]:
    """What tells samples apart before they are looked at."""
    source = {key: value for key, value in content["source"].items() if key not in _NOT_COMPARED}
    return {key: content[key] for key in _COMPARED} | source


def _difference(earlier: dict[str, Any], asked: dict[str, Any]) -> str | None:
    """The first field in which two descriptions differ, in words."""
    for key in dict.fromkeys([*asked, *earlier]):
        values = [described.get(key, "none") for described in (earlier, asked)]
        if values[0] != values[1]:
            return f"{key} {values[0]} -> {values[1]}"
    return None

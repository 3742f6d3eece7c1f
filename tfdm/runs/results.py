"""Results that a folder collects: one writer at a time, about one thing, old records kept.

`kl.json`, `evaluation.json` and `results.json` grow by every command that writes into their folder.
Each says what it is about; a command about something else is refused.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock

from tfdm.errors import MACHINE_FAILURES, UserError
from tfdm.runs.atomic import held, json_ready

_logger = logging.getLogger("tfdm")

_OTHER_FOLDER = "choose another --output_dir"
_MOVE_AWAY = f"move it away, or {_OTHER_FOLDER}"


@contextlib.contextmanager
def writing(folder: str | os.PathLike[str], advice: str = _OTHER_FOLDER) -> Iterator[Path]:
    """Gives the path of a folder; a failure to write in it is one line with `advice`.

    A disk that is full or fails stays an `OSError`, with the name of the folder.
    """
    path = Path(folder).expanduser()
    try:
        yield path
    except OSError as error:
        if error.errno in MACHINE_FAILURES and error.errno != errno.EROFS:
            raise OSError(error.errno, error.strerror, error.filename or str(path)) from error
        reason = error.strerror or error
        raise UserError(f"cannot write into {path}: {reason}; {advice}") from error


@contextlib.contextmanager
def locked(
    folder: str | os.PathLike[str],
    name: str = ".lock",
    *,
    wait: bool = False,
    advice: str = _OTHER_FOLDER,
) -> Iterator[None]:
    """Makes the folder and holds it for one writer; the system frees it when the process ends.

    `name` is the file in it that is locked; writers of different names do not exclude each other.
    With `wait`, another writer is waited for.

    Raises:
      UserError: another process holds the folder, or it cannot be written; ends with `advice`.
    """
    folder = Path(folder)
    lock = filelock.FileLock(folder / name, timeout=0)
    with writing(folder, advice):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except filelock.Timeout:
            if not wait:
                raise UserError(
                    f"{folder} is in use by another process: wait until it ends, stop it, "
                    f"or {advice}"
                ) from None
            _logger.info("waiting for another process that writes into %s", folder)
            lock.acquire(timeout=-1)
    try:
        with held(folder):
            yield
    finally:
        lock.release()


def read_json(path: str | os.PathLike[str], advice: str = _MOVE_AWAY) -> dict[str, Any]:
    """Reads a JSON file that holds an object; `UserError` with `advice` where it does not."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}; {advice}") from None
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): {advice}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged (it holds no JSON object): {advice}")
    return content


def differences(
    recorded: Mapping[str, Any], asked: Mapping[str, Any], ignore: Collection[str] = ()
) -> list[str]:
    """Lists the fields that differ, as `name: recorded -> asked`, but those to `ignore`.

    Values are compared as JSON holds them: tuples and lists are one.
    """
    asked = json_ready(dict(asked))
    lines = []
    for name in dict.fromkeys([*asked, *recorded]):
        before, after = recorded.get(name, "absent"), asked.get(name, "absent")
        # 1 and 1.0 are one value, 1 and true are not.
        same = before == after and isinstance(before, bool) == isinstance(after, bool)
        if name not in ignore and not same:
            lines.append(f"{name}: {_shown(before)} -> {_shown(after)}")
    return lines


def earlier_results(
    path: str | os.PathLike[str],
    asked: Mapping[str, Any],
    identity: Sequence[str],
    *,
    groups: Sequence[str] = (),
    about: str = "something else",
    ignore: Collection[str] = (),
) -> dict[str, Any]:
    """Returns the results that a file holds before more are added; `{}` where there is no file.

    Args:
      path: the file.
      asked: the top level of the results to be added.
      identity: the fields that say what results are about; one that is a mapping is compared
        field by field.
      groups: fields that must hold records by name.
      about: what the results of another identity are about, such as "other samples".
      ignore: fields inside of the identity's mappings that may differ.

    Raises:
      UserError: the file is damaged, or is about something else.
    """
    if not Path(path).exists():
        return {}
    earlier = read_json(path)
    for name in (*identity, *groups):
        if name not in earlier or (name in groups and not isinstance(earlier[name], dict)):
            raise UserError(f"{path} is damaged (it has no {name!r}): {_MOVE_AWAY}")
    found = differences(_flat(earlier, identity), _flat(asked, identity), ignore)
    if found:
        raise UserError(f"{path} is about {about} ({found[0]}): {_MOVE_AWAY}")
    return earlier


def merged(earlier: Mapping[str, Any], added: Mapping[str, Any], levels: int = 1) -> dict[str, Any]:
    """Returns the records of both, the added one where both have one of the same name.

    `levels` is the number of names that lead to a record.
    """
    result = {**earlier, **added}
    if levels > 1:
        for name in earlier.keys() & added.keys():
            result[name] = merged(earlier[name], added[name], levels - 1)
    return result


def _flat(content: Mapping[str, Any], identity: Sequence[str]) -> dict[str, Any]:
    """The fields of an identity, those of its mappings beside them."""
    fields: dict[str, Any] = {}
    for name in identity:
        value = content[name]
        fields |= value if isinstance(value, Mapping) else {name: value}
    return fields


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)

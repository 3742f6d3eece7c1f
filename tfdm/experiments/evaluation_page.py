"""The page of `tfdm-evaluate --compare`: a table and plots of several evaluations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfdm.errors import UserError
from tfdm.eval.tables import NAME, comparison_table, group_of, plot_comparison
from tfdm.runs.atomic import atomic_write_bytes, atomic_write_json, atomic_write_text

PAGE_NAME = "evaluations"
_FIELDS = ("num_samples", "seed", "title", "dataset", "dataset_digest", "image_shape")


def write_page(folders: Sequence[Path], output_dir: Path) -> str:
    """Writes `evaluations.md`, `evaluations.png` and `evaluations.json`; returns the table.

    Raises:
      UserError: a folder holds no evaluation, the evaluations are of several data sets, or the
        page cannot be written.
    """
    contents: dict[str, dict[str, Any]] = {}
    for folder in folders:
        content = read_evaluation(folder)
        contents[_unused(_row_name(content, folder), folder, contents)] = content
    datasets = sorted({content["dataset"] for content in contents.values()})
    if len(datasets) > 1:
        raise UserError(f"the evaluations are of {' and '.join(datasets)}: compare them apart")
    versions = {
        (content["dataset_digest"], str(content["image_shape"])) for content in contents.values()
    }
    if len(versions) > 1:
        raise UserError(
            f"the evaluations are of {len(versions)} versions of {datasets[0]}, of other images, "
            "size or crop: compare them apart"
        )
    table = comparison_table(contents)
    try:
        atomic_write_text(output_dir / f"{PAGE_NAME}.md", table)
        picture = plot_comparison(contents, f"{datasets[0]}")
        atomic_write_bytes(output_dir / f"{PAGE_NAME}.png", picture)
        atomic_write_json(output_dir / f"{PAGE_NAME}.json", contents)
    except OSError as error:
        raise UserError(f"cannot write into {output_dir}: {error.strerror}") from None
    return f"{table}\n{output_dir / PAGE_NAME}.png\n"


def read_evaluation(folder: Path) -> dict[str, Any]:
    """Reads the `evaluation.json` of a folder.

    Raises:
      UserError: there is none, or it is damaged.
    """
    path = folder if folder.is_file() else folder / NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        complete = all(isinstance(content[key], dict) for key in ("source", "metrics"))
        for field in _FIELDS:
            content[field]
    except FileNotFoundError:
        raise UserError(f"{folder} holds no {NAME}: evaluate it first") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{path} is damaged: evaluate its samples again") from None
    if not complete:
        raise UserError(f"{path} is damaged: evaluate its samples again")
    return content


def _row_name(content: dict[str, Any], folder: Path) -> str:
    source = content["source"]
    if not source.get("model"):
        return content["title"] if source.get("split") else folder.name.removesuffix(".evaluation")
    return group_of(source)


def _unused(name: str, folder: Path, taken: dict[str, Any]) -> str:
    """A name that tells rows apart: the folder's, and a number where that is taken too."""
    candidates = [name, f"{name} ({folder.name})"]
    candidates += [f"{name} ({folder.name}, {number})" for number in range(2, len(taken) + 3)]
    return next(candidate for candidate in candidates if candidate not in taken)

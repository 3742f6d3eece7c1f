"""Several evaluations side by side: a table and plots like Figures 4 and 5."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfdm.errors import UserError
from tfdm.eval.records import read_evaluation
from tfdm.eval.tables import comparison_table, group_of, plot_comparison
from tfdm.runs.atomic import atomic_write_bytes, atomic_write_json, atomic_write_text

PAGE_NAME = "evaluations"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Evaluations side by side: what each `evaluation.json` holds, by the name of its row."""

    evaluations: Mapping[str, Mapping[str, Any]]

    def table(self) -> str:
        """Returns a Markdown table with a row for each evaluation, real images last."""
        return comparison_table(self.evaluations)

    def plot(self) -> bytes:
        """Returns a PNG with a plot for each number."""
        first = next(iter(self.evaluations.values()))
        return plot_comparison(self.evaluations, first["dataset"] or "")


def compare(
    folders: Sequence[str | os.PathLike[str]],
    output_dir: str | os.PathLike[str] | None = None,
) -> Comparison:
    """Compares the evaluations in folders that hold an `evaluation.json`, or in these files.

    With `output_dir`, `evaluations.md`, `evaluations.png` and `evaluations.json` go there.

    Raises:
      UserError: a folder holds no evaluation, the evaluations are of several data sets, or the
        page cannot be written.
      ValueError: there is no folder.
    """
    if not folders:
        raise ValueError("there are no folders, expected at least one evaluated folder")
    contents: dict[str, dict[str, Any]] = {}
    for folder in (Path(folder).expanduser() for folder in folders):
        content = read_evaluation(folder)
        contents[_row_name(content, folder, contents)] = content
    datasets = sorted({content["dataset"] or "no data set" for content in contents.values()})
    if len(datasets) > 1:
        raise UserError(f"the evaluations are of {' and '.join(datasets)}: compare one at a time")
    versions = {(c["dataset_digest"], str(c["image_shape"])) for c in contents.values()}
    if len(versions) > 1:
        raise UserError(
            f"the evaluations are of {len(versions)} versions of {datasets[0]}, of other images, "
            "size or crop: compare one at a time"
        )
    comparison = Comparison(contents)
    if output_dir is not None:
        page = Path(output_dir).expanduser() / PAGE_NAME
        try:
            atomic_write_text(page.with_suffix(".md"), comparison.table())
            atomic_write_bytes(page.with_suffix(".png"), comparison.plot())
            atomic_write_json(page.with_suffix(".json"), contents)
        except OSError as error:
            raise UserError(f"cannot write into {output_dir}: {error.strerror}") from None
    return comparison


def _row_name(content: dict[str, Any], folder: Path, taken: dict[str, Any]) -> str:
    """The model, split or folder; with the folder's name, and a number, where that is taken."""
    source = content["source"]
    images = content["title"] if source.get("split") else folder.name.removesuffix(".evaluation")
    name = group_of(source) if source.get("model") else images
    candidates = [name, f"{name} ({folder.name})"]
    candidates += [f"{name} ({folder.name}, {number})" for number in range(2, len(taken) + 3)]
    return next(candidate for candidate in candidates if candidate not in taken)

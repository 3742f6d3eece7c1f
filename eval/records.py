"""What an evaluation found: records by metric, and the file that holds them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfdm.errors import UserError
from tfdm.eval.tables import evaluation_table
from tfdm.runs.atomic import atomic_write_json, atomic_write_text
from tfdm.runs.results import earlier_results, read_json

NAME = "evaluation.json"
# Records of an older format lack fields, or were drawn by other random streams: what they measured
# is measured again.
RECORD_FORMAT = 4

_IDENTITY = ("dataset", "dataset_digest", "num_samples", "seed", "source")
# Where images stand does not make them other images; their pixels are compared apart.
_NOT_COMPARED = ("run", "images", "available", "passed_over", "quantised")


class Record(dict[str, Any]):
    """What one metric found; its fields are keys and attributes.

    A metric that could not be measured has a `reason` and no numbers.
    """

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        why = self.get("reason") or f"its fields are {', '.join(self)}"
        raise AttributeError(f"the record has no {name!r}: {why}")


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What is known of samples, as in `evaluation.json`; `evaluation["ms_ssim"]` is a record.

    `metrics` are the records by metric, `NAME:CLASSIFIER` under a second classifier; `dataset` is
    what they were measured beside, `samples_digest` a SHA-256 (hex) of the pixels.
    """

    title: str
    source: Mapping[str, Any]
    num_samples: int
    seed: int
    image_shape: tuple[int, int, int]
    dataset: str | None
    dataset_digest: str | None
    classifiers: Mapping[str, Any]
    samples_digest: str
    metrics: Mapping[str, Record]
    versions: Mapping[str, str]
    git_revision: str | None

    def __getitem__(self, metric: str) -> Record:
        return self.metrics[metric]

    def __str__(self) -> str:
        return self.table()

    def table(self) -> str:
        """Returns a Markdown table of all numbers, with the protocol of each."""
        return evaluation_table(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Returns what `evaluation.json` holds."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}


def earlier_evaluation(folder: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Reads what stands in a folder, `{}` without it; damaged, or of others, is a `UserError`."""
    options = {"groups": ("metrics", "classifiers"), "ignore": _NOT_COMPARED}
    return earlier_results(folder / NAME, content, _IDENTITY, about="other samples", **options)


def check_same_pixels(folder: Path, earlier: Mapping[str, Any], digest: str) -> None:
    """Raises a `UserError` if the evaluation that stands in a folder is of other pixels."""
    if earlier and earlier.get("samples_digest") != digest:
        raise UserError(
            f"{folder / NAME} is about other samples (their pixels differ): move it away, or "
            "choose another --output_dir"
        )


def read_evaluation(folder: Path) -> dict[str, Any]:
    """Reads the `evaluation.json` of a folder; a missing or damaged one is a `UserError`."""
    path = folder if folder.is_file() else folder / NAME
    advice = "evaluate its samples again"
    if not path.exists():
        raise UserError(f"{folder} holds no {NAME}: evaluate it first")
    content = read_json(path, advice)
    fields = {field.name for field in dataclasses.fields(Evaluation)} - {"versions", "git_revision"}
    groups = [content.get(key) for key in ("source", "metrics")]
    if not (fields <= content.keys() and all(isinstance(group, dict) for group in groups)):
        raise UserError(f"{path} is damaged: {advice}")
    return content


def write_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """Writes `evaluation.json` and its table."""
    atomic_write_json(folder / NAME, evaluation.to_dict())
    atomic_write_text(folder / "evaluation.md", evaluation.table())

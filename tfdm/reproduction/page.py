"""What a reproduction shows: a section for each table and figure, ours beside the paper's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfdm.reproduction.artifacts import Artifact, Cell
from tfdm.reproduction.work import Training, Workspace

_OPEN = "open"
# The spread or error that stands beside a number.
_ERRORS = {
    "kl": "standard_error",
    "value": "standard_error",
    "diversity": "standard_error",
    "mean": "std",
}


def values_of(artifact: Artifact, workspace: Workspace) -> list[dict[str, Any]]:
    """Returns a record for each number: row, column, `ours`, its `error`, and the `paper`'s."""
    records = []
    for cell in artifact.cells:
        result = cell.work.result(workspace) or {}
        error = result.get(_ERRORS.get(cell.field, ""))
        record = {"row": cell.row, "column": cell.column, "ours": result.get(cell.field)}
        records.append({**record, "error": error, "paper": cell.paper})
    return records


def section(
    artifact: Artifact,
    workspace: Workspace,
    pictures: Sequence[str],
    problems: Mapping[str, str],
) -> str:
    """Returns the Markdown of one table or figure.

    Args:
      artifact: the table or figure.
      workspace: where its pieces stand.
      pictures: the files of its pictures.
      problems: why a piece of work could not be done, by its name.
    """
    name = artifact.name.replace("table", "Table ").replace("figure", "Figure ")
    lines = [f"## {name}: {artifact.title}", ""]
    if artifact.cells:
        lines += [*_table(artifact, values_of(artifact, workspace)), ""]
    for file in pictures:
        shown = file.removeprefix(f"{artifact.name}-").removesuffix(".png")
        lines += [f"![{name}, {shown}]({file})", ""]
    if artifact.note:
        lines += [artifact.note, ""]
    lines += [f"Command: `{command_of(artifact, workspace)}`.", ""]
    lines += _runs(artifact, workspace)
    missing = [work for work in artifact.works if work.result(workspace) is None]
    reasons = {work.name: problems.get(work.name, "not run") for work in missing}
    lines += [f"- open: {name}: {reason}" for name, reason in reasons.items()]
    return "\n".join(lines).rstrip() + "\n"


def page(sections: Iterable[str], scale: str, software: str) -> str:
    """Returns the page of all sections."""
    heading = f"# The paper's tables and figures at the scale `{scale}`"
    introduction = (
        "A number of the paper stands beside ours where the paper prints it. "
        f"`{_OPEN}` is a number that has not been computed here. Seed 0 throughout. {software}"
    )
    return "\n".join([heading, "", introduction, "", *sections])


def command_of(artifact: Artifact, workspace: Workspace) -> str:
    """Returns the command that makes an artifact."""
    return f"python scripts/reproduce.py --artifact={artifact.name} --scale={workspace.scale.name}"


def _table(artifact: Artifact, values: Sequence[Mapping[str, Any]]) -> list[str]:
    """A row for each row of the cells; a column of the paper's beside each that it prints."""
    rows = dict.fromkeys(cell.row for cell in artifact.cells)
    columns = dict.fromkeys(cell.column for cell in artifact.cells)
    printed = {cell.column for cell in artifact.cells if cell.paper is not None}
    by_place = {(value["row"], value["column"]): value for value in values}
    heads = [head for column in columns for head in (column, *["paper"] * (column in printed))]
    lines = [f"| {artifact.unit} | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for row in rows:
        cells = [row]
        for column in columns:
            value = by_place.get((row, column))
            cells.append("" if value is None else _shown(value))
            if column in printed:
                paper = None if value is None else value["paper"]
                cells.append("" if paper is None else f"{paper:g}")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _shown(value: Mapping[str, Any]) -> str:
    ours, error = value["ours"], value["error"]
    if ours is None:
        return _OPEN
    return f"{ours:.4g}" + ("" if not isinstance(error, int | float) else f" ± {error:.2g}")


def _runs(artifact: Artifact, workspace: Workspace) -> list[str]:
    """A line for each run with its steps and time."""
    lines = []
    for work in artifact.works:
        result = work.result(workspace) if isinstance(work, Training) else None
        if result is not None:
            minutes = (result["wall_seconds"] or 0.0) / 60.0
            lines.append(f"- {work.name}: {result['steps']:,} steps, {minutes:.0f} min")
    return lines


def cells_with_values(cells: Iterable[Cell], workspace: Workspace) -> int:
    """Returns how many numbers have been computed."""
    return sum((cell.work.result(workspace) or {}).get(cell.field) is not None for cell in cells)

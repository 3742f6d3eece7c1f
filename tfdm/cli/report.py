"""`tfdm-report`: makes a page of finished runs, with their pictures, curves and commands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tfdm.cli.command import how_to_call, run_command
from tfdm.cli.flags import Flag, FlagGroup, help_text, parse_flags, wants_help
from tfdm.errors import UserError

_FLAGS = FlagGroup(
    "Flags",
    (
        Flag("runs", "the run folders, with commas between them", value="DIR,..", required=True),
        Flag("output_dir", "where the report goes", value="DIR", required=True),
        Flag("title", "the heading of the page", default="Runs"),
    ),
)

_SUMMARY = (
    "Makes a page of finished runs: OUTPUT_DIR/README.md and, for every run, the last grids of "
    "samples and reconstructions, the curves of all losses as a picture and as JSON, and the "
    "command, seed, configuration and versions that made it."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return run_command(_report, arguments)


def _report(arguments: Sequence[str]) -> None:
    if wants_help(arguments):
        usage = f"{how_to_call('report')} --runs=DIR,.. --output_dir=DIR [--title=TEXT]"
        print(help_text(usage, _SUMMARY, [_FLAGS]), end="")
        return
    given = parse_flags([_FLAGS], arguments)
    paths = [path for path in given["runs"].split(",") if path]
    if not paths:
        raise UserError("--runs names no run folder: give one or more, with commas between them")
    from tfdm.experiments.pages import read_run, write_report
    from tfdm.runs import RunFolder

    runs = [read_run(RunFolder.open(path)) for path in paths]
    try:
        page = write_report(runs, Path(given["output_dir"]), given.get("title") or "Runs")
    except OSError as error:
        raise UserError(f"cannot write into {given['output_dir']}: {error.strerror}") from None
    print(page)

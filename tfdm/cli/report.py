"""`tfdm-report`: makes a page of finished runs, with their pictures, curves and commands."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from tfdm.cli.command import Command
from tfdm.cli.flags import FlagGroup, Given, flags_of
from tfdm.errors import UserError
from tfdm.fields import CheckedConfig, setting


@dataclasses.dataclass(frozen=True)
class _ReportConfig(CheckedConfig):
    runs: tuple[str, ...] = setting((), "the run folders", kind=str, placeholder="DIR")
    output_dir: str | None = setting(None, "where the page goes", kind=str, placeholder="DIR")
    title: str = setting("Runs", "the heading of the page")


def _report(given: Given) -> str:
    from tfdm.experiments.pages import read_run, write_report
    from tfdm.runs import RunFolder  # loads NumPy, which the help does without

    config = given.config(_ReportConfig)
    runs = [read_run(RunFolder.open(path)) for path in config.runs]
    try:
        return str(write_report(runs, Path(str(config.output_dir)), config.title))
    except OSError as error:
        raise UserError(f"cannot write into {config.output_dir}: {error.strerror}") from None


COMMAND = Command(
    name="report",
    usage="--runs=DIR,.. --output_dir=DIR [--title=TEXT]",
    summary=(
        "Makes a page of finished runs: OUTPUT_DIR/README.md and, for every run, the last grids of "
        "samples and reconstructions, the curves of all losses as a picture and as JSON, and the "
        "command, seed, configuration and versions that made it."
    ),
    groups=lambda: [FlagGroup("Flags", flags_of(_ReportConfig, required=("runs", "output_dir")))],
    run=_report,
)
main = COMMAND.main

"""`tfdm-report`: makes a page of finished runs, with their pictures, curves and commands."""

from __future__ import annotations

import dataclasses

from tfdm.cli.command import Command
from tfdm.cli.flags import FlagGroup, Given, flags_of
from tfdm.experiments.pages import ReportConfig, report
from tfdm.fields import CheckedConfig, setting


@dataclasses.dataclass(frozen=True)
class _Source(CheckedConfig):
    runs: tuple[str, ...] = setting((), "the run folders", kind=str, metavar="DIR")


def _report(given: Given) -> str:
    return str(report(given["runs"], given.config(ReportConfig)).path)


COMMAND = Command(
    name="report",
    usage="--runs=DIR,.. --output_dir=DIR [--title=TEXT]",
    summary=(
        "Makes a page of finished runs: OUTPUT_DIR/README.md and, for every run, the last grids of "
        "samples and reconstructions, the curves of all losses as a picture and as JSON, and the "
        "command, seed, configuration and versions that made it."
    ),
    groups=lambda: [
        FlagGroup(
            "Flags",
            flags_of(_Source, required=("runs",))
            + flags_of(ReportConfig, required=("output_dir",)),
        )
    ],
    run=_report,
)
main = COMMAND.main

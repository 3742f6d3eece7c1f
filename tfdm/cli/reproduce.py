"""`tfdm-reproduce`: makes the tables and figures of the paper, ours beside the paper's."""

from __future__ import annotations

from tfdm.cli.command import Command
from tfdm.cli.flags import FlagGroup, Given, flags_of, listed
from tfdm.quiet import quiet_tensorflow
from tfdm.reproduction.artifacts import ARTIFACTS
from tfdm.reproduction.config import ReproduceConfig


def _reproduce(given: Given) -> str:
    config = given.config(ReproduceConfig)
    with quiet_tensorflow():
        from tfdm.reproduction.reproduce import reproduce
    result = reproduce(config)
    return result.page if result.path is None else f"{result.path}"


COMMAND = Command(
    name="reproduce",
    usage="--artifact=table1|figure1|..|all [--scale=smoke|reduced|paper]",
    summary=(
        "Makes tables and figures of the paper: trains, estimates and evaluates what is missing, "
        "and writes OUTPUT_DIR/README.md with the paper's values beside ours. What stands is used "
        "again; the same command resumes one that was stopped. Rows whose data are missing stay "
        "empty."
    ),
    groups=lambda: [
        FlagGroup("Flags", flags_of(ReproduceConfig)),
        FlagGroup("Artifacts", note=listed({n: a.title for n, a in ARTIFACTS.items()})),
    ],
    run=_reproduce,
)
main = COMMAND.main

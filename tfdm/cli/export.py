"""`tfdm-export`: writes the trained networks of a run as SavedModels."""

from __future__ import annotations

from collections.abc import Sequence

from tfdm.cli.command import how_to_call, quiet_tensorflow, run_command
from tfdm.cli.flags import Flag, FlagGroup, help_text, parse_flags, wants_help
from tfdm.experiments.config import RunConfig

_FLAGS = FlagGroup(
    "Flags",
    (
        Flag("run", "the run folder", value="DIR", required=True),
        Flag(
            "format",
            "what to write",
            value="saved_model",
            default="saved_model",
            choices=("saved_model",),
        ),
    ),
)

_SUMMARY = (
    "Writes the networks of a trained run as SavedModels, from its newest good checkpoint: "
    "RUN/export/generator (z -> images in [0, 1]) and, where the model infers, "
    "RUN/export/encoder (images -> z). They load in TensorFlow alone, without this package."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return run_command(_export, arguments)


def _export(arguments: Sequence[str]) -> None:
    if wants_help(arguments):
        usage = f"{how_to_call('export')} --run=DIR [--format=saved_model]"
        print(help_text(usage, _SUMMARY, [_FLAGS]), end="")
        return
    given = parse_flags([_FLAGS], arguments)
    from tfdm.runs import RunFolder  # with NumPy, which the help can do without

    folder = RunFolder.open(given["run"])
    RunConfig.from_flat(folder.read_config())
    with folder.lock():
        with quiet_tensorflow():
            from tfdm.experiments.export import export_model
            from tfdm.experiments.load import load_run
        run = load_run(folder.path)
        written = export_model(run.model, folder.export)
    print(f"{run.config.model} after {run.step} steps:")
    for path in written:
        print(f"  {path}")

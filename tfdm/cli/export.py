"""`tfdm-export`: writes the trained networks of a run as SavedModels."""

from __future__ import annotations

import dataclasses
import logging

from tfdm.cli.command import Command
from tfdm.cli.flags import FlagGroup, Given, RunFlag, flags_of
from tfdm.fields import setting
from tfdm.quiet import quiet_tensorflow

_logger = logging.getLogger("tfdm")


@dataclasses.dataclass(frozen=True)
class _ExportConfig(RunFlag):
    format: str = setting("saved_model", "what to write", choices=("saved_model",))


def _export(given: Given) -> str:
    from tfdm.experiments.load import load_run, open_run  # loads NumPy, which the help does without

    folder, _, _ = open_run(given["run"])
    with folder.lock():
        with quiet_tensorflow():
            from tfdm.experiments.export import export_model
        run = load_run(folder.path)
        if folder.export.exists():
            _logger.info("replacing the SavedModels in %s", folder.export)
        written = export_model(run.model, folder.export)
    lines = [f"{run.config.model} after {run.step} steps:", *(f"  {path}" for path in written)]
    return "\n".join(lines)


COMMAND = Command(
    name="export",
    usage="--run=DIR [--format=saved_model]",
    summary=(
        "Writes the networks of a trained run as SavedModels, from its newest good checkpoint: "
        "RUN/export/generator (z -> images in [0, 1]) and, where the model has an encoder, "
        "RUN/export/encoder (images -> z). They load in TensorFlow alone, without this package."
    ),
    groups=lambda: [FlagGroup("Flags", flags_of(_ExportConfig, required=("run",)))],
    run=_export,
)
main = COMMAND.main

"""`tfdm-fit-prior`: a density fitted to q(z) of a trained run becomes its prior."""

from __future__ import annotations

import dataclasses

from tfdm.cli.command import Command
from tfdm.cli.flags import FlagGroup, Given, RunFlag, flags_of, member_groups
from tfdm.estimators.registry import ESTIMATORS
from tfdm.experiments.options import DENSITIES, FitPriorConfig
from tfdm.fields import folder, setting
from tfdm.quiet import quiet_tensorflow


@dataclasses.dataclass(frozen=True)
class _What(RunFlag):
    density: str = setting("gmm", "what is fitted to q(z)", choices=DENSITIES)
    output_dir: str | None = folder("where the new run goes")


def _fit_prior(given: Given) -> str:
    what, config = given.config(_What), given.config(FitPriorConfig)
    fields = given.members((what.density, *(config.estimators or ESTIMATORS)), "estimators")
    with quiet_tensorflow():
        from tfdm.experiments.fit_prior import RESULT_NAME, fit_prior
    given_dir = str(what.output_dir)
    result = fit_prior(
        str(what.run), what.density, output_dir=given_dir, config=config, fields=fields
    )
    samples = result.folder.last_grid("samples")
    return f"{result.table()}\n{samples}\n{result.folder.path / RESULT_NAME}"


COMMAND = Command(
    name="fit_prior",
    usage="--run=DIR --density=gmm|maf|lstm --output_dir=DIR",
    summary=(
        "Fits a density to the aggregate posterior q(z) of a trained run, and makes a run folder "
        "whose samples come from it: every command takes it, it trains no more. Writes samples, "
        "SavedModels, the estimates of KL[q(z) ‖ p(z)] for the density (kl.json), and those before "
        "and after side by side, with scores where metrics are named (fitted_prior.json and .md)."
    ),
    groups=lambda: [
        FlagGroup(
            "What to fit",
            flags_of(_What, required=("run", "output_dir")) + flags_of(FitPriorConfig),
        ),
        *member_groups("Densities and estimators", ESTIMATORS),
    ],
    run=_fit_prior,
)
main = COMMAND.main

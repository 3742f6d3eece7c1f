"""`tfdm-estimate-kl`: how far the aggregate posterior q(z) is from the prior p(z)."""

from __future__ import annotations

import dataclasses

from tfdm.cli.command import Command, quiet_tensorflow
from tfdm.cli.flags import FlagGroup, Given, flags_of, member_groups
from tfdm.errors import UserError
from tfdm.estimators.registry import ESTIMATORS
from tfdm.experiments.estimate_kl_config import EstimateKLConfig
from tfdm.fields import CheckedConfig, setting


@dataclasses.dataclass(frozen=True)
class _Source(CheckedConfig):
    run: str | None = setting(
        None, "the folder of a trained run whose model has an encoder", kind=str, placeholder="DIR"
    )
    posterior: str | None = setting(
        None,
        "instead of a run: arrays loc and scale [N, L] (and held_out_loc, held_out_scale), or codes",
        kind=str,
        placeholder="FILE.npz",
    )


def _groups() -> list[FlagGroup]:
    names = [field.name for field in dataclasses.fields(EstimateKLConfig)]
    folders = [name for name in names if name.endswith("_dir")]
    others = [name for name in names if name not in folders]
    return [
        FlagGroup("What to estimate", flags_of(_Source) + flags_of(EstimateKLConfig, *others)),
        *member_groups("Estimators", ESTIMATORS),
        FlagGroup("Folders", flags_of(EstimateKLConfig, *folders)),
    ]


def _estimate_kl(given: Given) -> str:
    source = given.config(_Source)
    if (source.run is None) == (source.posterior is None):
        raise UserError("give one of --run=DIR and --posterior=FILE.npz")
    output_dir = source.run or f"{source.posterior}.kl"
    config = given.config(EstimateKLConfig, output_dir=output_dir)
    fields = given.members(config.estimators, "estimators")
    if source.run is not None:
        from tfdm.runs import RunFolder  # loads NumPy, which the help does without

        RunFolder.open(source.run).read_config()
    with quiet_tensorflow():
        from tfdm.experiments.estimate_kl import estimate_kl
    estimates = estimate_kl(source.run or source.posterior, config, fields=fields)
    return f"{estimates.name}\n\n{estimates.table()}\n{config.output_dir}/kl.json"


COMMAND = Command(
    name="estimate_kl",
    usage="--run=DIR | --posterior=FILE.npz [--estimators=..]",
    summary=(
        "Estimates KL[q(z) ‖ p(z)] of a trained run, or of diagonal Gaussian posteriors of any "
        "model. Writes kl.json, a table (kl.md), a plot beside the bounds of eq. 5 (kl.png), and "
        "for a run samples from the prior in the order of log q(z)/p(z), decoded (kl_samples.png). "
        "Estimates of the same posteriors that stand there already are kept; one that was "
        "interrupted is resumed."
    ),
    groups=_groups,
    run=_estimate_kl,
)
main = COMMAND.main

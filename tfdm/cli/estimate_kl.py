"""`tfdm-estimate-kl`: how far the aggregate posterior q(z) is from the prior p(z)."""

from __future__ import annotations

import dataclasses

from tfdm.cli.command import Command
from tfdm.cli.flags import FlagGroup, Given, flags_of, member_groups
from tfdm.errors import UserError
from tfdm.estimators.registry import ESTIMATORS
from tfdm.experiments.options import EstimateKLConfig
from tfdm.fields import CheckedConfig, folder, setting
from tfdm.quiet import quiet_tensorflow


@dataclasses.dataclass(frozen=True)
class _Source(CheckedConfig):
    run: str | None = folder("the folder of a trained run whose model has an encoder")
    posterior: str | None = setting(
        None,
        "instead of a run: arrays loc and scale [N, L] (and held_out_loc, ..), or codes [N, L]",
        kind=str,
        metavar="FILE.npz",
    )


def _estimate(given: Given) -> str:
    run, posterior = given.get("run"), given.get("posterior")
    if (run is None) == (posterior is None):
        raise UserError("give one of --run=DIR and --posterior=FILE.npz")
    config = given.config(EstimateKLConfig, output_dir=run or f"{posterior}.kl")
    if config.log_likelihood_samples and run is None:
        raise UserError("--log_likelihood_samples needs --run: a file of posteriors has no p(x|z)")
    fields = given.members(config.estimators, "estimators")
    with quiet_tensorflow():
        from tfdm.experiments.estimate_kl import RESULT_NAME, estimate_kl, failure_of
    result = estimate_kl(run or posterior, config, fields=fields)
    shown = f"{result.name}\n\n{result.table()}\n{config.output_dir}/{RESULT_NAME}"
    failure = failure_of(result.estimates)
    if failure:
        print(shown)
        raise UserError(failure)
    return shown


COMMAND = Command(
    name="estimate_kl",
    usage="--run=DIR | --posterior=FILE.npz [--estimators=..]",
    summary=(
        "Estimates KL[q(z) ‖ p(z)] of a trained run, or of any diagonal Gaussian posteriors. "
        "Writes kl.json, a table (kl.md), a plot beside the bounds of eq. 5 (kl.png), and for a "
        "run decoded samples of the prior in the order of log q(z)/p(z) (kl_samples.png). Earlier "
        "estimates of the same posteriors are kept, and not made again; one that was interrupted "
        "is resumed."
    ),
    groups=lambda: [
        FlagGroup("What to estimate", flags_of(_Source) + flags_of(EstimateKLConfig)),
        *member_groups("Estimators", ESTIMATORS),
    ],
    run=_estimate,
)
main = COMMAND.main

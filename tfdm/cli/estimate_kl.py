"""`tfdm-estimate-kl`: how far the aggregate posterior q(z) is from the prior p(z)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfdm.cli.command import how_to_call, quiet_tensorflow, run_command
from tfdm.cli.flags import Flag, FlagGroup, field_flag, help_text, parse_flags, wants_help
from tfdm.errors import UserError, did_you_mean
from tfdm.estimators.registry import ESTIMATORS
from tfdm.experiments.config import RunConfig, run_fields
from tfdm.fields import parse_value, setting

_DEFAULT = "monte_carlo"
_RUN_FIELDS = {field.name: field for field in run_fields()}


@dataclasses.dataclass(frozen=True)
class _LogLikelihood:
    log_likelihood_samples: int = setting(
        0,
        "samples K of the importance-weighted log-likelihood of held-out images; 0 is off",
        minimum=0,
    )


_SAMPLES = dataclasses.fields(_LogLikelihood)[0]

_WHAT = FlagGroup(
    "What to estimate",
    (
        Flag("run", "the folder of a trained run whose model infers", value="DIR"),
        Flag(
            "posterior",
            "instead of a run: arrays loc and scale [N, L] (and held_out_loc, held_out_scale)",
            value="FILE.npz",
        ),
        Flag(
            "estimators",
            "what to estimate with, commas between them",
            value="NAME,..",
            default=_DEFAULT,
        ),
        Flag(
            "label",
            "goes behind the estimators' names, as monte_carlo:LABEL: keeps several settings apart",
        ),
        field_flag(_SAMPLES),
        dataclasses.replace(field_flag(_RUN_FIELDS["seed"]), help="seed of everything drawn"),
        field_flag(_RUN_FIELDS["strategy"]),
    ),
)
_FOLDERS = FlagGroup(
    "Folders",
    (
        Flag(
            "output_dir",
            "where kl.json, the table and the pictures go",
            value="DIR",
            default="the run, or FILE.kl",
        ),
        Flag("data_dir", "where the data set is read from", value="DIR"),
        Flag("cache_dir", "where prepared data sets are kept", value="DIR"),
    ),
)

_SUMMARY = (
    "Estimates KL[q(z) ‖ p(z)] of a trained run, or of anybody's diagonal Gaussian posteriors. "
    "Writes kl.json, a table (kl.md), a plot beside the bounds of eq. 5 (kl.png), and for a run "
    "samples from the prior in the order of log q(z)/p(z), decoded (kl_samples.png). Estimates of "
    "the same posteriors that are there already are kept; one that was stopped goes on."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return run_command(_estimate, arguments)


def _estimate(arguments: Sequence[str]) -> None:
    groups = [_WHAT, *_estimator_groups(), _FOLDERS]
    if wants_help(arguments):
        usage = f"{how_to_call('estimate_kl')} --run=DIR | --posterior=FILE.npz [--estimators=..]"
        print(help_text(usage, _SUMMARY, groups), end="")
        return
    request = read_request(parse_flags(groups, arguments))
    if request.run is not None:
        from tfdm.runs import RunFolder  # with NumPy, which the help can do without

        RunConfig.from_flat(RunFolder.open(request.run).read_config())
    with quiet_tensorflow():
        from tfdm.experiments.estimate_kl import estimate
    print(estimate(request), end="")


@dataclasses.dataclass(frozen=True)
class KLRequest:
    """A checked command line; the fields are the flags of the same names.

    Attributes:
      configs: the fields of each estimator that is asked for, by its name.
    """

    run: str | None
    posterior: str | None
    configs: Mapping[str, Any]
    label: str
    log_likelihood_samples: int
    seed: int
    strategy: str
    output_dir: Path
    data_dir: str | None
    cache_dir: str | None


def read_request(given: Mapping[str, str]) -> KLRequest:
    """Checks the flags.

    Raises:
      UserError: they do not describe an estimate; the line says what to change.
    """
    run, posterior = given.get("run"), given.get("posterior")
    if (run is None) == (posterior is None):
        raise UserError("give one of --run=DIR and --posterior=FILE.npz")
    names = list(dict.fromkeys(filter(None, given.get("estimators", _DEFAULT).split(","))))
    for name in names:
        if name not in ESTIMATORS:
            raise UserError(f"unknown estimator {name!r}: {did_you_mean(name, ESTIMATORS)}")
    for flag in given:
        owner = flag.partition(".")[0]
        if owner != flag and owner not in names:
            raise UserError(f"--{flag} has no effect: add {owner} to --estimators or drop it")
    configs = {}
    for name in names:
        fields = dataclasses.fields(ESTIMATORS[name].config)
        values = {
            field.name: _value(field, given[f"{name}.{field.name}"], f"{name}.{field.name}")
            for field in fields
            if f"{name}.{field.name}" in given
        }
        configs[name] = ESTIMATORS[name].config(**values)
    samples = _value(_SAMPLES, given.get("log_likelihood_samples", "0"), _SAMPLES.name)
    if samples and run is None:
        raise UserError("--log_likelihood_samples needs --run: a file of posteriors has no p(x|z)")
    label = given.get("label", "")
    if label and not label.replace("-", "").replace("_", "").isalnum():
        raise UserError(f"--label={label} has other characters than letters, digits, - and _")
    return KLRequest(
        run=run,
        posterior=posterior,
        configs=configs,
        label=label,
        log_likelihood_samples=samples,
        seed=_value(_RUN_FIELDS["seed"], given.get("seed", "0"), "seed"),
        strategy=_value(_RUN_FIELDS["strategy"], given.get("strategy", "auto"), "strategy"),
        output_dir=Path(given.get("output_dir") or run or f"{posterior}.kl").expanduser(),
        data_dir=given.get("data_dir"),
        cache_dir=given.get("cache_dir"),
    )


def _value(field: dataclasses.Field, text: str, flag: str) -> Any:
    try:
        return parse_value(field, text)
    except ValueError as error:
        raise UserError(f"--{flag}: {error}") from None


def _estimator_groups() -> list[FlagGroup]:
    listed = "\n".join(f"{e.name:16}{e.summary}" for e in ESTIMATORS.values())
    groups = [FlagGroup("Estimators", note=listed)]
    for estimator in ESTIMATORS.values():
        fields = dataclasses.fields(estimator.config)
        flags = tuple(field_flag(field, f"{estimator.name}.{field.name}") for field in fields)
        groups.append(FlagGroup(f"Fields of {estimator.name}", flags))
    return groups

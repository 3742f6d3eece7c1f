"""`tfdm-synthetic-gaussians`: density ratios between Gaussians of known divergence (section 5)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from tfdm.cli.command import how_to_call, quiet_tensorflow, run_command
from tfdm.cli.flags import Flag, FlagGroup, field_flag, help_text, parse_flags, wants_help
from tfdm.errors import UserError, did_you_mean
from tfdm.estimators.config import SyntheticConfig
from tfdm.fields import parse_value

_FIELDS = {field.name: field for field in dataclasses.fields(SyntheticConfig)}
_SETTINGS = ("estimation", "learning")

_FLAGS = FlagGroup(
    "Flags",
    (
        Flag("dims", "dimensions d, commas between them", value="INT,..", default="1,10,100"),
        Flag(
            "settings",
            "estimation: both Gaussians fixed; learning: one follows the other",
            value="NAME,..",
            default=",".join(_SETTINGS),
        ),
        *(field_flag(field) for field in _FIELDS.values()),
        Flag(
            "output_dir",
            "where results go; a folder with the same experiment goes on",
            value="DIR",
            default="runs/synthetic_gaussians",
        ),
    ),
)

_SUMMARY = (
    "Trains a classifier between two Gaussians N(b, WᵀW) with W of 10 d x d, and compares the "
    "divergence that its logits give with the true one, with both fixed and while one learns to be "
    "the other (section 5, Appendix E). Writes results.json and plots like Figures 2, 8, 9 and 10."
)


@dataclasses.dataclass(frozen=True)
class SyntheticRequest:
    """A checked command line.

    Attributes:
      dims: the dimensions, each once.
      settings: of `estimation` and `learning`.
      config: the experiment.
      output_dir: where everything goes.
    """

    dims: tuple[int, ...]
    settings: tuple[str, ...]
    config: SyntheticConfig
    output_dir: Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return run_command(_synthetic_gaussians, arguments)


def _synthetic_gaussians(arguments: Sequence[str]) -> None:
    if wants_help(arguments):
        usage = f"{how_to_call('synthetic_gaussians')} [--dims=1,10,100] [--steps=N] [..]"
        print(help_text(usage, _SUMMARY, [_FLAGS]), end="")
        return
    request = read_request(parse_flags([_FLAGS], arguments))
    with quiet_tensorflow():
        from tfdm.experiments.synthetic_gaussians import synthetic_gaussians

    fields = {**dataclasses.asdict(request.config), "dims": request.dims}
    done = synthetic_gaussians(
        fields, settings=request.settings, output_dir=str(request.output_dir)
    )
    print(f"{done.table}\n{done.path}")


def read_request(given: Mapping[str, str]) -> SyntheticRequest:
    """Checks the flags.

    Raises:
      UserError: they describe no experiment; the line says what to change.
    """
    values = {}
    for name in given.keys() & _FIELDS.keys():
        try:
            values[name] = parse_value(_FIELDS[name], given[name])
        except ValueError as error:
            raise UserError(f"--{name}: {error}") from None
    settings = tuple(dict.fromkeys(given.get("settings", ",".join(_SETTINGS)).split(",")))
    for setting in settings:
        if setting not in _SETTINGS:
            raise UserError(f"unknown setting {setting!r}: {did_you_mean(setting, _SETTINGS)}")
    dims = []
    for text in given.get("dims", "1,10,100").split(","):
        if not text.isdecimal() or not 1 <= int(text) <= 5000:
            raise UserError(f"--dims has {text!r}: give whole numbers from 1 to 5000")
        dims.append(int(text))
    return SyntheticRequest(
        dims=tuple(dict.fromkeys(dims)),
        settings=settings,
        config=SyntheticConfig(**values),
        output_dir=Path(given.get("output_dir", "runs/synthetic_gaussians")).expanduser(),
    )

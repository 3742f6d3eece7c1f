"""`tfdm-sweep`: trains and evaluates a model with many hyperparameters, on Ray Tune."""

from __future__ import annotations

import dataclasses

from tfdm.cli.command import Command
from tfdm.cli.flags import Flag, FlagGroup, Given, flags_of, member_groups
from tfdm.cli.train import PREFIX, flag_groups
from tfdm.errors import UserError
from tfdm.eval.metrics import METRICS
from tfdm.experiments.config import resolve_run_config
from tfdm.experiments.sweep_config import SweepConfig
from tfdm.fields import parse_value

_GRID = "grid."


def _groups() -> list[FlagGroup]:
    own = flags_of(SweepConfig)
    taken = {flag.name for flag in own} | {"seed"}
    groups = [FlagGroup("The sweep", own)]
    swept: dict[str, Flag] = {}
    for group in flag_groups():
        flags = tuple(flag for flag in group.flags if flag.name not in taken)
        groups.append(dataclasses.replace(group, flags=flags))
        for flag in group.flags:
            name = flag.name.removeprefix(PREFIX)
            if flag.name.startswith(PREFIX):
                swept.setdefault(name, Flag(_GRID + name, flag.field, in_help=False, is_text=True))
    note = "--grid.NAME=VALUE,VALUE sweeps a hyperparameter instead of the paper's grid"
    return [*groups, FlagGroup(note, tuple(swept.values())), *member_groups("Metrics", METRICS)]


def _sweep(given: Given) -> str:
    config = given.config(SweepConfig)
    own = {field.name for field in dataclasses.fields(SweepConfig)}
    grid = {n.removeprefix(_GRID): text for n, text in given.items() if n.startswith(_GRID)}
    metric_fields = {n: v for n, v in given.items() if n.partition(".")[0] in METRICS}
    fields = Given(metric_fields).members(config.metrics, "metrics")
    rest = {n: v for n, v in given.items() if n not in {*own, *metric_fields, "register"}}
    full = {n.removeprefix(PREFIX): v for n, v in rest.items() if n.startswith(PREFIX)}
    short = {n: v for n, v in rest.items() if not n.startswith((PREFIX, _GRID))}
    run = resolve_run_config(short, full)
    names = {field.name: field for field in dataclasses.fields(run.hyperparameters)}
    values = {}
    for name, text in grid.items():
        if name not in names:
            raise UserError(f"--{_GRID}{name}: {run.model} has no such hyperparameter")
        try:
            values[name] = [parse_value(names[name], part) for part in text.split(",")]
        except ValueError as error:
            raise UserError(f"--{_GRID}{name}: {error}") from None
    from tfdm.experiments.sweep import sweep

    result = sweep(
        run.model,
        run.dataset,
        config,
        grid=values or None,
        fields=fields,
        register=given.get("register", ()),
        **{
            name: value
            for name, value in (short | full).items()
            if name not in ("model", "dataset")
        },
    )
    return f"{result.table()}\n{result.path}/sweep.json"


COMMAND = Command(
    name="sweep",
    usage="--model=.. --dataset=.. [--grid.NAME=A,B ..] [--budget=N] [--metrics=..]",
    summary=(
        "Trains a model with many hyperparameters, by default those of the paper's sweep (Table "
        "5), evaluates each trial, and writes sweep.json, a table (sweep.md) and box plots "
        "(sweep.png) over all models in the folder. A trial is an ordinary run folder. The same "
        "command resumes a sweep that was stopped."
    ),
    groups=_groups,
    run=_sweep,
)
main = COMMAND.main

"""`tfdm-evaluate`: how good samples are, of a trained run or of any model."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from tfdm.cli.command import Command
from tfdm.cli.flags import FlagGroup, Given, flags_of, member_groups
from tfdm.errors import UserError
from tfdm.eval.metrics import METRICS
from tfdm.experiments.options import EvaluateConfig, default_output_dir
from tfdm.fields import CheckedConfig, setting
from tfdm.quiet import quiet_tensorflow
from tfdm.runs import RunFolder


@dataclasses.dataclass(frozen=True)
class _Source(CheckedConfig):
    run: str | None = setting(None, "the folder of a trained run", kind=str, metavar="DIR")
    images: str | None = setting(
        None,
        "instead of a run: a folder of images, an .npz or .npy of images [n, H, W, C] (uint8, or "
        "in [0, 1]), or a split of the data set, to calibrate on real images",
        kind=str,
        metavar="DIR_OR_NPZ|train|validation|test",
    )
    compare: tuple[str, ...] = setting(
        (),
        "instead of a run: evaluated folders, compared on a page in output_dir",
        kind=str,
        metavar="DIR",
    )


def _evaluate(given: Given) -> str:
    source = given.config(_Source)
    if sum(map(bool, (source.run, source.images, source.compare))) != 1:
        raise UserError("give one of --run=DIR, --images=WHAT and --compare=DIR,..")
    if source.compare:
        return _compare(given, source.compare)
    config = given.config(EvaluateConfig)
    fields = given.members(config.metrics or METRICS, "metrics")
    default = default_output_dir(config, run=source.run, images=source.images)
    output_dir = config.output_dir or str(default)
    config = dataclasses.replace(config, output_dir=output_dir)
    with quiet_tensorflow():
        from tfdm.experiments.evaluate import evaluate
    run = source.run and RunFolder.open(Path(source.run).expanduser()).path
    table = evaluate(run or str(source.images), config, fields=fields).table()
    return f"{table}\n{Path(output_dir) / 'evaluation.json'}"


def _compare(given: Given, folders: tuple[str, ...]) -> str:
    from tfdm.experiments.compare import compare  # loads NumPy, which the help does without

    others = sorted(given.keys() - {"compare", "output_dir", "register"})
    if others:
        raise UserError(f"--{others[0]} has no effect with --compare: drop it")
    if "output_dir" not in given:
        raise UserError("--output_dir is missing: name where the page of --compare goes")
    output_dir = given.get("output_dir")
    return f"{compare(folders, output_dir).table()}\n{output_dir}/evaluations.png"


COMMAND = Command(
    name="evaluate",
    usage="--run=DIR | --images=WHAT --dataset=NAME | --compare=DIR,..",
    summary=(
        "Measures samples: of a trained run, from a folder or file, or real images. Writes "
        "evaluation.json, a table (evaluation.md), and samples beside their nearest training "
        "images (evaluation_nearest.png). What was measured of the same samples already is not "
        "measured again. With --compare, makes a page of several evaluations with plots like "
        "Figures 4 and 5."
    ),
    groups=lambda: [
        FlagGroup("What to evaluate", flags_of(_Source) + flags_of(EvaluateConfig)),
        *member_groups("Metrics", METRICS),
    ],
    run=_evaluate,
)
main = COMMAND.main

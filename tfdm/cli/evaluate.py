"""`tfdm-evaluate`: how good samples are, of a trained run or of any images."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from tfdm.cli.command import Command, quiet_tensorflow
from tfdm.cli.flags import FlagGroup, Given, flags_of, member_groups
from tfdm.datasets.dataset import SPLITS
from tfdm.errors import UserError
from tfdm.eval.metrics import METRICS
from tfdm.experiments.compare import PAGE_NAME, compare
from tfdm.experiments.evaluate_config import EvaluateConfig, default_output_dir
from tfdm.fields import CheckedConfig, setting


@dataclasses.dataclass(frozen=True)
class _What(CheckedConfig):
    run: str | None = setting(None, "the folder of a trained run", kind=str, placeholder="DIR")
    images: str | None = setting(
        None,
        "instead of a run: a folder of images, an .npz or .npy of images [n, H, W, C] (uint8, or "
        "in [0, 1]), or a split of the data set, to calibrate on real images (./test is a folder "
        "of that name)",
        kind=str,
        placeholder="|".join(("DIR_OR_NPZ", *SPLITS)),
    )
    compare: tuple[str, ...] = setting(
        (),
        "instead of a run: evaluated folders; makes a page of them in output_dir",
        kind=str,
        placeholder="DIR",
    )


_SAMPLES = ("metrics", "num_samples", "noise", "seed")
_REAL = ("dataset", "reference", "image_size", "crop", "resize")
_CLASSIFIERS = ("classifier", "inception_path", "inception_digest", "allow_unverified")
_FOLDERS = ("output_dir", "data_dir", "cache_dir")


def _evaluate(given: Given) -> str:
    run, images, folders = (given.get(name) for name in ("run", "images", "compare"))
    if sum(map(bool, (run, images, folders))) != 1:
        raise UserError("give one of --run=DIR, --images=WHAT and --compare=DIR,..")
    if folders:
        return _compare(given, folders)
    config = given.config(EvaluateConfig)
    fields = given.members(config.metrics or tuple(METRICS), "metrics")
    folder = config.output_dir or str(default_output_dir(config, run=run, images=images))
    with quiet_tensorflow():
        from tfdm.experiments.evaluate import evaluate
        from tfdm.experiments.load import load_run
    samples = images
    if run is not None:
        samples = load_run(run, data_dir=config.data_dir, cache_dir=config.cache_dir)
    evaluation = evaluate(samples, config, fields=fields, output_dir=folder)
    return f"{evaluation.table()}\n{Path(folder) / 'evaluation.json'}"


def _compare(given: Given, folders: tuple[str, ...]) -> str:
    for name in sorted(given.values.keys() - {"compare", "output_dir"}):
        raise UserError(f"--{name} has no effect with --compare: drop it")
    if "output_dir" not in given:
        raise UserError("--output_dir is missing: name where the page of --compare goes")
    comparison = compare(folders, given.get("output_dir"))
    return f"{comparison.table()}\n{Path(given.get('output_dir')) / PAGE_NAME}.png"


COMMAND = Command(
    name="evaluate",
    usage="--run=DIR | --images=WHAT [--dataset=NAME] [--reference=WHAT] | --compare=DIR,..",
    summary=(
        "Measures samples: of a trained run, from a folder or file, or real images. Writes "
        "evaluation.json, a table (evaluation.md), and samples beside their nearest training "
        "images (evaluation_nearest.png). What was measured of the same samples already is not "
        "measured again. With --compare, makes a page of several evaluations with plots like "
        "Figures 4 and 5."
    ),
    groups=lambda: [
        FlagGroup("What to evaluate", flags_of(_What) + flags_of(EvaluateConfig, *_SAMPLES)),
        FlagGroup("Real images", flags_of(EvaluateConfig, *_REAL)),
        FlagGroup("Classifiers", flags_of(EvaluateConfig, *_CLASSIFIERS)),
        *member_groups("Metrics", METRICS),
        FlagGroup("Folders", flags_of(EvaluateConfig, *_FOLDERS)),
    ],
    run=_evaluate,
)
main = COMMAND.main

"""`tfdm-evaluate`: how good samples are, of a trained run or of anybody's model."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfdm.cli.command import how_to_call, quiet_tensorflow, run_command
from tfdm.cli.flags import Flag, FlagGroup, field_flag, help_text, parse_flags, wants_help
from tfdm.datasets.dataset import SPLITS
from tfdm.datasets.registry import DATASETS, find_dataset
from tfdm.errors import UserError, did_you_mean
from tfdm.eval.metrics import METRICS
from tfdm.experiments.config import RunConfig, run_fields
from tfdm.fields import parse_value, setting

NUM_SAMPLES = 50_000
_RUN_FIELDS = {field.name: field for field in run_fields()}


@dataclasses.dataclass(frozen=True)
class _Numbers:
    num_samples: int = setting(
        NUM_SAMPLES,
        "how many samples; of files and splits the first, in the order of their names or of the "
        "array, and all where it is not given",
        minimum=2,
    )
    noise: float = setting(
        0.0, "standard deviation of noise added to pixels in [0, 1] (Figure 5: 0.1)", minimum=0.0
    )


_NUMBERS = {field.name: field for field in dataclasses.fields(_Numbers)}

_WHAT = FlagGroup(
    "What to evaluate",
    (
        Flag("run", "the folder of a trained run", value="DIR"),
        Flag(
            "images",
            "instead of a run: a folder of PNG or JPEG images, an .npz or .npy of images [n, H, W, "
            "C] (uint8, or in [0, 1]), or a split of the data set, to calibrate on real images "
            "(./test is a folder of that name)",
            value="DIR_OR_NPZ|train|validation|test",
        ),
        Flag(
            "compare",
            "instead of a run: evaluated folders, commas between them; makes a page in output_dir",
            value="DIR,..",
        ),
        Flag("metrics", "what to measure, commas between them", value="NAME,..", default="all"),
        *(field_flag(field) for field in _NUMBERS.values()),
        dataclasses.replace(field_flag(_RUN_FIELDS["seed"]), help="seed of everything drawn"),
    ),
)
_REAL = FlagGroup(
    "Real images and classifiers",
    (
        Flag(
            "dataset",
            "what --images are compared with; a run has its own",
            value="|".join(DATASETS),
        ),
        Flag(
            "reference",
            "the split behind distances, precision and recall",
            value="|".join(SPLITS),
            default="train",
            choices=SPLITS,
        ),
        field_flag(_RUN_FIELDS["image_size"]),
        field_flag(_RUN_FIELDS["crop"]),
        Flag(
            "classifier",
            "a folder of tfdm-train-classifier, instead of the classifier of the package",
            value="DIR",
        ),
        Flag(
            "inception_path",
            "SavedModel of the ImageNet Inception network, beside the data set's own classifier",
            value="DIR",
        ),
        Flag("inception_digest", "SHA-256 that the SavedModel must have", value="HEX"),
        Flag(
            "allow_unverified",
            "load a SavedModel whose digest nobody vouches for; it can run any code",
            switch=True,
        ),
    ),
)
_FOLDERS = FlagGroup(
    "Folders",
    (
        Flag(
            "output_dir",
            "where evaluation.json, the table and the pictures go",
            value="DIR",
            default="the run, IMAGES.evaluation, or runs/DATASET-SPLIT",
        ),
        Flag("data_dir", "where the data set is read from", value="DIR"),
        Flag("cache_dir", "where prepared data sets and their features are kept", value="DIR"),
    ),
)

_SUMMARY = (
    "Measures samples: of a trained run, from a folder or file, or real images. Writes "
    "evaluation.json, a table (evaluation.md), and samples beside their nearest training images "
    "(evaluation_nearest.png). What was measured of the same samples already is not measured "
    "again. "
    "With --compare, makes a page of several evaluations with plots like Figures 4 and 5."
)


@dataclasses.dataclass(frozen=True)
class EvaluationRequest:
    """A checked command line; the fields are the flags of the same names.

    Attributes:
      configs: the fields of each measure, by its name.
      asked: whether the measures were named by the user; those that cannot be had are then an
        error.
    """

    run: str | None
    images: str | None
    configs: Mapping[str, Any]
    asked: bool
    num_samples: int | None
    noise: float
    seed: int
    dataset: str
    reference: str
    image_size: int
    crop: int
    classifier: str | None
    inception_path: str | None
    inception_digest: str | None
    allow_unverified: bool
    output_dir: Path
    data_dir: str | None
    cache_dir: str | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return run_command(_evaluate, arguments)


def _evaluate(arguments: Sequence[str]) -> None:
    groups = [_WHAT, _REAL, *_metric_groups(), _FOLDERS]
    if wants_help(arguments):
        usage = f"{how_to_call('evaluate')} --run=DIR | --images=WHAT --dataset=NAME | --compare=.."
        print(help_text(usage, _SUMMARY, groups), end="")
        return
    given = parse_flags(groups, arguments)
    if "compare" in given:
        from tfdm.experiments.evaluation_page import write_page

        print(write_page(*_read_comparison(given)), end="")
        return
    request = read_request(given)
    with quiet_tensorflow():
        from tfdm.experiments.evaluate import evaluate
    print(evaluate(request), end="")


def read_request(given: Mapping[str, str]) -> EvaluationRequest:
    """Checks the flags of one evaluation.

    Raises:
      UserError: they do not describe an evaluation; the line says what to change.
    """
    run, images = (_expanded(given.get(name)) for name in ("run", "images"))
    if (run is None) == (images is None):
        raise UserError("give one of --run=DIR, --images=WHAT and --compare=DIR,..")
    values = {
        field.name: _value(field, given[field.name])
        for field in (*_NUMBERS.values(), *(_RUN_FIELDS[n] for n in ("seed", "image_size", "crop")))
        if field.name in given
    }
    if run is not None:
        for flag in ("dataset", "image_size", "crop"):
            if flag in given:
                raise UserError(f"--{flag} goes with --images: a run has its own; drop it")
        dataset = _run_dataset(run)
    elif "dataset" in given:
        dataset = find_dataset(given["dataset"]).name
    else:
        raise UserError("--dataset is missing: name what the images are compared with")
    noise, configs = values.get("noise", 0.0), _configs(given)
    if not any(METRICS[name].needs_classifier for name in configs):
        for flag in ("classifier", "inception_path", "inception_digest", "allow_unverified"):
            if flag in given:
                raise UserError(f"--{flag} has no effect: no measure here needs a classifier")
    if "inception_path" not in given:
        for flag in ("inception_digest", "allow_unverified"):
            if flag in given:
                raise UserError(f"--{flag} has no effect without --inception_path: drop it")
    if "reference" in given and not any(METRICS[name].needs_features for name in configs):
        raise UserError("--reference has no effect: no measure here compares features; drop it")
    return EvaluationRequest(
        run=run,
        images=images,
        configs=configs,
        asked="metrics" in given,
        num_samples=values.get("num_samples", NUM_SAMPLES if run else None),
        noise=noise,
        seed=values.get("seed", 0),
        dataset=dataset,
        reference=given.get("reference", "train"),
        image_size=values.get("image_size", 0),
        crop=values.get("crop", 0),
        classifier=_expanded(given.get("classifier")),
        inception_path=_expanded(given.get("inception_path")),
        inception_digest=given.get("inception_digest"),
        allow_unverified="allow_unverified" in given,
        output_dir=_output_dir(given.get("output_dir"), run, images, dataset, noise),
        data_dir=given.get("data_dir"),
        cache_dir=given.get("cache_dir"),
    )


def _configs(given: Mapping[str, str]) -> dict[str, Any]:
    names = list(dict.fromkeys(filter(None, given.get("metrics", ",".join(METRICS)).split(","))))
    if not names:
        raise UserError(f"--metrics names nothing: choose of {', '.join(METRICS)}")
    for name in names:
        if name not in METRICS:
            raise UserError(f"unknown metric {name!r}: {did_you_mean(name, METRICS)}")
    for flag in given:
        owner = flag.partition(".")[0]
        if owner != flag and owner not in names:
            raise UserError(f"--{flag} has no effect: add {owner} to --metrics or drop it")
    configs = {}
    for name in names:
        fields = {f"{name}.{f.name}": f for f in dataclasses.fields(METRICS[name].config)}
        values = {
            field.name: _value(field, given[flag], flag)
            for flag, field in fields.items()
            if flag in given
        }
        configs[name] = METRICS[name].config(**values)
    return configs


def _run_dataset(run: str) -> str:
    from tfdm.runs import RunFolder  # with NumPy, which the help can do without

    return RunConfig.from_flat(RunFolder.open(run).read_config()).dataset


def _output_dir(
    given: str | None, run: str | None, images: str | None, dataset: str, noise: float
) -> Path:
    if given:
        return _outside(Path(given).expanduser(), images)
    ending = f"-noise{noise:g}" if noise else ""
    if images in SPLITS:
        return Path("runs") / f"{dataset}-{images}{ending}"
    if run and not noise:
        return Path(run)
    return _outside(Path(f"{(run or images or '').rstrip('/')}{ending}.evaluation"), images)


def _outside(folder: Path, images: str | None) -> Path:
    """Returns a folder whose pictures will not be taken for samples next time."""
    if images and images not in SPLITS and folder.resolve().is_relative_to(Path(images).resolve()):
        raise UserError(f"{folder} lies among the images: name an --output_dir outside {images}")
    return folder


def _expanded(path: str | None) -> str | None:
    return None if path is None else os.path.expanduser(path)


def _read_comparison(given: Mapping[str, str]) -> tuple[list[Path], Path]:
    others = sorted(given.keys() - {"compare", "output_dir"})
    if others:
        raise UserError(f"--{others[0]} has no effect with --compare: drop it")
    if "output_dir" not in given:
        raise UserError("--output_dir is missing: name where the page of --compare goes")
    folders = [Path(path).expanduser() for path in given["compare"].split(",") if path]
    if not folders:
        raise UserError("--compare names no folder: give evaluated folders, commas between them")
    return folders, Path(given["output_dir"]).expanduser()


def _value(field: dataclasses.Field, text: str, flag: str | None = None) -> Any:
    try:
        return parse_value(field, text)
    except ValueError as error:
        raise UserError(f"--{flag or field.name}: {error}") from None


def _metric_groups() -> list[FlagGroup]:
    listed = "\n".join(f"{metric.name:20}{metric.summary}" for metric in METRICS.values())
    groups = [FlagGroup("Metrics", note=listed)]
    for metric in METRICS.values():
        fields = dataclasses.fields(metric.config)
        flags = tuple(field_flag(field, f"{metric.name}.{field.name}") for field in fields)
        if flags:
            groups.append(FlagGroup(f"Fields of {metric.name}", flags))
    return groups

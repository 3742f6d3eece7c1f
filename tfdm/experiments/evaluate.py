"""How good samples are: everything that is measured of them, as one function."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfdm.datasets.cache import default_cache_dir
from tfdm.datasets.dataset import ImageDataset
from tfdm.errors import DivergedError, UserError
from tfdm.eval.config import MetricConfig
from tfdm.eval.features import SamplePass, pass_over, real_features
from tfdm.eval.inputs import Inputs, RealFeatures
from tfdm.eval.metrics import METRICS, Metric, find_metric
from tfdm.eval.nearest import nearest_neighbours
from tfdm.eval.records import (
    RECORD_FORMAT,
    Evaluation,
    Record,
    check_same_pixels,
    earlier_evaluation,
    write_evaluation,
)
from tfdm.experiments import evaluation_inputs
from tfdm.experiments.evaluate_config import EvaluateConfig
from tfdm.experiments.evaluation_inputs import Data, EvaluationInputs, Reference, Samples
from tfdm.pictures import image_grid, png_bytes
from tfdm.progress import progress_bar
from tfdm.runs.atomic import atomic_write_bytes, json_ready
from tfdm.runs.provenance import command, git_revision, versions
from tfdm.runs.results import locked

Fields = Mapping[str, MetricConfig | Mapping[str, Any]]

_SHEET_ROWS, _NEIGHBOURS = 12, 7


@dataclasses.dataclass(frozen=True)
class _Plan:
    """One metric under one classifier.

    Attributes:
      key: its name in `evaluation.json`; `:NAME` of a second classifier stands behind it.
      metric: the metric.
      config: its fields.
      classifier: the classifier's name, `None` for a metric of images or without one.
      identity: what a record must hold to be of the same measurement.
      missing: why it cannot be measured, `None` where it can.
    """

    key: str
    metric: Metric
    config: MetricConfig
    classifier: str | None
    identity: dict[str, Any]
    missing: str | None

    def is_taken(self, record: Mapping[str, Any]) -> bool:
        """Says whether the record of an earlier call is of this very measurement."""
        return "reason" not in record and all(
            record.get(field) == value for field, value in self.identity.items()
        )


def evaluate(
    samples: Samples,
    config: EvaluateConfig | None = None,
    *,
    dataset: Data | None = None,
    reference: Reference | None = None,
    fields: Fields | None = None,
    progress: bool = True,
    **options: Any,
) -> Evaluation:
    """Measures samples: of a trained run, of an array, from a folder or file, or real images.

    Args:
      samples: images [n, H, W, C], uint8 or floating in [0, 1]; a folder of images or an .npz or
        .npy file; what `tfdm.load_run` returned, or a run folder; or the name of a split of
        `dataset`.
      config: the options, see `EvaluateConfig`.
      dataset: the data set beside the samples: a name, uint8 images [n, H, W, C] or an
        `ImageDataset`; a run has its own.
      reference: the real images behind distances, precision and recall: a split (by default
        "train"), a folder, a file or an array. With it no data set is needed: two sets of images
        are compared with each other.
      fields: fields of metrics by the metric's name, each a mapping or its configuration.
      progress: whether bars are shown.
      **options: fields that replace those of `config`.

    Returns:
      The records, those that stood in `output_dir` before among them; what was measured of the
      same samples is not measured again. A metric that cannot be had or does not fit the samples
      has a `reason` instead of numbers.

    Raises:
      UserError: samples, real images or a classifier cannot be had, a metric that was named in
        `metrics` cannot be measured, or `output_dir` cannot be written.
      DivergedError: the critic that was named in `metrics` diverged.
      ValueError: an option or an array is not admissible.
    """
    named = {"dataset": dataset, "reference": reference}
    named = {name: value for name, value in named.items() if isinstance(value, str)}
    config = EvaluateConfig.of(config, **{**named, **options})
    configs = _configs(config, fields or {})
    metrics = [METRICS[name] for name in configs]
    inputs = evaluation_inputs.open_inputs(samples, config, dataset, reference, metrics)
    plans = _plans(config, configs, inputs)
    for plan in plans:
        if config.metrics and plan.missing:
            raise UserError(f"{plan.key} {plan.missing}")
    content = _content(config, inputs)
    if config.output_dir is None:
        return _measured(config, inputs, plans, content, None, progress)
    folder = _outside(Path(config.output_dir).expanduser(), inputs)
    with locked(folder, ".evaluation.lock"):
        return _measured(config, inputs, plans, content, folder, progress)


def _configs(config: EvaluateConfig, fields: Fields) -> dict[str, MetricConfig]:
    """The fields of every metric that is asked for."""
    names = dict.fromkeys(config.metrics or METRICS)
    for name in fields:
        if find_metric(name).name not in names:
            raise ValueError(f"fields of {name} have no effect: add it to metrics or drop them")
    return {name: METRICS[name].config.of(fields.get(name)) for name in names}


def _content(config: EvaluateConfig, inputs: EvaluationInputs) -> dict[str, Any]:
    """Returns the top level of `evaluation.json` without what the samples' pixels tell."""
    source, dataset = inputs.source, inputs.dataset
    return json_ready(
        {
            "title": source.name,
            "source": source.record,
            "num_samples": source.num_images,
            "seed": config.seed,
            "image_shape": source.image_shape,
            "dataset": None if dataset is None else dataset.name,
            "dataset_digest": None if dataset is None else dataset.digest,
            "classifiers": {
                name: {
                    "digest": classifier.digest,
                    "temperature": getattr(classifier, "temperature", None),
                    "feature_scale": getattr(classifier, "feature_scale", 1.0),
                    "resizer": getattr(classifier, "resizer", "none"),
                    "verified": getattr(classifier, "verified", True),
                }
                for name, classifier in inputs.classifiers.items()
            },
            "versions": versions(),
            "git_revision": git_revision(),
        }
    )


def _plans(
    config: EvaluateConfig, configs: Mapping[str, MetricConfig], inputs: EvaluationInputs
) -> list[_Plan]:
    """Lists metrics of images once, those of logits and features under every classifier."""
    plans = []
    for name, fields in configs.items():
        metric = METRICS[name]
        owners = list(inputs.classifiers) if metric.needs_classifier else []
        for index, owner in enumerate(owners or [None]):
            identity: dict[str, Any] = {
                "config": fields.to_dict(),
                "seed": config.seed,
                "format": RECORD_FORMAT,
            }
            if owner is not None:
                classifier = inputs.classifiers[owner]
                identity |= {"classifier": owner, "classifier_digest": classifier.digest}
                # What a card or a scaling of images adds to the weights.
                scale = "feature_scale" if metric.needs_features else "temperature"
                added = {scale: getattr(classifier, scale, None), "resizer": inputs.resizer(owner)}
                identity |= {name: value for name, value in added.items() if value is not None}
            if metric.needs_reference and inputs.reference is not None:
                identity["reference_digest"] = inputs.reference.digest
            key = name if index == 0 else f"{name}:{owner}"
            missing = inputs.missing(metric, owner)
            plans.append(_Plan(key, metric, fields, owner, json_ready(identity), missing))
    return plans


def _measured(
    config: EvaluateConfig,
    inputs: EvaluationInputs,
    plans: list[_Plan],
    content: dict[str, Any],
    folder: Path | None,
    progress: bool,
) -> Evaluation:
    """Takes the metrics that are not in the folder yet, and writes after each."""
    earlier = {} if folder is None else earlier_evaluation(folder, content)
    metrics = {name: Record(record) for name, record in earlier.get("metrics", {}).items()}
    content["classifiers"] = {**earlier.get("classifiers", {}), **content["classifiers"]}
    wanted = [p for p in plans if not p.missing and not p.is_taken(metrics.get(p.key, {}))]
    seen, real = _look(config, inputs, wanted, progress)

    def found() -> Evaluation:
        shape = tuple(content["image_shape"])
        known = {**content, "image_shape": shape, "samples_digest": seen.digest}
        return Evaluation(**known, metrics=metrics)

    if folder is not None:
        check_same_pixels(folder, earlier, seen.digest)
    for plan in wanted:
        metrics[plan.key] = _measure(config, inputs, seen, real, plan, folder, progress)
        if folder is not None:
            write_evaluation(folder, found())
    for plan in plans:
        if plan.missing and "reason" in metrics.get(plan.key, {"reason": ""}):
            metrics[plan.key] = Record(reason=plan.missing)
    if folder is not None:
        if inputs.dataset is not None:
            sheet = _nearest_sheet(inputs.dataset, seen)
            atomic_write_bytes(folder / "evaluation_nearest.png", sheet)
        write_evaluation(folder, found())
        shutil.rmtree(folder / ".critic", ignore_errors=True)
    return found()


def _look(
    config: EvaluateConfig, inputs: EvaluationInputs, plans: list[_Plan], progress: bool
) -> tuple[SamplePass, dict[str, RealFeatures]]:
    """Passes over the samples, with those classifiers that a metric needs, and real images."""
    cache = Path(config.cache_dir).expanduser() if config.cache_dir else default_cache_dir()
    compared = {plan.classifier for plan in plans if plan.metric.needs_reference}
    with_features = {plan.classifier for plan in plans if plan.metric.needs_features}
    needed = {plan.classifier for plan in plans}
    used = {name: c for name, c in inputs.classifiers.items() if name in needed}
    number = max([_SHEET_ROWS, *(plan.config.images_needed for plan in plans)])
    real, reference = {}, inputs.reference
    try:
        for name, classifier in used.items():
            if name in compared and reference is not None:
                with progress_bar(f"real images, {name}", "image", progress) as show:
                    real[name] = real_features(
                        reference.source, reference.digest, classifier, cache, config.seed, show
                    )
        with progress_bar("samples", "image", progress) as show:
            pairs = {name: (c, name in with_features) for name, c in used.items()}
            return pass_over(inputs.source, number, pairs, config.seed, show), real
    except ValueError as error:
        raise UserError(f"{inputs.source.name}: {error}") from error


def _measure(
    config: EvaluateConfig,
    inputs: EvaluationInputs,
    seen: SamplePass,
    real: Mapping[str, RealFeatures],
    plan: _Plan,
    folder: Path | None,
    progress: bool,
) -> Record:
    """Takes one metric; returns its record, or the reason why it does not fit the samples."""
    start = time.perf_counter()
    with contextlib.ExitStack() as bars:
        metric_inputs = Inputs(
            images=seen.images,
            seed=config.seed,
            classified=seen.classified.get(plan.classifier or ""),
            real=real.get(plan.classifier or ""),
            critic_images=lambda: evaluation_inputs.critic_images(inputs),
            state=None if folder is None else folder / ".critic",
            open_progress=lambda: bars.enter_context(progress_bar(plan.key, "step", progress)),
        )
        try:
            record = plan.metric.measure(metric_inputs, plan.config)
        except DivergedError as error:
            if config.metrics:
                raise
            record = {"reason": str(error)}
        except ValueError as error:
            if config.metrics:
                raise UserError(f"{plan.key}: {error}; see its fields") from error
            record = {"reason": str(error)}
    if plan.metric.needs_reference and inputs.reference is not None:
        record["reference"] = inputs.reference.name
    record |= {"wall_seconds": round(time.perf_counter() - start, 1), "command": command()}
    return Record({**json_ready(record), **plan.identity})


def _outside(folder: Path, inputs: EvaluationInputs) -> Path:
    """Returns a folder whose pictures will not be taken for samples next time."""
    images = inputs.source.record.get("images")
    if images is not None and folder.resolve().is_relative_to(Path(images).resolve()):
        raise UserError(f"{folder} lies among the images: name an --output_dir outside {images}")
    return folder


def _nearest_sheet(dataset: ImageDataset, seen: SamplePass) -> bytes:
    """Returns a PNG: in each row a sample and its nearest training images."""
    samples = seen.images[:_SHEET_ROWS]
    train = dataset.split("train")
    number = min(_NEIGHBOURS, len(train))
    pixels = train.reshape(len(train), -1)
    nearest = nearest_neighbours(samples.reshape(len(samples), -1), pixels, number)
    rows = np.concatenate([samples[:, None], train[nearest]], axis=1)
    return png_bytes(image_grid(rows.reshape(-1, *samples.shape[1:]), 1 + number))

"""How good samples are: everything that is measured of them, as one function."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfdm.datasets.cache import default_cache_dir
from tfdm.datasets.dataset import ImageDataset
from tfdm.datasets.load import Data
from tfdm.errors import DivergedError, UserError
from tfdm.eval import records
from tfdm.eval.config import MetricConfig
from tfdm.eval.features import SamplePass, pass_over, real_features
from tfdm.eval.improved_precision_recall import nearest_neighbours
from tfdm.eval.inputs import Inputs, RealFeatures
from tfdm.eval.metrics import METRICS, Metric, find_metric
from tfdm.eval.records import Evaluation, Record
from tfdm.experiments.evaluation_inputs import EvaluationInputs, Reference, Samples, open_inputs
from tfdm.experiments.options import EvaluateConfig
from tfdm.pictures import grid_png
from tfdm.progress import progress_bar
from tfdm.runs.atomic import atomic_write_bytes, json_ready
from tfdm.runs.provenance import command, software
from tfdm.runs.results import locked

_logger = logging.getLogger("tfdm")

Fields = Mapping[str, MetricConfig | Mapping[str, Any]]

_SHEET_ROWS, _NEIGHBOURS = 12, 7


@dataclasses.dataclass(frozen=True)
class _Plan:
    """One metric under one classifier."""

    key: str  # in `evaluation.json`
    metric: Metric
    config: MetricConfig
    classifier: str | None
    identity: dict[str, Any]  # what a record of the same measurement holds
    missing: str | None  # why it cannot be measured, if it cannot

    def is_taken(self, record: Mapping[str, Any]) -> bool:
        return "reason" not in record and self.identity.items() <= record.items()


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
        .npy file; what `tfdm.load_run` returned or its folder; or the name of a split.
      config: the options, see `EvaluateConfig`.
      dataset: the data set beside the samples: a name, uint8 images [n, H, W, C] or an
        `ImageDataset`; a run has its own.
      reference: the real images behind distances, precision and recall: a split (by default
        "train"), a folder, a file or an array; with it no data set is needed.
      fields: fields of metrics by the metric's name, each a mapping or its configuration.
      progress: whether bars are shown.
      **options: fields that replace those of `config`.

    Returns:
      The records, with those in `output_dir`, which are not measured again. A metric that cannot
      be had or does not fit the samples has a `reason` instead of numbers.

    Raises:
      UserError: samples, real images or a classifier cannot be had, an option has no effect, a
        metric that was named cannot be measured, or `output_dir` cannot be written.
      DivergedError: the critic that was named in `metrics` diverged.
      ValueError: an option or an array is not admissible.
    """
    for name, value in (("dataset", dataset), ("reference", reference)):
        if isinstance(value, str):
            options[name] = value
    config = EvaluateConfig.of(config, **options)
    configs = _configs(config, fields or {})
    inputs = open_inputs(
        samples,
        config,
        config.dataset if dataset is None else dataset,
        config.reference if reference is None else reference,
        [METRICS[name] for name in configs],
    )
    folder = _outside(config.output_dir, inputs.source.record)
    session = _Session(config, inputs, folder, progress)
    plans = session.plans(configs)
    for plan in plans:
        if config.metrics and plan.missing:
            raise UserError(f"{plan.key} {plan.missing}")
    with contextlib.nullcontext() if folder is None else locked(folder, ".evaluation.lock"):
        return session.run(plans)


def _configs(config: EvaluateConfig, fields: Fields) -> dict[str, MetricConfig]:
    """The fields of every metric that is asked for."""
    names = dict.fromkeys(config.metrics or METRICS)
    for name in fields:
        if find_metric(name).name not in names:
            raise ValueError(f"fields of {name} have no effect: add it to metrics or drop them")
    return {name: METRICS[name].config.of(fields.get(name)) for name in names}


@dataclasses.dataclass(frozen=True)
class _Session:
    """One call: it takes the metrics that are not in the folder yet, and writes after each."""

    config: EvaluateConfig
    inputs: EvaluationInputs
    folder: Path | None
    progress: bool

    def plans(self, configs: Mapping[str, MetricConfig]) -> list[_Plan]:
        """Metrics of images once, those of logits and features under every classifier."""
        plans, inputs, seed = [], self.inputs, self.config.seed
        for name, fields in configs.items():
            metric = METRICS[name]
            owners = list(inputs.classifiers) if metric.needs_classifier else []
            for index, owner in enumerate(owners or [None]):
                identity = {
                    "config": fields.to_dict(),
                    "seed": seed,
                    "format": records.RECORD_FORMAT,
                }
                if owner is not None:
                    classifier = inputs.classifiers[owner]
                    identity |= {"classifier": owner, "classifier_digest": classifier.digest}
                    # What a card or a scaling of images adds to the weights.
                    scale = "feature_scale" if metric.needs_features else "temperature"
                    added = {scale: getattr(classifier, scale, None)}
                    added["resizer"] = inputs.resizer(owner)
                    identity |= {name: value for name, value in added.items() if value is not None}
                if metric.needs_features and inputs.reference is not None:
                    identity["reference_digest"] = inputs.reference[1]
                key = name if index == 0 else f"{name}:{owner}"
                missing = inputs.missing(metric, owner)
                plans.append(_Plan(key, metric, fields, owner, json_ready(identity), missing))
        return plans

    def run(self, plans: list[_Plan]) -> Evaluation:
        content = self._content()
        earlier = {} if self.folder is None else records.earlier_evaluation(self.folder, content)
        metrics = {name: Record(record) for name, record in earlier.get("metrics", {}).items()}
        content["classifiers"] = {**earlier.get("classifiers", {}), **content["classifiers"]}
        wanted = [p for p in plans if not p.missing and not p.is_taken(metrics.get(p.key, {}))]
        taken = [p.key for p in plans if not p.missing and p not in wanted]
        if taken and self.folder is not None:
            path = self.folder / records.NAME
            _logger.info("%s holds %s already: not measured again", path, ", ".join(taken))
        seen, real = self._look(wanted)
        evaluation = Evaluation(**content, samples_digest=seen.digest, metrics=metrics)
        if self.folder is not None:
            records.check_same_pixels(self.folder, earlier, seen.digest)
        for plan in wanted:
            metrics[plan.key] = self._measure(plan, seen, real)
            if self.folder is not None:
                records.write_evaluation(self.folder, evaluation)
        for plan in plans:
            if plan.missing and "reason" in metrics.get(plan.key, {"reason": ""}):
                metrics[plan.key] = Record(reason=plan.missing)
        if self.folder is not None:
            if self.inputs.dataset is not None:
                sheet = _nearest_sheet(self.inputs.dataset, seen)
                atomic_write_bytes(self.folder / "evaluation_nearest.png", sheet)
            records.write_evaluation(self.folder, evaluation)
            shutil.rmtree(self.folder / ".critic", ignore_errors=True)
        return evaluation

    def _content(self) -> dict[str, Any]:
        """The fields of the evaluation without what the samples' pixels tell."""
        source, dataset = self.inputs.source, self.inputs.dataset
        known = {"temperature": None, "feature_scale": 1.0, "verified": True}
        content = {
            "title": source.name,
            "source": source.record,
            "num_samples": source.num_images,
            "seed": self.config.seed,
            "dataset": None if dataset is None else dataset.name,
            "dataset_digest": None if dataset is None else dataset.digest,
            "classifiers": {
                name: {"digest": c.digest, "resizer": c.resizer or "none"}
                | {field: getattr(c, field, value) for field, value in known.items()}
                for name, c in self.inputs.classifiers.items()
            },
            **software(),
        }
        return {**json_ready(content), "image_shape": source.image_shape}

    def _look(self, plans: list[_Plan]) -> tuple[SamplePass, dict[str, RealFeatures]]:
        """Passes over real images and samples, with those classifiers that a metric needs."""
        config, reference = self.config, self.inputs.reference
        cache = Path(config.cache_dir).expanduser() if config.cache_dir else default_cache_dir()
        featured = {plan.classifier for plan in plans if plan.metric.needs_features}
        needed = {plan.classifier for plan in plans}
        used = {n: (c, n in featured) for n, c in self.inputs.classifiers.items() if n in needed}
        number = max([_SHEET_ROWS, *(plan.config.images_needed for plan in plans)])
        real = {}
        try:
            for name, (classifier, is_featured) in used.items():
                if is_featured and reference is not None:
                    with progress_bar(f"real images, {name}", "image", self.progress) as show:
                        real[name] = real_features(*reference, classifier, cache, config.seed, show)
            with progress_bar("samples", "image", self.progress) as show:
                return pass_over(self.inputs.source, number, used, config.seed, show), real
        except ValueError as error:
            raise UserError(f"{self.inputs.source.name}: {error}") from error

    def _measure(self, plan: _Plan, seen: SamplePass, real: Mapping[str, RealFeatures]) -> Record:
        """Takes one metric; returns its record, or the reason why it does not fit the samples."""
        start, dataset, owner = time.perf_counter(), self.inputs.dataset, plan.classifier or ""
        with contextlib.ExitStack() as bars:
            inputs = Inputs(
                images=seen.images,
                seed=self.config.seed,
                classified=seen.classified.get(owner),
                real=real.get(owner),
                splits={} if dataset is None else dataset.splits,
                split=self.inputs.source.record.get("split"),
                state=None if self.folder is None else self.folder / ".critic",
                open_progress=lambda: bars.enter_context(
                    progress_bar(plan.key, "step", self.progress)
                ),
            )
            try:
                with np.errstate(all="ignore"):
                    record = plan.metric.measure(inputs, plan.config)
                for quantity in plan.metric.quantities:
                    value = record.get(quantity.field)
                    if isinstance(value, float) and not math.isfinite(value):
                        raise ValueError(f"{quantity.label} is {value}, not a finite number")
            except (DivergedError, ValueError) as error:
                if self.config.metrics and isinstance(error, DivergedError):
                    raise
                if self.config.metrics:
                    raise UserError(f"{plan.key}: {error}; see its fields") from error
                record = {"reason": str(error)}
        if plan.metric.needs_features and self.inputs.reference is not None:
            real_images = self.inputs.reference[0].record
            record["reference"] = real_images.get("split") or real_images["images"]
            record["features"] = owner
        record |= {"wall_seconds": round(time.perf_counter() - start, 1), "command": command()}
        return Record({**json_ready(record), **plan.identity})


def _outside(output_dir: str | None, record: Mapping[str, Any]) -> Path | None:
    """A folder whose pictures will not be taken for samples next time."""
    if output_dir is None:
        return None
    folder, images = Path(output_dir).expanduser(), Path(record.get("images", ""))
    is_folder = "passed_over" in record
    if is_folder and folder.resolve().is_relative_to(images.resolve()):
        raise UserError(
            f"{folder} is inside the folder of images: choose an --output_dir outside {images}"
        )
    return folder


def _nearest_sheet(dataset: ImageDataset, seen: SamplePass) -> bytes:
    """Returns a PNG: in each row a sample and its nearest training images."""
    samples, train = seen.images[:_SHEET_ROWS], dataset.split("train")
    number = min(_NEIGHBOURS, len(train))
    flat, pixels = (images.reshape(len(images), -1) for images in (samples, train))
    nearest = nearest_neighbours(flat, pixels, number)
    rows = np.concatenate([samples[:, None], train[nearest]], axis=1)
    return grid_png(rows.reshape(-1, *samples.shape[1:]), 1 + number)

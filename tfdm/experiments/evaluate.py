"""The work of `tfdm-evaluate`: samples, real images, measures, and what is written of them."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfdm.datasets import ImageDataset
from tfdm.datasets.cache import default_cache_dir
from tfdm.errors import DivergedError, UserError
from tfdm.eval.features import SamplePass, pass_over, real_features
from tfdm.eval.metrics import CRITIC_IMAGES, METRICS, Inputs, Metric
from tfdm.eval.nearest import nearest_neighbours
from tfdm.eval.records import (
    earlier_evaluation,
    locked,
    other_samples,
    write_evaluation,
)
from tfdm.eval.sources import ImageSource
from tfdm.eval.tables import NAME, evaluation_table
from tfdm.experiments import evaluation_inputs
from tfdm.progress import progress_bar
from tfdm.runs.atomic import atomic_write_bytes, json_ready
from tfdm.runs.provenance import command, git_revision, versions

if TYPE_CHECKING:
    from tfdm.cli.evaluate import EvaluationRequest

_SHEET_ROWS, _NEIGHBOURS = 12, 7
# Records of an older format lack fields: what they measured is measured again.
_RECORD_FORMAT = 2


@dataclasses.dataclass(frozen=True)
class _Plan:
    """One measure to take.

    Attributes:
      metric: its name.
      key: its name in `evaluation.json`; `:NAME` of a second classifier stands behind it.
      classifier: the classifier's name, `None` for a measure of images.
      identity: what a record must hold to be of the same measure.
    """

    metric: str
    key: str
    classifier: str | None
    identity: dict[str, Any]


def evaluate(request: EvaluationRequest) -> str:
    """Takes the measures that are asked for; returns the table.

    Raises:
      UserError: samples, real images or a classifier cannot be had, a measure that was asked for
        does not fit them, or the folder cannot be written.
    """
    dataset, source = evaluation_inputs.dataset_and_source(request)
    classifiers = evaluation_inputs.classifiers(request)
    content = _content(request, dataset, source, classifiers)
    plans = _plans(request, classifiers)
    left_out = _left_out(request, classifiers, plans)
    with locked(request.output_dir):
        earlier = earlier_evaluation(request.output_dir, content)
        metrics = earlier.get("metrics", {})
        plans = [
            plan
            for plan in plans
            if plan.key not in left_out and not _is_taken(metrics.get(plan.key, {}), plan)
        ]
        content["classifiers"] = {**earlier.get("classifiers", {}), **content["classifiers"]}
        seen = _look(request, dataset, source, classifiers, plans)
        if earlier and earlier["samples_digest"] != seen.digest:
            raise other_samples(request.output_dir, "their pixels differ")
        content |= {"samples_digest": seen.digest, "metrics": metrics}
        for plan in plans:
            metrics[plan.key] = _measure(request, dataset, seen, plan)
            write_evaluation(request.output_dir, content)
        sheet = _nearest_sheet(dataset, seen)
        atomic_write_bytes(request.output_dir / "evaluation_nearest.png", sheet)
        for key, record in left_out.items():
            if "reason" in metrics.get(key, record):
                metrics[key] = record
        write_evaluation(request.output_dir, content)
        shutil.rmtree(_critic_state(request), ignore_errors=True)
    return f"{evaluation_table(content)}\n{request.output_dir / NAME}\n"


def _content(
    request: EvaluationRequest,
    dataset: ImageDataset,
    source: ImageSource,
    classifiers: dict[str, Any],
) -> dict[str, Any]:
    """Returns the top level of `evaluation.json`."""
    content: dict[str, Any] = {
        "title": source.name,
        "source": source.record,
        "num_samples": source.num_images,
        "seed": request.seed,
        "dataset": dataset.name,
        "dataset_digest": dataset.digest,
        "image_shape": list(dataset.image_shape),
        "classifiers": {
            name: {
                "digest": classifier.digest,
                "temperature": getattr(classifier, "temperature", None),
                "feature_scale": getattr(classifier, "feature_scale", 1.0),
                "resizer": getattr(classifier, "resizer", "none"),
                "verified": getattr(classifier, "verified", True),
            }
            for name, classifier in classifiers.items()
        },
        "versions": versions(),
        "git_revision": git_revision(),
    }
    return json_ready(content)


def _plans(request: EvaluationRequest, classifiers: dict[str, Any]) -> list[_Plan]:
    """Lists the measures: of images once, of logits and features under every classifier."""
    plans = []
    for name, config in request.configs.items():
        metric = METRICS[name]
        owners = list(classifiers) if metric.needs_classifier else [None]
        for index, owner in enumerate(owners):
            identity: dict[str, Any] = {
                "config": dataclasses.asdict(config),
                "seed": request.seed,
                "format": _RECORD_FORMAT,
            }
            if owner is not None:
                digest = classifiers[owner].digest
                identity |= {"classifier": owner, "classifier_digest": digest}
                identity |= _scales(metric, classifiers[owner])
            if metric.needs_features:
                identity |= {"features": owner, "reference": request.reference}
            key = name if index == 0 else f"{name}:{owner}"
            plans.append(_Plan(name, key, owner, json_ready(identity)))
    return plans


def _is_taken(record: dict[str, Any], plan: _Plan) -> bool:
    """Says whether the record of an earlier command is of this very measure."""
    return "reason" not in record and all(
        record.get(field) == value for field, value in plan.identity.items()
    )


def _scales(metric: Metric, classifier: Any) -> dict[str, float]:
    """Returns what a classifier's card adds to its weights and a measure depends on."""
    field = "feature_scale" if metric.needs_features else "temperature"
    value = getattr(classifier, field, None)
    return {} if value is None else {field: value}


def _left_out(
    request: EvaluationRequest, classifiers: dict[str, Any], plans: list[_Plan]
) -> dict[str, Any]:
    """Returns why measures that were not asked for by name cannot be had."""
    if request.asked:
        return {}
    reason = f"needs a classifier: {evaluation_inputs.HOW_TO_GET_INCEPTION}"
    needing = [name for name in request.configs if METRICS[name].needs_classifier]
    reasons = {} if classifiers else dict.fromkeys(needing, reason)
    for plan in plans:
        owner = plan.classifier
        if owner is None or not METRICS[plan.metric].needs_features:
            continue
        if classifiers[owner].num_features is None:
            reasons[plan.key] = f"the network of {owner} gives no features"
    return {key: {"reason": reason} for key, reason in reasons.items()}


def _look(
    request: EvaluationRequest,
    dataset: ImageDataset,
    source: ImageSource,
    classifiers: dict[str, Any],
    plans: list[_Plan],
) -> SamplePass:
    """Passes over the samples, with those classifiers that a measure needs."""
    cache = Path(request.cache_dir).expanduser() if request.cache_dir else default_cache_dir()
    needed = {plan.classifier for plan in plans}
    comparing = {plan.classifier for plan in plans if METRICS[plan.metric].needs_features}
    used = {name: classifier for name, classifier in classifiers.items() if name in needed}
    chosen = [_num_chosen(plan.metric, request.configs[plan.metric]) for plan in plans]
    real = {}
    try:
        for name in (name for name in used if name in comparing):
            with progress_bar(f"real images, {name}", "image") as progress:
                real[name] = real_features(
                    dataset, request.reference, used[name], cache, request.seed, progress
                )
        with progress_bar("samples", "image") as progress:
            return pass_over(
                source, max([_SHEET_ROWS, *chosen]), used, real, request.seed, progress
            )
    except ValueError as error:
        raise UserError(f"{source.name}: {error}") from error


def _num_chosen(metric: str, config: Any) -> int:
    """How many samples have to be kept for a measure that looks at images or pairs."""
    if metric == "ms_ssim":
        return config.num_batches * config.batch_size
    return CRITIC_IMAGES if metric == "wasserstein_critic" else getattr(config, "num_images", 0)


def _measure(
    request: EvaluationRequest, dataset: ImageDataset, seen: SamplePass, plan: _Plan
) -> dict[str, Any]:
    """Takes one measure; returns its record, or the reason why it does not fit the samples."""
    start = time.perf_counter()
    with contextlib.ExitStack() as bars:
        inputs = Inputs(
            images=seen.images,
            classified=None if plan.classifier is None else seen.classified[plan.classifier],
            critic_images=lambda: evaluation_inputs.critic_images(dataset, request.images),
            seed=request.seed,
            state=_critic_state(request),
            open_progress=lambda: bars.enter_context(progress_bar(plan.key, "step")),
        )
        try:
            record = METRICS[plan.metric].run(inputs, request.configs[plan.metric])
        except DivergedError as error:
            if request.asked:
                raise
            record = {"reason": str(error)}
        except ValueError as error:
            if request.asked:
                raise UserError(
                    f"{plan.key}: {error}; see the fields of {plan.metric} in --help"
                ) from error
            record = {"reason": str(error)}
    return {
        **json_ready(record),
        **plan.identity,
        "wall_seconds": round(time.perf_counter() - start, 1),
        "command": command(),
    }


def _critic_state(request: EvaluationRequest) -> Path:
    return request.output_dir / ".critic"


def _nearest_sheet(dataset: ImageDataset, seen: SamplePass) -> bytes:
    """Returns a PNG: in each row a sample and its nearest training images."""
    from tfdm.pictures import image_grid, png_bytes

    samples = seen.images[:_SHEET_ROWS]
    train = dataset.split("train")
    number = min(_NEIGHBOURS, len(train))
    pixels = train.reshape(len(train), -1)
    nearest = nearest_neighbours(samples.reshape(len(samples), -1), pixels, number)
    rows = np.concatenate([samples[:, None], train[nearest]], axis=1)
    return png_bytes(image_grid(rows.reshape(-1, *samples.shape[1:]), 1 + number))

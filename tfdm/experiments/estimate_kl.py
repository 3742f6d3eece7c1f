"""How far the aggregate posterior q(z) is from the prior p(z), as one function."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfdm.distributions.priors import Prior
from tfdm.errors import UserError
from tfdm.estimators.bounds import PosteriorBounds, posterior_bounds, sampled_bounds
from tfdm.estimators.codes import FixedCodes, GaussianCodes
from tfdm.estimators.importance_weighted import ImportanceWeightedBound, importance_weighted_bound
from tfdm.estimators.posteriors import PROBES, DataPosteriors, Posteriors
from tfdm.estimators.priors import prior_digest
from tfdm.estimators.records import (
    RECORD_FORMAT,
    Estimate,
    NoEstimate,
    Task,
    from_record,
    to_record,
)
from tfdm.estimators.registry import ESTIMATORS
from tfdm.estimators.tables import estimates_table, is_below_minimum, plot_estimates
from tfdm.experiments.kl_model import importance_weights, ordered_samples
from tfdm.experiments.kl_sources import KLInput, Source, open_source
from tfdm.experiments.options import EstimateKLConfig
from tfdm.fields import CheckedConfig
from tfdm.progress import ProgressOption, progress_bar
from tfdm.runs.atomic import atomic_write_bytes, atomic_write_json, atomic_write_text, json_ready
from tfdm.runs.provenance import command, software
from tfdm.runs.results import earlier_results, locked, merged
from tfdm.seeds import derive
from tfdm.statistics import digest

_logger = logging.getLogger("tfdm")

RESULT_NAME = "kl.json"
# The folder of the fits' states, until a call has finished.
_STATES = ".kl.state"
# Samples behind the average KL of posteriors that are not Gaussian.
_AVERAGE_SAMPLES = 10_000
# What an estimator may raise where it cannot cope with the codes, as apart from a fault of ours.
_FAILURES = (ValueError, UserError, ArithmeticError, MemoryError, tf.errors.OpError)

Fields = Mapping[str, CheckedConfig | Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class KLEstimates:
    """Estimates of KL[q(z) ‖ p(z)], in nats.

    `estimates` holds what each estimator of this call returned, by `NAME` or `NAME:LABEL`; one that
    gave no value has a `reason`.
    """

    name: str  # what they are of
    bounds: PosteriorBounds | None  # of the posteriors alone (eq. 5), `None` without a density
    held_out: PosteriorBounds | None  # the same of held-out images
    estimates: Mapping[str, Estimate]
    log_likelihood: ImportanceWeightedBound | None  # of held-out images, where it was asked for
    content: Mapping[str, Any] = dataclasses.field(repr=False)  # what `kl.json` holds

    def table(self) -> str:
        """Returns a Markdown table of the bounds and all estimates in `content`."""
        return estimates_table(self.content)

    def to_dict(self) -> dict[str, Any]:
        """Returns the content of `kl.json`."""
        return dict(self.content)


def estimate_kl(
    source: KLInput | None = None,
    config: EstimateKLConfig | None = None,
    *,
    loc: npt.ArrayLike | None = None,
    scale: npt.ArrayLike | None = None,
    codes: npt.ArrayLike | None = None,
    prior: Prior | None = None,
    fields: Fields | None = None,
    progress: ProgressOption = True,
    **options: Any,
) -> KLEstimates:
    """Estimates KL[q(z) ‖ p(z)] of a trained run, a file, arrays, or any posterior.

    Posteriors that are not Gaussian but have a density are estimated on a subset of the data, see
    `MonteCarloConfig`. Those without a density need estimators of codes, such as `gmm`.

    Args:
      source: what `tfdm.load_run` returned, or a run folder; an .npz file with `loc` and `scale`
        (and `held_out_loc`, `held_out_scale`) or `codes`; or an object with `sample`, perhaps
        `log_prob`, perhaps `loc` and `scale`.
      config: the options, see `EstimateKLConfig`.
      loc: instead of a source, means [N, L] of diagonal Gaussian posteriors.
      scale: their standard deviations [N, L].
      codes: instead of a source, codes [N, L] of an encoder without a density.
      prior: p(z), with `latent_dim`, `log_prob` and `from_noise`; by default the prior of the
        run's model, or N(0, I).
      fields: fields of estimators by the estimator's name, each a mapping or its configuration.
      progress: whether bars are shown, or a function of (done, total).
      **options: fields that replace those of `config`.

    Returns:
      The estimates. Nothing is written unless `output_dir` is set; estimates of the same posteriors
      that stand there are kept, those of the same call are not made again, and a call that was
      interrupted is resumed.

    Raises:
      Terminated: with `output_dir`, SIGTERM or SIGINT stopped a fit; its state was written.
      UserError: the posteriors cannot be had, the only estimator failed, or the folder cannot be
        written or is about other posteriors.
      ValueError: an option or an array is not admissible.
    """
    config, fields = EstimateKLConfig.of(config, **options), fields or {}
    for name in fields:
        if name not in config.estimators:
            raise ValueError(f"fields of {name} have no effect: add it to estimators or drop them")
    configs = {name: ESTIMATORS[name].config.of(fields.get(name)) for name in config.estimators}
    arrays = {"loc": loc, "scale": scale, "codes": codes}
    opened = open_source(source, config, arrays, prior, progress)
    if isinstance(opened.posteriors, FixedCodes) and configs:
        if all(ESTIMATORS[name].needs_density for name in configs):
            others = ",".join(n for n, e in ESTIMATORS.items() if not e.needs_density)
            raise UserError(
                f"the posterior of {opened.name} has no density, which {' and '.join(configs)} "
                f"needs: choose --estimators={others}"
            )
    if config.output_dir is None:
        return _estimated(config, configs, opened, None, progress)
    folder = Path(config.output_dir).expanduser()
    with locked(folder, ".kl.lock"):
        return _estimated(config, configs, opened, folder, progress)


def _estimated(
    config: EstimateKLConfig,
    configs: Mapping[str, CheckedConfig],
    source: Source,
    folder: Path | None,
    progress: ProgressOption,
) -> KLEstimates:
    posteriors, prior, seed = source.posteriors, source.prior, config.seed
    try:
        with np.errstate(all="ignore"):
            bounds = _bounds(posteriors, prior, seed)
            held_out = _bounds(source.held_out, prior, derive(seed, "kl/average/held_out"))
        content = _content(source, bounds, held_out)
    except _FAILURES as error:
        raise UserError(f"{source.name}: {error}") from error
    if folder is not None:
        earlier = earlier_results(
            folder / RESULT_NAME,
            content,
            ("posterior_digest",),
            groups=("estimates",),
            about="other posteriors",
        )
        content |= {key: earlier[key] for key in ("estimates", "log_likelihood") if key in earlier}
    results: dict[str, Estimate] = {}
    for name, fields in configs.items():
        key = config.key(name)
        earlier_record = content["estimates"].get(key, {})
        if _is_same(earlier_record, fields, seed):
            _logger.info("%s is in %s/%s already: not estimated again", key, folder, RESULT_NAME)
            results[key] = from_record(earlier_record)
            continue
        state = None if folder is None else _state(folder, name, key, fields, seed, source)
        task = Task(posteriors, fields, source.held_out, prior, seed, config.strategy, state)
        results[key], record = _run(name, key, task, progress)
        content["estimates"] = merged(content["estimates"], {key: record})
        for found in content["estimates"].values():
            found["below_minimum"] = is_below_minimum(found, content)
        _write(folder, content, source.name)
    failure = failure_of(results)
    if failure and len(configs) == 1:
        raise UserError(failure)
    log_likelihood = None
    if config.log_likelihood_samples:
        images = None if source.run is None else source.run.dataset.split("validation")[:]
        number = config.log_likelihood_samples
        weights = importance_weights(source.model, images, prior, seed)
        num_data = 0 if images is None else len(images)
        log_likelihood = importance_weighted_bound(weights, num_data, number, progress=progress)
        content["log_likelihood"] = to_record(log_likelihood)
    _write(folder, content, source.name)
    if folder is not None:
        if source.model and isinstance(posteriors, GaussianCodes):
            picture = ordered_samples(source.model, posteriors, prior, seed)
            atomic_write_bytes(folder / "kl_samples.png", picture)
        shutil.rmtree(folder / _STATES, ignore_errors=True)
    return KLEstimates(source.name, bounds, held_out, results, log_likelihood, content)


def _bounds(
    posteriors: Posteriors | None, prior: Prior | None, seed: int
) -> PosteriorBounds | None:
    """Returns eq. 5, `None` without a density."""
    if isinstance(posteriors, GaussianCodes):
        return posterior_bounds(posteriors.loc, posteriors.scale, prior, seed=seed)
    if isinstance(posteriors, DataPosteriors):
        draws = posteriors.draws(_AVERAGE_SAMPLES, derive(seed, "kl/average"))
        return sampled_bounds(draws, posteriors.num_data, prior)
    return None


def _content(
    source: Source, bounds: PosteriorBounds | None, held_out: PosteriorBounds | None
) -> dict[str, Any]:
    """Returns the top level of `kl.json`, without estimates."""
    posteriors = source.posteriors
    content: dict[str, Any] = {
        "source": source.record,
        "prior": "StandardNormal" if source.prior is None else type(source.prior).__name__,
        "posterior_digest": _digest(posteriors, source.prior),
        "num_latents": posteriors.latent_dim,
        "num_data": posteriors.num_data,
    }
    unknown = dict.fromkeys(field.name for field in dataclasses.fields(PosteriorBounds)[2:])
    unknown["log_num_data"] = math.log(posteriors.num_data)
    content |= unknown if bounds is None else to_record(bounds)
    if held_out is not None:
        content["held_out"] = {"num_data": held_out.num_data, "average_kl": held_out.average_kl}
    return content | software() | {"estimates": {}}


def _digest(posteriors: Posteriors, prior: Prior | None) -> str:
    """Returns what tells these posteriors and this prior from others."""
    end = [] if prior is None else [prior_digest(prior)]
    if isinstance(posteriors, GaussianCodes):
        return digest(posteriors.loc, posteriors.scale, *end)
    if isinstance(posteriors, DataPosteriors):
        return digest(*posteriors.subset(PROBES, 0).draw(0), posteriors.num_data, *end)
    return digest(posteriors.probes, posteriors.num_data, *end)


def _state(
    folder: Path, name: str, key: str, fields: CheckedConfig, seed: int, source: Source
) -> Path:
    """Returns where an estimator keeps what it has done; a fit by all that it depends on."""
    if ESTIMATORS[name].needs_density:
        return folder / f".{key.replace(':', '.')}.state.json"
    data = [_digest(p, source.prior) for p in (source.posteriors, source.held_out) if p is not None]
    return folder / _STATES / digest(key, *data, json.dumps(fields.to_dict()), seed)[:16]


def failure_of(estimates: Mapping[str, Estimate]) -> str:
    """Returns which estimators failed and why, `""` where none did."""
    reasons = {k: e.reason for k, e in estimates.items() if isinstance(e, NoEstimate) and e.failed}
    return "; ".join(f"{key}: {reason}" for key, reason in reasons.items())


def _is_same(record: Mapping[str, Any], fields: CheckedConfig, seed: int) -> bool:
    """Says whether a record is what the same call would give."""
    asked = {"config": fields.to_dict(), "seed": seed, "format": RECORD_FORMAT}
    return record.get("kl") is not None and json_ready(asked).items() <= record.items()


def _run(
    name: str, key: str, task: Task, progress: ProgressOption
) -> tuple[Estimate, dict[str, Any]]:
    """Returns what an estimator gives, and its record."""
    estimator, start = ESTIMATORS[name], time.perf_counter()
    result: Estimate
    if estimator.needs_density and isinstance(task.posteriors, FixedCodes):
        result = NoEstimate("the posterior has no density", failed=False)
    else:
        unit = "sample" if estimator.needs_density else "step"
        try:
            # An overflow ends in a value that is not finite, and that is said.
            with np.errstate(all="ignore"), progress_bar(key, unit, progress) as report:
                result = estimator.load()(dataclasses.replace(task, progress=report))
            if result.kl is not None and not math.isfinite(result.kl):
                advice = "see the sizes of means and standard deviations"
                raise ValueError(f"the estimate is {result.kl}, not a finite number: {advice}")
        except _FAILURES as error:
            result = NoEstimate(str(error))
    return result, to_record(result) | {
        "config": task.config.to_dict(),
        "seed": task.seed,
        "format": RECORD_FORMAT,
        "wall_seconds": round(time.perf_counter() - start, 1),
        "command": command(),
    }


def _write(folder: Path | None, content: dict[str, Any], title: str) -> None:
    if folder is None:
        return
    atomic_write_json(folder / RESULT_NAME, json_ready(content))
    atomic_write_text(folder / "kl.md", estimates_table(content))
    atomic_write_bytes(folder / "kl.png", plot_estimates(content, title))

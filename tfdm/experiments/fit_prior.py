"""A better prior for a trained run: a density fitted to its q(z), as one function.

The bound of a VAE loses KL[q(z) ‖ p(z)] to a prior that q(z) does not match, and samples come from
where no image is encoded. A density fitted to q(z) afterwards takes the prior's place; encoder and
generator stay as they are.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfdm.distributions.densities import Density
from tfdm.errors import UserError, did_you_mean
from tfdm.estimators.codes import FixedCodes
from tfdm.estimators.density_model import fit_density
from tfdm.estimators.records import DensityModelKL, Task, to_record
from tfdm.estimators.registry import ESTIMATORS
from tfdm.eval.records import Evaluation
from tfdm.eval.tables import comparison_table
from tfdm.experiments.estimate_kl import Fields, KLEstimates, estimate_kl
from tfdm.experiments.evaluate import evaluate
from tfdm.experiments.export import write_networks
from tfdm.experiments.kl_sources import Source, open_source
from tfdm.experiments.load import Run, build_model, load_run
from tfdm.experiments.options import DENSITIES, EstimateKLConfig, EvaluateConfig, FitPriorConfig
from tfdm.progress import ProgressOption
from tfdm.runs import RunFolder
from tfdm.runs.atomic import atomic_write_bytes, atomic_write_json, atomic_write_text
from tfdm.runs.provenance import command, software
from tfdm.training.callbacks import Span
from tfdm.training.grids import ImageGrids, fixed_images
from tfdm.training.state import capture_state, restore_state

RESULT_NAME = "fitted_prior.json"
# Where the state of an interrupted fit stands.
_STATE = ".fitted_prior.state"
_BOUNDS = {
    "average_kl": "average KL[q(z\\|x) ‖ p(z)]: upper bound",
    "minimum_marginal_kl": "average KL − log N: lower bound",
}


@dataclasses.dataclass(frozen=True)
class FittedPrior:
    """A run whose samples come from a density fitted to q(z); KLs are in nats.

    Attributes:
      folder: the folder of the new run.
      fit: the fit; its `kl` is from the prior of before.
      before, after: estimates of KL[q(z) ‖ p(z)] for the prior of before and for the density.
      scores: evaluations of samples, `before` and `after`; empty where no metric was asked for.
      content: what `fitted_prior.json` holds.
    """

    folder: RunFolder
    fit: DensityModelKL
    before: KLEstimates
    after: KLEstimates
    scores: Mapping[str, Evaluation]
    content: Mapping[str, Any] = dataclasses.field(repr=False)

    def load(self) -> Run:
        """Returns the new run, as `tfdm.load_run` does."""
        return load_run(self.folder.path)

    def table(self) -> str:
        """Returns Markdown tables: the KL before and after, and the scores."""
        return _table(self.content, self.scores)


def fit_prior(
    run: Run | str | os.PathLike[str],
    density: str = "gmm",
    *,
    output_dir: str | os.PathLike[str],
    config: FitPriorConfig | None = None,
    fields: Fields | None = None,
    progress: ProgressOption = True,
    **options: Any,
) -> FittedPrior:
    """Fits a density to q(z) of a trained run and makes a run that has it as its prior.

    `output_dir` becomes a run folder like any other: `tfdm.load_run`, `tfdm.sample`,
    `tfdm.estimate_kl`, `tfdm.evaluate` and the exported generator draw codes from the density. It
    is not trained on. A call that was interrupted is resumed by the same call.

    Args:
      run: what `tfdm.load_run` returned, or the run folder; it is not changed.
      density: `gmm`, `maf` or `lstm` (A.4).
      output_dir: the folder of the new run, new or empty.
      config: the options, see `FitPriorConfig`.
      fields: fields of the density and of estimators by name, as of `tfdm.estimate_kl`.
      progress: whether bars are shown, or a function of (done, total).
      **options: fields that replace those of `config`.

    Raises:
      Terminated: SIGTERM or SIGINT stopped the fit; its state was written.
      UserError: the run has no encoder or a fitted prior already, fields have no effect, or a
        folder cannot be used.
      ValueError: an option is not admissible.
    """
    config, fields = FitPriorConfig.of(config, **options), fields or {}
    if density not in DENSITIES:
        raise ValueError(f"unknown density {density!r}: {did_you_mean(density, DENSITIES)}")
    trained = _opened(run, config)
    source = open_source(trained, EstimateKLConfig(seed=config.seed), {}, None, progress)
    default = "density_ratio" if isinstance(source.posteriors, FixedCodes) else "monte_carlo"
    estimators = config.estimators or (default,)
    for name in fields:
        if name not in (density, *estimators):
            raise UserError(f"fields of {name} have no effect: add it to estimators or drop them")
    folder = RunFolder(Path(output_dir).expanduser())
    task = Task(
        source.posteriors,
        ESTIMATORS[density].config.of(fields.get(density)),
        source.held_out,
        source.prior,
        config.seed,
        state=folder.path / _STATE,
        progress=progress,
    )

    def kl(of: Source, place: str | None = None) -> KLEstimates:
        chosen = {name: fields[name] for name in estimators if name in fields}
        asked = EstimateKLConfig(estimators=estimators, seed=config.seed, output_dir=place)
        return estimate_kl(of, asked, fields=chosen, progress=progress)

    folder.create()
    with contextlib.ExitStack() as stack:
        stack.callback(folder.discard_if_unused)
        stack.enter_context(folder.lock())
        before = kl(source)
        recorded = _recorded(trained, density, task, before)
        folder.claim_config(recorded)
        fitted, fit = fit_density(density, task)
        new = _new_run(trained, folder, recorded, fitted)
        of_new = dataclasses.replace(source, record=new.record, prior=fitted, run=new)
        after = kl(of_new, str(folder.path))
        scores: dict[str, Evaluation] = {}
        if config.metrics:
            names = {"metrics": config.metrics, "num_samples": config.num_samples}
            wanted, shown = EvaluateConfig.of(names, seed=config.seed), progress is True
            place = str(folder.path)
            scores["before"] = evaluate(trained, wanted, progress=shown)
            scores["after"] = evaluate(new, wanted, output_dir=place, progress=shown)
        content = _content(source, recorded, fit, {"before": before, "after": after}, scores)
        atomic_write_json(folder.path / RESULT_NAME, content)
        atomic_write_text(folder.path / "fitted_prior.md", _table(content, scores))
        shutil.rmtree(folder.path / _STATE, ignore_errors=True)
    return FittedPrior(folder, fit, before, after, scores, content)


def _opened(run: Run | str | os.PathLike[str], config: FitPriorConfig) -> Run:
    """Returns the run, whose prior must be that of its training."""
    if not isinstance(run, Run):
        run = load_run(run, data_dir=config.data_dir, cache_dir=config.cache_dir)
    elif config.data_dir or config.cache_dir:
        raise UserError("data_dir and cache_dir have no effect on a run that is loaded: drop them")
    if run.model.fitted_prior is not None:
        raise UserError(
            f"{run.folder.path} has a fitted prior already: give the run that it was fitted to"
        )
    return run


def _recorded(run: Run, density: str, task: Task, before: KLEstimates) -> dict[str, Any]:
    """Returns `config.json` of the new run: that of the run, and what made its prior."""
    fitted = {
        "density": density,
        "fields": task.config.to_dict(),
        "seed": task.seed,
        "posterior_digest": before.content["posterior_digest"],
    }
    return {**run.recorded, "fitted_prior": fitted, **software(), "command": command()}


def _new_run(run: Run, folder: RunFolder, recorded: dict[str, Any], fitted: Density) -> Run:
    """Writes the weights, SavedModels, grids and curves of the run with its new prior."""
    model = build_model(run.config, run.model.image_shape, fitted)
    restore_state(model, capture_state(model) | capture_state(run.model))
    write_networks(model, folder)
    images, writer = fixed_images(run.dataset.splits["validation"]), tf.summary.create_noop_writer()
    grids = ImageGrids(Span(run.step, run.step), 1, folder, writer, images, run.config.seed)
    grids.write(model, run.step)
    for name in ("metrics_path", "summary_path"):  # of the training, as a report shows it
        trained: Path = getattr(run.folder, name)
        if trained.is_file():
            atomic_write_bytes(getattr(folder, name), trained.read_bytes())
    return dataclasses.replace(run, model=model, recorded=recorded, folder=folder, data=run.dataset)


def _content(
    source: Source,
    recorded: Mapping[str, Any],
    fit: DensityModelKL,
    kl: Mapping[str, KLEstimates],
    scores: Mapping[str, Evaluation],
) -> dict[str, Any]:
    content: dict[str, Any] = {"source": source.record, **recorded["fitted_prior"]}
    content["fit"] = to_record(fit)
    for name, estimates in kl.items():
        found = estimates.to_dict()
        kept = ("prior", *_BOUNDS, "average_kl_standard_error", "estimates")
        content[name] = {key: found.get(key) for key in kept}
        content[name]["metrics"] = dict(scores[name].metrics) if name in scores else {}
    values = [{name: e.kl for name, e in one.estimates.items()} for one in kl.values()]
    content["gap_closed"] = {
        name: 1.0 - after / before
        for name, before in values[0].items()
        if before is not None and before > 0.0 and (after := values[1].get(name)) is not None
    }
    return content | {key: recorded[key] for key in ("versions", "git_revision", "command")}


def _table(content: Mapping[str, Any], scores: Mapping[str, Evaluation]) -> str:
    before, after = content["before"], content["after"]
    lines = [
        f"| nats | before: {before['prior']} | after: {after['prior']} |",
        "|---|---|---|",
    ]
    for key, title in _BOUNDS.items():
        if before[key] is not None:
            cells = [_shown(one[key], one["average_kl_standard_error"]) for one in (before, after)]
            lines.append(f"| {title} | {' | '.join(cells)} |")
    for name in before["estimates"]:
        records = [one["estimates"].get(name, {}) for one in (before, after)]
        cells = [_shown(record.get("kl"), record.get("standard_error")) for record in records]
        lines.append(f"| KL[q(z) ‖ p(z)], {name} | {' | '.join(cells)} |")
    fit = content["fit"]
    unseen = fit["held_out_log_likelihood"], fit["held_out_log_likelihood_standard_error"]
    lines += [
        "",
        f"{content['density']}: log-likelihood of fresh or held-out codes {_shown(*unseen)}, of "
        f"fitted ones {fit['training_log_likelihood']:.4g}; {fit['steps']} steps, the best "
        f"{fit['best_step']}{', diverged' if fit['diverged'] else ''}",
    ]
    table = "\n".join(lines) + "\n"
    for name, share in content["gap_closed"].items():
        table += f"\nBy {name}, the fitted prior closes {100 * share:.1f} % of KL[q(z) ‖ p(z)].\n"
    if scores:
        table += "\n" + comparison_table({name: one.to_dict() for name, one in scores.items()})
    return table


def _shown(value: float | None, error: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if error is None else f"{value:.4g} ± {error:.2g}"

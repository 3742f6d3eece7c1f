"""The work of `tfdm-estimate-kl`: posteriors, bounds, estimates, and what is written of them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import numpy as np

from tfdm.errors import UserError
from tfdm.estimators import importance_weighted_bound, posterior_bounds
from tfdm.estimators.registry import ESTIMATORS, Task
from tfdm.estimators.tables import estimates_table, plot_estimates
from tfdm.experiments import kl_sources
from tfdm.experiments.kl_pictures import importance_weights, ordered_samples
from tfdm.progress import progress_bar
from tfdm.runs.atomic import atomic_write_bytes, atomic_write_json, atomic_write_text, json_ready
from tfdm.runs.provenance import command, git_revision, versions
from tfdm.statistics import digest

if TYPE_CHECKING:
    from tfdm.cli.estimate_kl import KLRequest

RESULT_NAME = "kl.json"


def estimate(request: KLRequest) -> str:
    """Runs the estimators that are asked for; returns the table.

    Raises:
      UserError: the posteriors cannot be had, or the folder cannot be written.
    """
    source = _read_source(request)
    content = _bounds(source)
    with _locked(request.output_dir):
        content["estimates"] = _earlier_estimates(request.output_dir, content)
        for name in request.configs:
            key = f"{name}:{request.label}" if request.label else name
            content["estimates"][key] = _run_estimator(request, source, name, key)
            _write(request.output_dir, content, source.name)
        if request.log_likelihood_samples:
            content["log_likelihood"] = _log_likelihood(request, source)
        if source.run is not None and source.train.scale is not None:
            picture = ordered_samples(source.run.model, source.train, request.seed)
            atomic_write_bytes(request.output_dir / "kl_samples.png", picture)
        _write(request.output_dir, content, source.name)
    return f"{source.name}\n\n{estimates_table(content)}\n{request.output_dir / RESULT_NAME}\n"


def _read_source(request: KLRequest) -> kl_sources.Source:
    if request.posterior is not None:
        source = kl_sources.read_posterior_file(request.posterior)
    else:
        with progress_bar("encoding", "image") as progress:
            source = kl_sources.read_run(
                str(request.run), request.data_dir, request.cache_dir, progress
            )
    if source.train.scale is None:
        needing = [name for name in request.configs if ESTIMATORS[name].needs_density]
        if len(needing) == len(request.configs):
            raise UserError(
                f"the encoder of {request.run} has no density, which {' and '.join(needing)} "
                "needs: choose --estimators=density_ratio,gmm,maf,lstm"
            )
    return source


def _bounds(source: kl_sources.Source) -> dict[str, Any]:
    """Returns the top level of `kl.json`: eq. 5 for the training images, null without density."""
    train, held_out = source.train, source.held_out
    num_data, num_latents = train.loc.shape if train.loc.ndim == 2 else (0, 0)
    content: dict[str, Any] = {
        "source": source.record,
        "posterior_digest": digest(train.loc, *([] if train.scale is None else [train.scale])),
        "num_latents": num_latents,
        "num_data": num_data,
        "average_kl": None,
        "average_kl_per_dimension": None,
        "log_num_data": float(np.log(num_data)) if num_data else None,
        "minimum_marginal_kl": None,
        "versions": versions(),
        "git_revision": git_revision(),
    }
    if train.scale is None:
        return content
    try:
        bounds = posterior_bounds(train.loc, train.scale)
        content |= json_ready(dataclasses.asdict(bounds))
        if held_out is not None and held_out.scale is not None:
            other = posterior_bounds(held_out.loc, held_out.scale)
            content["held_out"] = {"num_data": other.num_data, "average_kl": other.average_kl}
    except ValueError as error:
        raise UserError(f"the posteriors are of no use: {error}") from None
    return content


def _run_estimator(
    request: KLRequest, source: kl_sources.Source, name: str, key: str
) -> dict[str, Any]:
    estimator = ESTIMATORS[name]
    if estimator.needs_density and source.train.scale is None:
        return {"kl": None, "reason": "the posterior has no density"}
    config = request.configs[name]
    start = time.perf_counter()
    with progress_bar(key, "sample" if estimator.needs_density else "step") as progress:
        try:
            record = estimator.run(
                Task(
                    source=source,
                    config=config,
                    seed=request.seed,
                    strategy=request.strategy,
                    state=request.output_dir / f".{key.replace(':', '.')}.state.json",
                    progress=progress,
                )
            )
        except ValueError as error:
            raise UserError(f"{key}: {error}") from error
    return {
        **json_ready(record),
        "config": dataclasses.asdict(config),
        "seed": request.seed,
        "wall_seconds": round(time.perf_counter() - start, 1),
        "command": command(),
    }


def _log_likelihood(request: KLRequest, source: kl_sources.Source) -> dict[str, Any]:
    weights = importance_weights(source, request.seed)
    with progress_bar("log-likelihood", "image") as progress:
        bound = importance_weighted_bound(
            weights,
            len(source.held_out_images) if source.held_out_images is not None else 0,
            request.log_likelihood_samples,
            progress=progress,
        )
    return dataclasses.asdict(bound)


def _earlier_estimates(folder: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Returns the estimates that stand in the folder; they must be of the same posteriors."""
    path = folder / RESULT_NAME
    if not path.exists():
        return {}
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
        estimates, other = earlier["estimates"], earlier["posterior_digest"]
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"{path} is damaged: move it away, or choose another --output_dir"
        ) from None
    if other != content["posterior_digest"]:
        raise UserError(
            f"{path} is about other posteriors (was the run trained on?): move it away, or choose "
            "another --output_dir"
        )
    if "log_likelihood" in earlier:
        content["log_likelihood"] = earlier["log_likelihood"]
    return estimates


def _write(folder: Path, content: dict[str, Any], title: str) -> None:
    atomic_write_json(folder / RESULT_NAME, content)
    atomic_write_text(folder / "kl.md", estimates_table(content))
    atomic_write_bytes(folder / "kl.png", plot_estimates(content, title))


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Makes the folder and keeps other writers out of it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / ".kl.lock")
        with lock.acquire(blocking=False):
            yield
    except filelock.Timeout:
        raise UserError(f"{folder} is in use by another estimate: wait for it to end") from None
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise UserError(f"cannot write into {folder}: {error.strerror}") from None

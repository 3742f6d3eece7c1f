"""Pieces of work behind the tables and figures: trainings, estimates, evaluations, sweeps.

Each knows where its result stands, whether it is complete, and how to make it with the functions of
`tfdm`. Two artifacts that need the same piece share it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tfdm.experiments.config import RunConfig
from tfdm.reproduction.scales import Scale
from tfdm.runs import RunFolder
from tfdm.runs.folder import MAY_CHANGE, NOT_COMPARED
from tfdm.runs.results import differences, read_json

Options = tuple[tuple[str, Any], ...]


@dataclasses.dataclass(frozen=True)
class Workspace:
    """Where a reproduction stands, and at which scale.

    Attributes:
      folder: holds `runs/`, `gaussians/`, `evaluations/` and `sweeps/`.
      scale: how much work is done.
      data_dir, cache_dir: where data sets are read from and prepared; `None` as in `train`.
      progress: whether bars are shown.
    """

    folder: Path
    scale: Scale
    data_dir: str | None = None
    cache_dir: str | None = None
    progress: bool = True

    def run_folder(self, training: Training) -> Path:
        """Returns the run folder of a training."""
        return self.folder / "runs" / training.name


class Work(Protocol):
    """A piece of work."""

    @property
    def name(self) -> str:
        """What it is called in plans and errors; unique."""
        ...

    @property
    def needs(self) -> tuple[Work, ...]:
        """The pieces that must be complete before it."""
        ...

    def result(self, workspace: Workspace) -> Mapping[str, Any] | None:
        """Returns its numbers by field, `None` while it is not complete."""
        ...

    def do(self, workspace: Workspace) -> None:
        """Completes it; `UserError` or `DivergedError` where that is impossible."""
        ...


@dataclasses.dataclass(frozen=True)
class Training:
    """A training run; `options` are fields that differ from the defaults of the scale."""

    model: str
    dataset: str
    options: Options = ()

    @property
    def name(self) -> str:
        """The name of its folder."""
        return "-".join([self.model, self.dataset, *(f"{k}={v}" for k, v in self.options)])

    @property
    def needs(self) -> tuple[Work, ...]:
        """Nothing."""
        return ()

    def config(self, workspace: Workspace) -> RunConfig:
        """Returns the configuration at the scale of the workspace."""
        scale = workspace.scale
        values: dict[str, Any] = {**scale.training, "steps": scale.steps[self.dataset]}
        values |= {**scale.own.get(self.model, {}), **dict(self.options)}
        if workspace.data_dir is not None:
            values["data_dir"] = workspace.data_dir
        return RunConfig.of(
            values,
            model=self.model,
            dataset=scale.dataset(self.dataset),
            output_dir=str(workspace.run_folder(self)),
            cache_dir=workspace.cache_dir,
        )

    def result(self, workspace: Workspace) -> Mapping[str, Any] | None:
        """Returns the final terms, `steps` and `wall_seconds` of a run that is long enough."""
        folder, config = RunFolder(workspace.run_folder(self)), self.config(workspace)
        if not (folder.config_path.is_file() and folder.summary_path.is_file()):
            return None
        # What the images decide is not known here.
        asked = {key: value for key, value in config.flat().items() if value is not None}
        recorded = {**config.default_flat(), **folder.read_config()}
        recorded = {key: recorded.get(key) for key in asked}
        summary = read_json(folder.summary_path)
        is_other = differences(recorded, asked, NOT_COMPARED | MAY_CHANGE | {"steps"})
        if is_other or summary["steps"] < config.steps:
            return None
        return {**summary["final"], **{key: summary[key] for key in ("steps", "wall_seconds")}}

    def do(self, workspace: Workspace) -> None:
        """Trains it, or resumes it."""
        from tfdm.experiments.train import train_run

        train_run(self.config(workspace), progress=workspace.progress)


@dataclasses.dataclass(frozen=True)
class KLEstimate:
    """An estimate of KL[q(z) ‖ p(z)] of a run by one estimator, under a label of its own."""

    run: Training
    estimator: str
    label: str = ""
    options: Options = ()

    @property
    def name(self) -> str:
        """The run and the key in its `kl.json`."""
        return f"{self.run.name}: {self.key}"

    @property
    def key(self) -> str:
        """The key of the record in `kl.json`."""
        return f"{self.estimator}:{self.label}" if self.label else self.estimator

    @property
    def needs(self) -> tuple[Work, ...]:
        """The trained run."""
        return (self.run,)

    def content(self, workspace: Workspace) -> dict[str, Any] | None:
        """Returns the `kl.json` of the run, `None` without it."""
        path = workspace.run_folder(self.run) / "kl.json"
        return read_json(path) if path.is_file() else None

    def result(self, workspace: Workspace) -> Mapping[str, Any] | None:
        """Returns the bounds and the record, with values in nats and in nats a dimension."""
        content = self.content(workspace)
        record = (content or {}).get("estimates", {}).get(self.key)
        if content is None or record is None:
            return None
        asked = json.loads(json.dumps(self._fields(workspace)))
        if any(record["config"].get(field) != value for field, value in asked.items()):
            return None
        bounds = {key: value for key, value in content.items() if key != "estimates"}
        bounds["minimum_per_dimension"] = _ratio(
            content.get("minimum_marginal_kl"), content["num_latents"]
        )
        return bounds | record

    def do(self, workspace: Workspace) -> None:
        """Estimates it, beside the other estimates of the run."""
        from tfdm.experiments.estimate_kl import estimate_kl

        folder = workspace.run_folder(self.run)
        estimate_kl(
            folder,
            estimators=(self.estimator,),
            label=self.label,
            fields={self.estimator: self._fields(workspace)},
            output_dir=str(folder),
            cache_dir=workspace.cache_dir,
            progress=workspace.progress,
        )

    def _fields(self, workspace: Workspace) -> dict[str, Any]:
        return {**workspace.scale.estimators.get(self.estimator, {}), **dict(self.options)}


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """A metric of the samples of a run, or of the test images, perhaps with noise added."""

    samples: Training | str  # a run, or a data set
    metric: str
    noise: float = 0.0

    @property
    def name(self) -> str:
        """The samples and the metric."""
        return f"{self.title}: {self.metric}"

    @property
    def title(self) -> str:
        """What the samples are called."""
        if isinstance(self.samples, Training):
            return self.samples.name
        return f"{self.samples}-test" + (f"-noise{self.noise:g}" if self.noise else "")

    @property
    def needs(self) -> tuple[Work, ...]:
        """The trained run, if it is of one."""
        return (self.samples,) if isinstance(self.samples, Training) else ()

    def folder(self, workspace: Workspace) -> Path:
        """Returns the folder of its `evaluation.json`."""
        if isinstance(self.samples, Training):
            return workspace.run_folder(self.samples)
        return workspace.folder / "evaluations" / self.title

    def result(self, workspace: Workspace) -> Mapping[str, Any] | None:
        """Returns the record of the metric."""
        path = self.folder(workspace) / "evaluation.json"
        return read_json(path).get("metrics", {}).get(self.metric) if path.is_file() else None

    def do(self, workspace: Workspace) -> None:
        """Measures it, beside the other metrics of the samples."""
        from tfdm.experiments.evaluate import evaluate

        scale = workspace.scale
        options: dict[str, Any] = {}
        if isinstance(self.samples, str):
            options = {"dataset": scale.dataset(self.samples), "noise": self.noise}
            if workspace.data_dir is not None:
                options["data_dir"] = workspace.data_dir
        is_run = isinstance(self.samples, Training)
        fields = {self.metric: scale.metrics[self.metric]} if self.metric in scale.metrics else {}
        evaluate(
            str(self.folder(workspace)) if is_run else "test",
            metrics=(self.metric,),
            num_samples=scale.num_samples if is_run else None,
            fields=fields,
            output_dir=str(self.folder(workspace)),
            cache_dir=workspace.cache_dir,
            progress=workspace.progress,
            **options,
        )


@dataclasses.dataclass(frozen=True)
class Gaussians:
    """The synthetic experiment of section 5 under one setting of its classifier."""

    name: str
    options: Options = ()

    @property
    def needs(self) -> tuple[Work, ...]:
        """Nothing."""
        return ()

    def records(self, workspace: Workspace) -> Mapping[str, Any] | None:
        """Returns the records by dimension and setting, `None` while some are missing."""
        path = workspace.folder / "gaussians" / self.name / "results.json"
        if not path.is_file():
            return None
        content, config = read_json(path), self._config(workspace)
        is_long = content["config"]["steps"] >= config["steps"]
        done = content["results"]
        dims = [str(dim) for dim in config["dims"]]
        return done if is_long and all(len(done.get(dim, {})) == 2 for dim in dims) else None

    def result(self, workspace: Workspace) -> Mapping[str, Any] | None:
        """Returns means over the seeds by `DIMENSION/SETTING/SERIES`, at the last evaluation."""
        records = self.records(workspace)
        if records is None:
            return None
        flat: dict[str, Any] = {}
        for dim, of_dim in records.items():
            for setting, record in of_dim.items():
                flat[f"{dim}/{setting}/initial_kl"] = float(np.mean(record["initial_kl"]))
                for series in ("true_kl", "estimate"):
                    flat[f"{dim}/{setting}/{series}"] = record[series]["mean"][-1]
        return flat

    def do(self, workspace: Workspace) -> None:
        """Runs it, or resumes it."""
        from tfdm.experiments.synthetic_gaussians import synthetic_gaussians

        folder = workspace.folder / "gaussians" / self.name
        synthetic_gaussians(
            self._config(workspace), output_dir=str(folder), progress=workspace.progress
        )

    def _config(self, workspace: Workspace) -> dict[str, Any]:
        return {**workspace.scale.gaussians, **dict(self.options)}


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A sweep of a model's hyperparameters (Table 5), each trial evaluated by `metrics`."""

    model: str
    dataset: str
    metrics: tuple[str, ...]

    @property
    def name(self) -> str:
        """The model, the data set, and what it is."""
        return f"{self.model}-{self.dataset}: sweep"

    @property
    def needs(self) -> tuple[Work, ...]:
        """Nothing."""
        return ()

    def folder(self, workspace: Workspace) -> Path:
        """Returns the folder of the sweep, which models share."""
        return workspace.folder / "sweeps" / self.dataset

    def result(self, workspace: Workspace) -> Mapping[str, Any] | None:
        """Returns the record of the model in `sweep.json`, no trials if it is not swept."""
        if self.model not in workspace.scale.swept.get(self.dataset, ()):
            return {"trials": []}
        path = self.folder(workspace) / "sweep.json"
        record = read_json(path)["models"].get(self.model) if path.is_file() else None
        if record is None or any(trial["status"] == "pending" for trial in record["trials"]):
            return None
        return record

    def do(self, workspace: Workspace) -> None:
        """Runs the trials that are missing."""
        from tfdm.experiments.sweep import sweep

        scale = workspace.scale
        options = {**scale.training, **scale.own.get(self.model, {})}
        options |= {"steps": scale.steps[self.dataset], **scale.sweep}
        if workspace.data_dir is not None:
            options["data_dir"] = workspace.data_dir
        sweep(
            self.model,
            scale.dataset(self.dataset),
            metrics=self.metrics,
            num_samples=scale.num_samples,
            fields=scale.metrics,
            output_dir=str(self.folder(workspace)),
            cache_dir=workspace.cache_dir,
            progress=workspace.progress,
            **options,
        )


def _ratio(value: float | None, number: int) -> float | None:
    return None if value is None else value / number

"""The trials of a sweep on Ray Tune: processes of their own, on this machine or a cluster."""

from __future__ import annotations

import dataclasses
import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfdm.errors import DivergedError, UserError
from tfdm.experiments.config import RunConfig
from tfdm.experiments.sweep_config import SweepConfig

# Where Ray keeps its own files while a sweep runs; nothing of ours is read from there.
_RAY_FOLDER = ".ray"


@dataclasses.dataclass(frozen=True)
class Trial:
    """One trial: its folder within that of the sweep, what is swept, and the whole run."""

    folder: str
    fields: Mapping[str, Any]
    config: RunConfig


@dataclasses.dataclass(frozen=True)
class Verdict:
    """How a trial ended: "done", "diverged" or "failed", with the reason of the last two."""

    folder: str
    status: str
    reason: str = ""


def run_trials(
    trials: Sequence[Trial],
    evaluation: Mapping[str, Any],
    config: SweepConfig,
    folder: Path,
    register: Sequence[str],
    note: Callable[[Verdict], None],
    progress: bool,
) -> None:
    """Runs trials by Ray Tune; returns when all of them have ended.

    Args:
      trials: what runs, in this order.
      evaluation: the options of `tfdm.evaluate` for each.
      config: how many run at a time, and where.
      folder: the folder of the sweep, where Ray keeps its own files meanwhile.
      register: Python files that make models known.
      note: is called with the verdict on each trial when it ends.
      progress: whether a table of the trials is shown.

    Raises:
      UserError: Ray is not installed, or there is no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        from ray import tune
    except ImportError:
        raise UserError("sweeps need Ray: pip install 'tfdm[sweep]'") from None
    threads = _threads(config)
    environment = {
        "TF_NUM_INTRAOP_THREADS": str(threads),
        "TF_NUM_INTEROP_THREADS": str(threads),
        "OMP_NUM_THREADS": str(threads),
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    by_folder = {trial.folder: trial for trial in trials}

    class _Notes(tune.Callback):
        """Hands the verdict on each trial to the sweep."""

        def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
            result = trial.last_result
            note(Verdict(trial.config["folder"], result["status"], result["reason"]))

        def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
            note(Verdict(trial.config["folder"], "failed", _last_line(trial)))

    def trial_of(point: dict[str, Any]) -> dict[str, Any]:
        status, reason = run_trial(by_folder[point["folder"]], evaluation, register)
        return {"status": status, "reason": reason}

    try:
        ray.init(
            address=config.ray_address,
            num_cpus=None if config.ray_address else threads * max(1, config.concurrent),
            runtime_env={"env_vars": environment},
            include_dashboard=False if config.ray_address is None else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, ValueError) as error:
        raise UserError(f"no Ray cluster answers at {config.ray_address}: {error}") from None
    try:
        tuner = tune.Tuner(
            tune.with_resources(trial_of, {"cpu": threads}),
            param_space={"folder": tune.grid_search(list(by_folder))},
            tune_config=tune.TuneConfig(
                trial_name_creator=lambda trial: Path(trial.config["folder"]).name,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                storage_path=str(folder.resolve()),
                name=_RAY_FOLDER,
                callbacks=[_Notes()],
                verbose=1 if progress else 0,
            ),
        )
        tuner.fit()
    finally:
        ray.shutdown()
        shutil.rmtree(folder / _RAY_FOLDER, ignore_errors=True)


def run_trial(
    trial: Trial, evaluation: Mapping[str, Any], register: Sequence[str]
) -> tuple[str, str]:
    """Trains and evaluates one trial in this process; returns its status and a reason."""
    from tfdm.experiments.evaluate import evaluate
    from tfdm.experiments.train import train_run
    from tfdm.models.registry import register_file

    for path in register:
        register_file(path)
    try:
        train_run(trial.config, progress=False)
        evaluate(trial.config.folder, output_dir=trial.config.folder, progress=False, **evaluation)
    except DivergedError as error:
        return "diverged", str(error)
    except UserError as error:
        return "failed", str(error)
    return "done", ""


def _threads(config: SweepConfig) -> int:
    """The threads of TensorFlow of one trial: the cores of this machine, divided."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (cores or 1) // max(1, config.concurrent))


def _last_line(trial: Any) -> str:
    """The last line of what Ray knows of a trial's failure."""
    path = trial.error_file
    if path is None or not Path(path).is_file():
        return "its process ended"
    lines = Path(path).read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "its process ended")

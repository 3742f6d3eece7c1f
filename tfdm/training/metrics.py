"""The numbers of a run: `metrics.jsonl`, TensorBoard, and the time it took."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from tfdm.runs import RunFolder
from tfdm.runs.folder import MAY_CHANGE
from tfdm.training.callbacks import StepCallback
from tfdm.training.held_out import HeldOutTerms

# A log belongs to the first of these that is a word of its name.
_GROUPS = ("loss", "accuracy", "kl")

# What is recorded beside `MAY_CHANGE` and is no hyperparameter.
_EXECUTION = {"steps_per_execution"}


class RunClock:
    """Wall time of a run; `earlier_seconds` are those up to the state that it resumes."""

    def __init__(self, earlier_seconds: float = 0.0) -> None:
        self._origin = time.monotonic() - earlier_seconds

    def seconds(self) -> float:
        """Seconds of all sessions until now."""
        return time.monotonic() - self._origin


@dataclasses.dataclass(eq=False)
class MetricsLogger(StepCallback):
    """Writes the logs of a step, and terms on held-out images, to `metrics.jsonl` and TensorBoard.

    A line holds `step`, `wall_seconds` of the run, `steps_per_second` since the line before (null
    where there was but one execution), every log, and where they are due the held-out terms.
    """

    every: int  # steps between two lines; the last step has one in any case
    folder: RunFolder
    writer: tf.summary.SummaryWriter
    clock: RunClock
    held_out: HeldOutTerms | None = None
    # The mean of this session after its first execution, in which the step is traced.
    steps_per_second: float | None = dataclasses.field(default=None, init=False)
    _first: tuple[int, float] | None = dataclasses.field(default=None, init=False)
    _last: tuple[int, float] | None = dataclasses.field(default=None, init=False)

    def after_steps(self, previous: int, logs: dict[str, Any]) -> None:
        if self._first is None:
            self._first = self._last = self.step, self.clock.seconds()
        held_out: dict[str, float] = {}
        if self.held_out is not None and self.is_due(previous, self.held_out.every):
            held_out = self.held_out.of(self.model)
        if held_out or self.is_due(previous, self.every):
            self._write(read_logs(logs) | held_out)

    def on_train_end(self, logs: Any = None) -> None:
        """Takes the mean rate, checkpoints and grids of the last step included."""
        self.steps_per_second = self._rate_since(self._first, self.clock.seconds())

    def _write(self, values: Mapping[str, float]) -> None:
        now = self.clock.seconds()
        rate = self._rate_since(self._last, now)
        self._last = self.step, now
        record = {"step": self.step, "wall_seconds": round(now, 3), "steps_per_second": rate}
        self.folder.append_metrics({**record, **values})
        # NumPy's numbers: TensorFlow keeps every Python number that becomes a tensor.
        with self.writer.as_default(step=np.int64(self.step)):
            for name, value in values.items():
                tf.summary.scalar(tag_of(name), np.float32(value))
            if rate is not None:
                tf.summary.scalar("speed/steps_per_second", np.float32(rate))
        self.writer.flush()

    def _rate_since(self, mark: tuple[int, float] | None, now: float) -> float | None:
        if mark is None or self.step == mark[0]:
            return None
        return round((self.step - mark[0]) / max(now - mark[1], 1e-9), 3)


def tag_of(name: str) -> str:
    """Returns the tag of a log in TensorBoard, which shows tags by what stands before the slash."""
    words = name.split("_")
    return f"{next((group for group in _GROUPS if group in words), 'terms')}/{name}"


def read_logs(logs: Mapping[str, Any]) -> dict[str, float]:
    """Returns the logs of a step as numbers; waits for the device."""
    return {name: float(value) for name, value in logs.items()}


def last_record(folder: RunFolder) -> dict[str, Any]:
    """Returns the last line of `metrics.jsonl`, empty where there is none."""
    if not folder.metrics_path.exists():
        return {}
    lines = folder.metrics_path.read_text(encoding="utf-8").splitlines()
    return json.loads(lines[-1]) if lines else {}


def losses_of(record: Mapping[str, Any]) -> dict[str, float]:
    """Returns the logs in a line of `metrics.jsonl`, without what is no log."""
    ours = ("step", "wall_seconds", "steps_per_second")
    return {name: value for name, value in record.items() if name not in ours}


def begin_session(
    writer: tf.summary.SummaryWriter, flat: Mapping[str, Any], trial_id: str, step: int
) -> None:
    """Begins a session of a run, whose first step is `step`, in TensorBoard.

    TensorBoard then drops what an earlier session, which was killed, wrote of this step and later
    ones. The hyperparameters are shown as run `trial_id`: the numbers, texts and truth values of
    the configuration that decide the weights; intervals and places do not.
    """
    log = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
    event = tf.compat.v1.Event(wall_time=time.time(), step=step, session_log=log)
    # The public functions of TensorFlow 2 write summaries alone.
    tf.raw_ops.ImportEvent(writer=writer._resource, event=event.SerializeToString())
    shown = {name: v for name, v in flat.items() if isinstance(v, (bool, int, float, str))}
    shown = {name: v for name, v in shown.items() if name not in MAY_CHANGE | _EXECUTION}
    summary = hparams.hparams_pb(shown, trial_id=trial_id).SerializeToString()
    with writer.as_default():
        # Not `hparams`, which writes at step 0.
        tf.summary.experimental.write_raw_pb(summary, step=np.int64(step))
    writer.flush()

"""The folder of one run: its configuration, metrics, summary, and the lock of its writer.

    config.json   the resolved configuration, flat     checkpoints/   rotating states
    metrics.jsonl one line per logging step            weights/       last.weights.h5
    summary.json  how the run ended                    tensorboard/   scalars and grids
    samples/, reconstructions/, canvases/  PNG grids   export/        SavedModels
    fitted_prior.json  of a run whose prior was fitted after training: what that changed

A process that is killed at any moment leaves a folder that the next start accepts.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tfdm.errors import UserError
from tfdm.runs import atomic
from tfdm.runs.results import differences, locked, read_json, writing

# What a folder may record without deciding the weights that come out of the run.
NOT_COMPARED = frozenset({"versions", "git_revision", "command", "num_images", "model_source"})
# What may change when a run is resumed, and is then recorded anew: the same weights come out.
MAY_CHANGE = frozenset(
    {
        "log_every",
        "sample_every",
        "checkpoint_every",
        "strategy",
        "deterministic",
        "preset",
        "data_dir",
    }  # fmt: skip
)


class RunFolder:
    """One run folder and the paths in it; making the object touches nothing on disk.

    The file at `config_path` makes a folder a run folder; its writer holds `lock_path` locked.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.config_path = self.path / "config.json"
        self.metrics_path = self.path / "metrics.jsonl"
        self.summary_path = self.path / "summary.json"
        self.checkpoints = self.path / "checkpoints"
        self.weights = self.path / "weights"
        self.tensorboard = self.path / "tensorboard"
        self.samples = self.path / "samples"
        self.reconstructions = self.path / "reconstructions"
        self.canvases = self.path / "canvases"
        self.export = self.path / "export"
        self.lock_path = self.path / ".lock"

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    def last_grid(self, name: str) -> Path | None:
        """Returns the newest grid of `samples` or `reconstructions`, `None` where there is none."""
        grids = (self.path / name).glob("step_*.png")
        return max(grids, default=None, key=lambda path: (len(path.name), path))

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunFolder:
        """Returns the folder of an earlier run; `UserError` with runs near by if there is none."""
        folder = cls(path)
        if not folder.config_path.is_file():
            problem = "is not a run folder" if folder.path.exists() else "does not exist"
            raise UserError(f"{folder.path} {problem}: {_runs_near(folder.path)}")
        folder.read_config()
        return folder

    def create(self) -> None:
        """Makes the folder if it is missing; `UserError` where it cannot hold a run."""
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            entries = (entry for entry in self.path.iterdir() if not atomic.is_leftover(entry))
            foreign = sorted({entry.name for entry in entries} - {self.lock_path.name})
            probe = self.path / f"{atomic.TEMPORARY_PREFIX}probe-{os.getpid()}"
            probe.touch()
            probe.unlink(missing_ok=True)
        if foreign and not self.config_path.is_file():
            raise UserError(
                f"{self.path} holds {foreign[0]!r} but no run: "
                "choose an --output_dir that is new, empty or a run to resume"
            )

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the folder for one writer (see `locked`); removes what a killed writer left.

        Call `create` before.
        """
        with locked(self.path, self.lock_path.name):
            atomic.remove_leftovers(self.path)
            yield

    def discard_if_unused(self) -> None:
        """Removes the folder again if no more than a configuration came to stand in it.

        So a start that was refused late leaves nothing that would refuse the next one. A folder
        that another process holds is left alone.
        """
        with contextlib.suppress(OSError):
            self.path.rmdir()  # fails, and is meant to, on a folder that holds anything
        if self.lock_path.exists():
            with contextlib.suppress(OSError, UserError), self.lock():
                names = {entry.name for entry in self.path.iterdir()}
                if names <= {self.lock_path.name, self.config_path.name}:
                    self.config_path.unlink(missing_ok=True)
                    self.lock_path.unlink()
                    self.path.rmdir()

    def read_config(self) -> dict[str, Any]:
        """Returns the recorded configuration; raises `UserError` when it cannot be read."""
        return read_json(self.config_path, advice="start a new run")

    def record(self, **fields: Any) -> None:
        """Records fields of the configuration anew."""
        atomic.atomic_write_json(self.config_path, self.read_config() | fields)

    def check_config(
        self, flat: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
    ) -> None:
        """Checks fields against the recorded configuration, if there is one.

        Args:
          flat: some or all fields of a configuration; those that it lacks are not compared.
          defaults: the values of fields that the folder does not record, since the version that
            made it did not know them.

        Raises:
          UserError: a field differs; the line lists every one as `name: recorded -> asked`.
        """
        if self.config_path.exists():
            recorded = {**(defaults or {}), **self.read_config()}
            self._compare({name: recorded[name] for name in recorded if name in flat}, flat)

    def claim_config(
        self, flat: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Records a new run's configuration, or checks that the folder's run has the same one.

        A run may be resumed with more `steps` and with other values of `MAY_CHANGE`, which are
        then recorded anew.

        Args:
          flat: the whole configuration, with what else decides the weights (`dataset_digest`)
            and what is only worth knowing (`NOT_COMPARED`).
          defaults: as for `check_config`, whose errors are raised too.

        Returns:
          The configuration as it stood in `config.json` before; `flat` for a new run.
        """
        asked: dict[str, Any] = atomic.json_ready(dict(flat))
        if not self.config_path.exists():
            atomic.atomic_write_json(self.config_path, asked)
            return asked
        before = self.read_config()
        recorded = {**(defaults or {}), **before}
        self._compare(recorded, asked)
        changed = {name: asked.get(name) for name in MAY_CHANGE | {"steps"}}
        recorded |= {name: value for name, value in changed.items() if value is not None}
        if recorded != before:
            atomic.atomic_write_json(self.config_path, recorded)
        return before

    def _compare(self, recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
        """Refuses what decides the weights and differs; fewer steps do, more go on with a run."""
        before, after = recorded.get("steps"), asked.get("steps")
        goes_on = isinstance(before, int) and isinstance(after, int) and after >= before
        ignored = NOT_COMPARED | MAY_CHANGE | ({"steps"} if goes_on else set())
        found = differences(recorded, asked, ignored)
        if found:
            raise UserError(
                f"{self.path} holds a run with another configuration "
                f"({'; '.join(found)}): choose another --output_dir or the recorded values"
            )

    def append_metrics(self, record: Mapping[str, Any]) -> None:
        """Appends numbers by name, `step` among them, as one line to `metrics.jsonl`."""
        if not isinstance(record.get("step"), int):
            raise ValueError(f"step is {record.get('step')!r}, expected a whole number")
        line = json.dumps(atomic.json_ready(dict(record)), allow_nan=False) + "\n"
        with atomic.writing_at(self.metrics_path):
            with self.metrics_path.open("a", encoding="utf-8") as file:
                file.write(line)

    def logged_step(self) -> int:
        """Returns the last step in `metrics.jsonl`, 0 where there is none."""
        return max(filter(None, map(_logged_step, self._metrics_lines())), default=0)

    def truncate_metrics(self, step: int) -> None:
        """Drops the lines of steps after `step`, and a line that was cut when a writer died."""
        if self.metrics_path.exists():
            steps = ((_logged_step(line), line) for line in self._metrics_lines())
            kept = [line for logged, line in steps if logged is not None and logged <= step]
            atomic.atomic_write_bytes(self.metrics_path, b"".join(kept))

    def _metrics_lines(self) -> list[bytes]:
        if not self.metrics_path.exists():
            return []
        return self.metrics_path.read_bytes().splitlines(keepends=True)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Writes `summary.json`."""
        atomic.atomic_write_json(self.summary_path, dict(summary))


def _logged_step(line: bytes) -> int | None:
    """Returns the step of a line of `metrics.jsonl`, `None` where the line was cut or damaged."""
    try:
        step = json.loads(line)["step"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return step if line.endswith(b"\n") and isinstance(step, int) else None


def _runs_near(path: Path) -> str:
    """Says what to give instead of `path`: runs inside it, runs of a like name beside it."""
    inside = _runs_in(path)
    if inside:
        return f"it holds the runs {', '.join(inside)}; give one of them"
    near = difflib.get_close_matches(path.name, _runs_in(path.parent), n=2, cutoff=0.5)
    if near:
        return f"did you mean {' or '.join(str(path.parent / name) for name in near)}?"
    return "give the --output_dir of a training run, the folder that holds its config.json"


def _runs_in(path: Path) -> list[str]:
    try:
        return sorted(child.name for child in path.iterdir() if (child / "config.json").is_file())
    except OSError:
        return []

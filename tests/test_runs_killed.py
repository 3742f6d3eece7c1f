"""SIGKILL at any moment: the next start finds a folder that it can go on from.

A session is killed before its first operation on a file, another before its second, and so on;
after each a session must end as if nothing had happened. This file is the sessions' script too.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

from tfdm.runs import CheckpointStore, RunFolder, atomic

STEPS = 4
CONFIG = {"model": "vae", "steps": STEPS}

# What Python reports, before doing it, of operations that change a folder.
OPERATIONS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree")


def _state(step: int) -> dict[str, np.ndarray]:
    return {"w": np.random.default_rng(step).normal(size=100), "step": np.int64(step)}


def _is_state(arrays: dict[str, np.ndarray], step: int) -> bool:
    expected = _state(step)
    return all(np.array_equal(arrays[name], expected[name]) for name in expected)


def _session(path: str) -> None:
    """What a training run does to its folder, resuming whatever is there."""
    folder = RunFolder(path)
    folder.create()
    with folder.lock():
        folder.claim_config(CONFIG)
        store = CheckpointStore(folder.checkpoints, keep=2)
        checkpoint = store.latest()
        start = 0
        if checkpoint is not None:
            start = checkpoint.step
            if not _is_state(checkpoint.arrays, start):
                raise RuntimeError(f"{checkpoint.path} does not hold what was saved")
        folder.truncate_metrics(start)
        for step in range(start + 1, STEPS + 1):
            folder.append_metrics({"step": step})
            store.save(step, _state(step))
        for content in ("first", "second"):
            with atomic.atomic_directory(folder.export) as export:
                (export / "generator").mkdir()
                (export / "generator" / "model").write_text(content)
        folder.write_summary({"steps": STEPS})


def _kill_before_operation(count: int) -> None:
    """Kills this process just before its operation number `count`, from 0."""
    seen = 0

    def hook(event: str, arguments: tuple) -> None:
        nonlocal seen
        if event in OPERATIONS:
            if seen == count:
                os.kill(os.getpid(), signal.SIGKILL)
            seen += 1

    sys.addaudithook(hook)


def _run(path: str, kill_before: int | None) -> int:
    """Runs a session in a fork and returns its wait status; it may kill itself."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if kill_before is not None:
                _kill_before_operation(kill_before)
            _session(path)
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1]


def _problems(path: Path) -> list[str]:
    """What is not as an undisturbed session leaves it."""
    folder = RunFolder(path)
    leftovers = [entry.name for entry in path.rglob("*") if atomic.is_leftover(entry)]
    steps = [json.loads(line)["step"] for line in folder.metrics_path.read_text().splitlines()]
    checkpoint = CheckpointStore(folder.checkpoints).latest()
    expectations = {
        "configuration": folder.read_config() == CONFIG,
        "metrics": steps == [1, 2, 3, 4],
        "checkpoint": checkpoint is not None and _is_state(checkpoint.arrays, STEPS),
        # Killed between the last save and its rotation: one more stands until the next save.
        "rotation": CheckpointStore(folder.checkpoints).steps() in ([4, 3], [4, 3, 2]),
        "export": (folder.export / "generator" / "model").read_text() == "second",
        "summary": json.loads(folder.summary_path.read_text()) == {"steps": STEPS},
        f"leftovers {leftovers}": not leftovers,
    }
    return [name for name, holds in expectations.items() if not holds]


def _kill_everywhere(scratch: str) -> None:
    """Writes one JSON line for each moment: its number, and what was wrong after the next start."""
    for moment in range(1000):
        path = Path(scratch, str(moment))
        killed = _run(str(path), kill_before=moment)
        if killed not in (0, signal.SIGKILL):
            problems = [f"session ended with status {killed}"]
        elif _run(str(path), kill_before=None) != 0:
            problems = ["the next start failed"]
        else:
            problems = _problems(path)
        record = {"moment": moment, "killed": killed != 0, "problems": problems}
        sys.stdout.write(json.dumps(record) + "\n")
        sys.stdout.flush()  # or the next fork would write it again
        if killed == 0:
            return


def test_killed_before_each_operation(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.test_runs_killed", str(tmp_path)]
    root = Path(__file__).parents[1]
    driver = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
    assert driver.returncode == 0, driver.stderr
    records = [json.loads(line) for line in driver.stdout.splitlines()]
    assert {record["moment"]: record["problems"] for record in records if record["problems"]} == {}
    # The loop went through the whole session: some moments in each of its writes.
    assert [record["killed"] for record in records] == [True] * (len(records) - 1) + [False]
    assert len(records) > 60, driver.stderr


if __name__ == "__main__":
    # A kill, unlike a power cut, loses nothing that was written: no need to wait for the disk.
    os.fsync = lambda descriptor: None
    _kill_everywhere(sys.argv[1])

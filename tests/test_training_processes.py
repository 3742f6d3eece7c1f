"""Training commands as processes: killed, stopped, and two of them as the workers of one run."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tfdm.runs import CheckpointStore

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
OPTIONS = (
    "--model=aae_gan", "--config.width=0.125", "--latent_dim=4", "--batch_size=8", "--steps=60",
    "--log_every=5", "--sample_every=20", "--checkpoint_every=10",
)  # fmt: skip


# Patience with a busy machine.
SECONDS = 900.0

_started: list[subprocess.Popen] = []


@pytest.fixture(autouse=True)
def nothing_is_left_running():
    yield
    for process in _started:
        process.kill()
        process.wait()
    _started.clear()


def start(folder: Path, *options: str, **environment: str) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), f"--output_dir={folder}"]
    with log_of(folder).open("a") as output:
        process = subprocess.Popen(
            [*command, *OPTIONS, *options],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
        )
    _started.append(process)
    return process


def log_of(folder: Path) -> Path:
    return folder.parent / f"{folder.name}.log"


def finish(folder: Path, *options: str) -> None:
    assert start(folder, *options).wait(SECONDS) == 0, log_of(folder).read_text()


def final_checkpoint(folder: Path) -> str:
    """The name of the last one; it carries the digest: equal names are equal bits."""
    checkpoint = CheckpointStore(folder / "checkpoints").latest()
    assert checkpoint.step == 60
    return checkpoint.path.name


def wait_for(process: subprocess.Popen, condition) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert process.poll() is None, "the run ended before it could be disturbed"
        assert time.monotonic() < deadline, "the run did not come so far"
        time.sleep(0.01)


def logged_step(folder: Path) -> int:
    path = folder / "metrics.jsonl"
    steps = re.findall(r'"step": (\d+)', path.read_text()) if path.exists() else []
    return int(steps[-1]) if steps else 0


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "undisturbed"
    finish(folder)
    return folder


def test_a_run_killed_again_and_again_ends_with_the_same_bits(undisturbed, tmp_path):
    folder = tmp_path / "run"
    moments = [
        lambda: (folder / "config.json").exists(),
        lambda: logged_step(folder) >= 15,
        lambda: logged_step(folder) >= 40,
        lambda: (folder / "weights").exists(),
    ]
    for moment in moments:
        process = start(folder)
        wait_for(process, moment)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    finish(folder)
    assert final_checkpoint(folder) == final_checkpoint(undisturbed)
    summaries = [json.loads((f / "summary.json").read_text()) for f in (folder, undisturbed)]
    assert summaries[0]["final"] == summaries[1]["final"]
    for grid in ("samples", "reconstructions"):
        for path in (undisturbed / grid).iterdir():
            assert (folder / grid / path.name).read_bytes() == path.read_bytes()
    assert not list(folder.rglob(".tfdm-*"))


def free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for one in sockets:
            one.bind(("localhost", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def start_workers(folders: list[Path], *options: str) -> list[subprocess.Popen]:
    cluster = {"worker": [f"localhost:{port}" for port in free_ports(len(folders))]}
    return [
        start(
            folder,
            "--strategy=multi_worker",
            *options,
            TF_CONFIG=json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}),
        )
        for index, folder in enumerate(folders)
    ]


def test_two_workers_train_one_model_stop_and_go_on_together(undisturbed, tmp_path):
    """Each has a folder of its own, as on two machines; only the chief's comes to be."""
    folders = [tmp_path / "chief", tmp_path / "other"]
    processes = start_workers(folders)
    wait_for(processes[0], lambda: logged_step(folders[0]) >= 15)
    processes[1].terminate()
    assert [process.wait(SECONDS) for process in processes] == [143, 143]
    stopped_at = CheckpointStore(folders[0] / "checkpoints").steps()[0]
    assert 15 <= stopped_at < 60

    processes = start_workers(folders, "--steps_per_execution=1")
    codes = [process.wait(SECONDS) for process in processes]
    assert codes == [0, 0], log_of(folders[0]).read_text()
    assert not folders[1].exists()

    # Batch norm takes the moments of the global batch: only the order of sums differs.
    expected = CheckpointStore(undisturbed / "checkpoints").latest().arrays
    actual = CheckpointStore(folders[0] / "checkpoints").latest().arrays
    assert actual.keys() == expected.keys()
    kernels = [n for n in expected if n.startswith("model/") and n.endswith("kernel")]
    for name in kernels:
        moved = np.abs(expected[name]).mean()
        assert np.abs(actual[name] - expected[name]).mean() < 0.05 * moved, name


def test_workers_end_together_when_the_chief_is_refused(undisturbed, tmp_path):
    before = (undisturbed / "config.json").read_bytes()
    processes = start_workers([undisturbed, tmp_path / "other"], "--seed=1")
    assert [process.wait(SECONDS) for process in processes] == [2, 2]
    assert (undisturbed / "config.json").read_bytes() == before
    assert "the chief worker refused" in (tmp_path / "other.log").read_text()

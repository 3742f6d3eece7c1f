"""What the machine does to commands: kills, signals, full disks, damaged files, a second command.

Every command ends right or with one line, and the next start finds what it can go on from.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfdm
from tests.tiny_evaluation import write_classifier, write_pictures
from tfdm.cli.train import main as train
from tfdm.datasets import load_dataset
from tfdm.errors import UserError
from tfdm.estimators import monte_carlo_kl
from tfdm.eval import load_classifier
from tfdm.runs import CheckpointStore
from tfdm.runs.sums import is_intact
from tfdm.statistics import digest
from tfdm.training.state import capture_state

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
SECONDS = 900.0  # Patience with a busy machine.
TINY = ("--model=vae", "--config.width=0.015625", "--latent_dim=3", "--batch_size=8")
STEPS = ("--steps=60", "--log_every=5", "--sample_every=20", "--checkpoint_every=10")

# By command: its arguments, the file that tells that it is at work, and its result.
COMMANDS: dict[str, tuple[list[str], str, str]] = {
    "train": (["--output_dir={new}", *TINY, *STEPS], "metrics.jsonl", "metrics.jsonl"),
    "export": (["--run={run}"], ".lock", "export/generator/saved_model.pb"),
    "sample": (["--run={run}", "--num=2000"], "generated", "generated/samples.npz"),
    "estimate_kl": (
        ["--run={run}", "--output_dir={new}", "--estimators=monte_carlo,gmm",
         "--monte_carlo.num_samples=400000"],
        ".monte_carlo.state.json", "kl.json",
    ),
    "evaluate": (
        ["--run={run}", "--output_dir={new}", "--num_samples=40",
         "--metrics=frechet_distance,wasserstein_critic", "--wasserstein_critic.width=0.0625",
         "--wasserstein_critic.steps=60", "--wasserstein_critic.num_seeds=2"],
        ".evaluation.lock", "evaluation.json",
    ),
    "synthetic_gaussians": (
        ["--output_dir={new}", "--dims=1", "--steps=400", "--num_seeds=2", "--width=16"],
        "config.json", "results.json",
    ),
    "report": (["--runs={run}", "--output_dir={new}"], "README.md", "README.md"),
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run that is complete; to be read only."""
    folder = tmp_path_factory.mktemp("machine") / "run"
    assert train([f"--output_dir={folder}", *TINY, "--steps=4", "--log_every=2"]) == 0
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """The same to be changed."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def start(run: Path, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a command as a process; ends it with the test."""
    started = []

    def start(name: str, *options: str) -> subprocess.Popen[str]:
        arguments = [a.format(run=run, new=tmp_path / "new") for a in COMMANDS[name][0]]
        command = [sys.executable, "-m", "tfdm", name, *arguments, *options]
        pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        started.append(subprocess.Popen(command, cwd=ROOT, text=True, **pipes))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def _numbers(path: Path) -> Any:
    """What a result says, without times and how it came to be."""
    if path.suffix not in (".json", ".jsonl"):
        return path.exists()

    def pruned(value: Any) -> Any:
        if isinstance(value, dict):
            varying = ("wall_seconds", "steps_per_second", "command", "source")
            return {k: pruned(v) for k, v in value.items() if k not in varying}
        return value

    text = path.read_text()
    records = text.splitlines() if path.suffix == ".jsonl" else [text]
    return [pruned(json.loads(record)) for record in records]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_is_stopped_and_killed_ends_as_one_that_is_not(
    name: str, start: Callable[..., subprocess.Popen[str]], run: Path, tmp_path: Path
) -> None:
    arguments, first, result = COMMANDS[name]
    folder = tmp_path / "new" if any("{new}" in argument for argument in arguments) else run
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
        process = start(name)
        deadline = time.monotonic() + SECONDS
        while not (folder / first).exists() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(number)
        status, errors = process.wait(SECONDS), process.communicate()[1]
        assert status in (0, -number, 128 + number), errors
        assert "Traceback" not in errors
        if status == 128 + number:
            assert sum(line.startswith("error: ") for line in errors.splitlines()) == 1, errors
    process = start(name)
    errors = process.communicate(timeout=SECONDS)[1]
    assert process.returncode == 0, errors
    assert not list(tmp_path.rglob(".tfdm-*"))
    disturbed = _numbers(folder / result)
    if folder != run:
        shutil.rmtree(folder)
        process = start(name)
        errors = process.communicate(timeout=SECONDS)[1]
        assert process.returncode == 0, errors
        assert disturbed == _numbers(folder / result)
    if name == "synthetic_gaussians":  # Its bar is not lost with what TensorFlow says.
        assert "estimation, d = 1" in errors


def test_commands_at_work_in_one_run_do_not_disturb_each_other(
    start: Callable[..., subprocess.Popen[str]], run: Path
) -> None:
    in_run = f"--output_dir={run}"
    processes = [start("estimate_kl", in_run), start("evaluate", in_run), start("sample")]
    while any(process.poll() is None for process in processes):
        exporting = start("export")
        assert exporting.wait(SECONDS) == 0, exporting.communicate()[1]
    assert [process.returncode for process in processes] == [0, 0, 0]
    for name in ("kl.json", "evaluation.json", "generated/samples.npz"):
        assert (run / name).is_file()
    assert not list(run.rglob(".tfdm-*"))


def test_of_two_trainings_in_one_folder_one_is_refused(
    start: Callable[..., subprocess.Popen[str]],
) -> None:
    processes = [start("train"), start("train")]
    errors = [process.communicate(timeout=SECONDS)[1] for process in processes]
    statuses = [process.returncode for process in processes]
    assert sorted(statuses) == [0, 2], errors
    assert "is in use by another process" in errors[statuses.index(2)]


# --- Full disks -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system of 8 MiB."""
    folder = tmp_path_factory.mktemp("disk")
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("needs root to mount a file system")
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("cannot mount a file system here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("free", [0, 20, 60, 160, 330])
@pytest.mark.parametrize("name", ["train", "export", "sample", "estimate_kl", "evaluate", "report"])
def test_a_full_disk_is_one_line_that_names_the_folder(
    name: str, free: int, disk: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, new = disk / "run", disk / "new"
    for folder in (run, new):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(finished, run)
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    arguments = [a.format(run=run, new=new) for a in COMMANDS[name][0]]
    arguments = [a for a in arguments if not a.startswith("--monte_carlo.num")]
    if name == "train":  # The end of a run: the last step is trained, its files are missing.
        shutil.rmtree(run / "export")
        shutil.rmtree(run / "weights")
        (run / "summary.json").unlink()
        arguments = [f"--output_dir={run}", *TINY, "--steps=4", "--log_every=2"]
    elif name == "evaluate":  # Features of 4,000 images are 2 MiB.
        arguments = ["--run={run}", "--num_samples=40", "--metrics=frechet_distance"]
        arguments = [a.format(run=run) for a in arguments] + [f"--output_dir={new}"]
    elif name == "estimate_kl":
        arguments = [f"--run={run}", f"--output_dir={new}", "--estimators=monte_carlo"]
        arguments += ["--monte_carlo.num_samples=5000"]
    cache = os.environ["TFDM_CACHE_DIR"]
    (disk / "features").mkdir(exist_ok=True)
    shutil.rmtree(Path(cache, "features"), ignore_errors=True)
    if name == "evaluate":
        Path(cache, "features").symlink_to(disk / "features")
    filler = disk / "filler"
    filler.unlink(missing_ok=True)
    room = shutil.disk_usage(disk).free - 1024 * free
    filler.write_bytes(bytes(max(0, room)))
    try:
        capsys.readouterr()
        status = importlib.import_module(f"tfdm.cli.{name}").main(arguments)
        errors = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    finally:
        filler.unlink()
        if name == "evaluate":
            Path(cache, "features").unlink()
    if status != 0:  # What needs little room may find it.
        assert status == 1 and len(errors) == 1
        assert "No space left on device" in errors[0]
        assert str(disk) in errors[0] or cache in errors[0]
    assert status == 1 or free > 0
    assert not list(disk.rglob(".tfdm-*"))
    for path, content in before.items():
        if not {"export", "weights", "summary.json"} & {*path.relative_to(run).parts}:
            assert path.read_bytes() == content
    for path in (run / "export").glob("*"):
        assert is_intact(path)
    assert tfdm.load_run(run).step == 4
    if status == 1:
        assert importlib.import_module(f"tfdm.cli.{name}").main(arguments) == 0


# --- Damaged files ----------------------------------------------------------------------------

LOC = np.random.default_rng(0).normal(size=(50, 2))


def _weights_alone(folder: Path) -> Any:
    shutil.rmtree(folder / "run" / "checkpoints", ignore_errors=True)
    return _state(folder)


def _state(folder: Path) -> Any:
    state = capture_state(tfdm.load_run(folder / "run").model)
    return digest(*(a for name, a in state.items() if name.startswith("model/")))


def _monte_carlo(folder: Path) -> Any:
    options = {"num_samples": 50_000, "state_path": folder / "state.json", "progress": False}
    return monte_carlo_kl(LOC, np.full_like(LOC, 0.5), **options).kl


def _data(folder: Path) -> Any:
    dataset = load_dataset("image_folder", data_dir=folder / "images", cache_dir=folder / "cache")
    return dataset.digest, digest(*(np.asarray(images) for images in dataset.splits.values()))


def _classified(folder: Path) -> Any:
    images = np.zeros([2, 28, 28, 3], np.uint8)
    return digest(load_classifier(folder / "classifier")(images))


def _featured(folder: Path) -> Any:
    options: dict[str, Any] = {"metrics": ("frechet_distance",), "cache_dir": str(folder / "f")}
    options |= {"reference": folder / "images", "classifier": str(folder / "classifier")}
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, [20, 28, 28, 3], dtype=np.uint8)
    found = tfdm.evaluate(images, resize=True, progress=False, **options)
    return found["frechet_distance"].value


# The files that are damaged, what reads them, and whether a refusal will do.
DAMAGED: dict[str, tuple[Callable[[Path], Any], bool]] = {
    "run/checkpoints/*.npz": (_state, False),  # an older one counts
    "run/weights/last.weights.h5": (_weights_alone, True),
    "run/config.json": (_state, True),
    "state.json": (_monte_carlo, False),
    "cache/*/train.npy": (_data, False),
    "cache/*/meta.json": (_data, False),
    "classifier/*.npz": (_classified, True),
    "f/features/*.npy": (_featured, False),
    "f/features/*.sha256": (_featured, False),
}


@pytest.mark.parametrize("pattern", DAMAGED)
def test_a_damaged_file_gives_the_right_answer_or_one_line(
    pattern: str, run: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    read, may_refuse = DAMAGED[pattern]
    write_pictures(tmp_path / "images", rng.integers(0, 256, [30, 64, 64, 3], dtype=np.uint8))
    write_classifier(tmp_path / "classifier")
    expected = read(tmp_path)
    refused = 0
    path = max(tmp_path.glob(pattern))
    content = path.read_bytes()
    for trial in range(20):
        damaged = bytearray(content)
        for place in rng.integers(len(content), size=1 + trial % 3):
            damaged[place] ^= 1 << rng.integers(8)
        if trial % 4 == 0:
            damaged = damaged[: rng.integers(len(content))]
        path.write_bytes(damaged)
        try:
            found = read(tmp_path)
        except UserError as error:
            assert may_refuse and len(str(error).splitlines()) == 1
            refused += 1
        else:
            # A word of a configuration that still is one is an edit, as a user may make.
            assert found == expected or path.name == "config.json"
        path.write_bytes(content)
    assert read(tmp_path) == expected
    assert not may_refuse or refused > 10


def test_all_checkpoints_may_be_damaged(run: Path) -> None:
    for path in (run / "checkpoints").iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    assert CheckpointStore(run / "checkpoints").latest() is None
    assert tfdm.load_run(run).step == 4  # by its weights
    assert train([f"--output_dir={run}", *TINY, "--steps=8"]) == 2

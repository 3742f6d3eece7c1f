"""Exit statuses, one-line errors, and commands that check before TensorFlow loads."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tfdm.cli.command import how_to_call, run_command
from tfdm.errors import DivergedError, Stopped, Terminated, UserError
from tfdm.experiments.config import resolve_run_config
from tfdm.runs import RunFolder

ROOT = Path(__file__).parents[1]

# Runs command lines one after the other in one process; reports on each, and which heavy packages
# it has imported by then.
PROBE = """
import contextlib, importlib, io, json, sys
records = []
for command, *arguments in json.loads(sys.argv[1]):
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        status = importlib.import_module(f"tfdm.cli.{command}").main(arguments)
    heavy = {"tensorflow", "keras", "tensorflow_probability", "tensorflow_datasets"}
    imported = sorted(heavy & set(sys.modules))
    records.append([status, output.getvalue(), errors.getvalue(), imported])
print(json.dumps(records))
"""


def _raises(error: BaseException) -> Callable[[Sequence[str]], None]:
    def command(arguments: Sequence[str]) -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UserError("bad\nflag:  drop it"), 2, "bad flag: drop it"),
        (DivergedError(7, "loss"), 3, "training diverged: loss is not finite at step 7"),
        (Terminated(15, 9), 143, "stopped by signal 15 after step 9; a checkpoint was written"),
        (Terminated(2, 9), 130, "stopped by signal 2 after step 9; a checkpoint was written"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (Stopped(15), 143, "stopped by signal 15"),
        (OSError(errno.ESTALE, "moved", "x"), 1, f"[Errno {errno.ESTALE}] moved: 'x'"),
        (OSError(28, "No space left on device", "x"), 1, "[Errno 28] No space left on device: 'x'"),
    ],
)
def test_an_error_is_one_line_and_a_status(error, status, line, capsys):
    assert run_command(_raises(error), []) == status
    assert capsys.readouterr() == ("", f"error: {line}\n")


@pytest.mark.parametrize("error", [ValueError("a fault"), FileNotFoundError(2, "gone")])
def test_a_fault_of_the_program_keeps_its_traceback(error):
    with pytest.raises(type(error)):
        run_command(_raises(error), [])


def test_arguments_reach_the_command_and_success_is_zero(monkeypatch):
    seen: list[Sequence[str]] = []
    assert run_command(seen.append, ["--a"]) == 0
    monkeypatch.setattr(sys, "argv", ["tool", "--b"])
    assert run_command(seen.append) == 0
    assert seen == [["--a"], ["--b"]]


def test_what_the_package_logs_is_shown_as_lines(capsys):
    logger = logging.getLogger("tfdm")
    before = (list(logger.handlers), logger.level, logger.propagate)

    def command(arguments: Sequence[str]) -> None:
        logger.warning("skipped %s", "step_00000001.npz")
        logger.info("preparing")
        logger.debug("unseen")

    run_command(command, [])
    assert capsys.readouterr().err == "warning: skipped step_00000001.npz\npreparing\n"
    assert (list(logger.handlers), logger.level, logger.propagate) == before


@pytest.mark.parametrize(
    ("number", "status", "line"),
    [
        (signal.SIGTERM, 143, "error: stopped by signal 15\n"),
        (signal.SIGINT, 130, "error: interrupted\n"),
    ],
)
def test_a_signal_ends_a_command_by_one_line(
    number: signal.Signals, status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    assert run_command(lambda _: signal.raise_signal(number), []) == status
    assert capsys.readouterr() == ("", line)
    assert signal.getsignal(number) is before


def test_an_interrupt_while_a_command_is_imported_is_one_line() -> None:
    code = "import signal, tfdm.cli; signal.raise_signal(signal.SIGINT)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "error: interrupted\n")


def test_commands_are_named_as_called(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/tfdm-train"])
    assert how_to_call("export") == "tfdm-export"
    (tmp_path / "export.py").touch()
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "train.py")])
    assert how_to_call("export") == f"python {tmp_path / 'export.py'}"


def _run(lines: Sequence[Sequence[str]], cwd: Path = ROOT) -> list[tuple[int, str, str, list[str]]]:
    """Runs command lines in a process; returns status, output, errors, heavy imports of each."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(lines)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_help_is_printed_without_tensorflow():
    commands = ("train", "export")
    records = _run([(command, "--help") for command in commands])
    for command, (status, output, errors, imported) in zip(commands, records, strict=True):
        assert (status, errors, imported) == (0, "", [])
        assert output.startswith(f"usage: tfdm-{command} ")


def test_bad_input_is_refused_without_tensorflow(tmp_path):
    (tmp_path / "a file").touch()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").touch()
    other = RunFolder(tmp_path / "run")
    other.create()
    other.claim_config(resolve_run_config({"seed": 5}).flat())
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "config.json").write_text(json.dumps({"model": "vae"}))
    before = sorted(tmp_path.rglob("*"))
    expected = {
        ("train", "--model=nope"): "unknown model 'nope'",
        ("train", "--config.nope=1"): "unknown flag --config.nope",
        ("train", "--latent_dim=0"): "latent_dim is 0, expected at least 1",
        ("train", "--output_dir=a file/run"): "cannot write into a file/run",
        ("train", "--output_dir=foreign"): "foreign holds 'thesis.tex' but no run",
        ("train", "--output_dir=run"): "(seed: 5 -> 0)",
        ("export", "--run=nowhere"): "nowhere does not exist",
        ("export", "--run=foreign"): "foreign is not a run folder",
        ("export", "--run=old"): "config.json lacks image_shape",
    }
    records = _run(list(expected), cwd=tmp_path)
    for (line, problem), (status, output, errors, imported) in zip(
        expected.items(), records, strict=True
    ):
        assert (status, output, imported) == (2, "", []), line
        assert errors.startswith("error: "), line
        assert errors.count("\n") == 1, line
        assert problem in errors, line
    assert sorted(tmp_path.rglob("*")) == before


def test_output_that_nobody_reads_ends_the_command_without_a_traceback():
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "scripts.train", "--help"]
    with os.fdopen(write) as closed:
        done = subprocess.run(command, cwd=ROOT, stdout=closed, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_tensorflow_loads_quietly_and_its_words_are_shown_when_it_fails():
    code = """
import os, sys
from tfdm.quiet import quiet_tensorflow
fails = sys.argv[1] == "fails"
try:
    with quiet_tensorflow():
        os.write(2, b"native noise\\n")
        print("python noise", file=sys.stderr)
        if fails:
            raise ImportError("no such library")
        sys.modules["tensorflow"] = type(sys)("tensorflow")
        sys.modules["tensorflow"].config = type("C", (), {"list_physical_devices": lambda: []})
except ImportError:
    pass
print("afterwards", file=sys.stderr)
os.write(2, b"native afterwards\\n")
"""
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    shown = {}
    for outcome in ("works", "fails"):
        command = [sys.executable, "-c", code, outcome]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        shown[outcome] = done.stderr.splitlines()
    assert shown["works"] == ["afterwards", "native afterwards"]
    assert sorted(shown["fails"]) == sorted(["native noise", "python noise", *shown["works"]])

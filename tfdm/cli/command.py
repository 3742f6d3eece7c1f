"""What every command does around its work: help, exit status, one-line errors.

Exit status: 0 done, 1 the system failed (a full disk), 2 bad input, 3 training diverged,
130 interrupted, 141 nobody reads the output any more, 128 + n stopped by signal n after a
checkpoint.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import tqdm

import tfdm
from tfdm.cli.flags import FlagGroup, Given, flags_of, help_text, parse_flags, take_flag
from tfdm.errors import MACHINE_FAILURES, DivergedError, Stopped, Terminated, UserError
from tfdm.fields import CheckedConfig, setting
from tfdm.models.registry import register_file
from tfdm.quiet import quiet_tensorflow
from tfdm.training.signals import StopSignals

_HELP = ("--help", "-help", "-h", "--helpfull", "--helpshort")


@dataclasses.dataclass(frozen=True)
class _General(CheckedConfig):
    register: tuple[str, ...] = setting(
        (), "Python files that call tfdm.register_model", kind=str, metavar="FILE.py"
    )
    version: bool = setting(False, "show the version")


@dataclasses.dataclass(frozen=True)
class Command:
    """A command of the package, in the module `name`.

    `groups` returns its flags, after the files of `--register` have run; `run` does the work and
    returns what is printed. In `ending`, `{command}` stands for how the user calls the command.
    """

    name: str
    usage: str
    summary: str
    groups: Callable[[], Sequence[FlagGroup]]
    run: Callable[[Given], str]
    ending: str = ""

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Runs the command; returns its exit status."""
        return run_command(self._main, arguments)

    def _main(self, arguments: Sequence[str]) -> None:
        if "--version" in arguments:
            print(f"tfdm {tfdm.__version__}")
            return
        files, arguments = take_flag(arguments, "register")
        for path in (path for text in files for path in text.split(",")):
            with quiet_tensorflow():
                register_file(path)
        groups = [*self.groups(), FlagGroup("General", flags_of(_General))]
        if any(argument in _HELP for argument in arguments):
            command = how_to_call(self.name)
            usage = f"{command} {self.usage}"
            ending = self.ending.format(command=command)
            print(help_text(usage, self.summary, groups, ending), end="")
            return
        print(self.run(parse_flags(groups, arguments)))


def run_command(
    command: Callable[[Sequence[str]], None], arguments: Sequence[str] | None = None
) -> int:
    """Runs a function of the arguments; turns what can go wrong into one line and an exit status.

    `None` stands for the arguments of the process. Faults of the program itself are raised.
    """
    with _log_on_terminal(), StopSignals():
        try:
            command(sys.argv[1:] if arguments is None else arguments)
            sys.stdout.flush()
        except UserError as error:
            return _fail(error, 2)
        except DivergedError as error:
            return _fail(error, 3)
        except (Terminated, Stopped) as error:
            return _fail(error, 128 + error.signum)
        except KeyboardInterrupt:
            return _fail("interrupted", 130)
        except BrokenPipeError:
            # What is left in the buffer would fail again when Python exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + signal.SIGPIPE
        except OSError as error:
            if error.errno not in MACHINE_FAILURES:
                raise  # A fault, to be seen whole.
            return _fail(error, 1)
    return 0


def how_to_call(command: str) -> str:
    """Returns how the user calls the command in the module `command`, as he called this one."""
    called = Path(sys.argv[0])
    if called.suffix == ".py" and called.with_name(f"{command}.py").is_file():
        return f"python {called.with_name(f'{command}.py')}"
    return f"tfdm-{command.replace('_', '-')}"


def _fail(problem: object, status: int) -> int:
    line = " ".join(str(problem).split())
    print(f"error: {line}", file=sys.stderr)
    return status


@contextlib.contextmanager
def _log_on_terminal() -> Iterator[None]:
    """Shows what the package logs as plain lines on the error stream."""
    logger = logging.getLogger("tfdm")
    handler = _AboveBars(sys.stderr)
    handler.setFormatter(_LineFormatter())
    level, propagates = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagates


class _AboveBars(logging.StreamHandler):
    """Writes lines above the progress bars that are in view."""

    def emit(self, record: logging.LogRecord) -> None:
        with tqdm.tqdm.external_write_mode(self.stream):
            super().emit(record)


class _LineFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        prefix = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        return prefix + record.getMessage()

"""`python -m tfdm COMMAND ..`: the commands without their console scripts."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import tfdm
from tfdm.cli import COMMANDS
from tfdm.cli.command import run_command
from tfdm.errors import UserError, did_you_mean


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command that the first argument names; returns its exit status."""
    name, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    command = name.replace("-", "_")
    if command in COMMANDS:
        return importlib.import_module(f"tfdm.cli.{command}").main(rest)
    return run_command(_describe, [name])


def _describe(arguments: Sequence[str]) -> None:
    [name] = arguments
    if name == "--version":
        print(f"tfdm {tfdm.__version__}")
        return
    if not name.startswith("-") and name != "help":
        raise UserError(f"unknown command {name!r}: {did_you_mean(name, COMMANDS)}")
    print("usage: python -m tfdm COMMAND [--NAME=VALUE ...]\n")
    for command, summary in COMMANDS.items():
        print(f"  {command:22}{summary}")
    print("\npython -m tfdm COMMAND --help shows the flags of a command.")

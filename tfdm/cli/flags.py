"""Command-line flags on absl: parsed without TensorFlow, explained in one line when wrong.

A command lists its flags in groups; `parse_flags` returns the text that was given for each, and
`help_text` shows them all. Every value stays text here: the configuration that it goes into
knows its type and range (`tfdm.experiments.config.resolve_run_config`).
"""

from __future__ import annotations

import dataclasses
import difflib
import shutil
import textwrap
from collections.abc import Mapping, Sequence

from absl import flags as absl_flags

from tfdm.errors import UserError, did_you_mean

_HELP = ("--help", "-help", "-h", "--helpfull", "--helpshort")
_UNBROKEN = "\u00a0"  # a space at which no line is broken


@dataclasses.dataclass(frozen=True)
class Flag:
    """One flag, written `--name=VALUE`.

    Attributes:
      name: the name, dots allowed.
      help: what it is, one line.
      value: what stands for the value in the help: `INT`, `DIR`, `a|b`.
      default: what holds when the flag is not given, as the help shows it; `None` shows nothing.
      choices: all admissible values, `()` where they are not listed.
      required: whether the command cannot do without it.
      in_help: whether the help shows it; short forms of other flags stay out.
      switch: whether it is written `--name` alone; its text is then `true`.
    """

    name: str
    help: str
    value: str = "TEXT"
    default: str | None = None
    choices: tuple[str, ...] = ()
    required: bool = False
    in_help: bool = True
    switch: bool = False


@dataclasses.dataclass(frozen=True)
class FlagGroup:
    """Flags that belong together in the help.

    Attributes:
      title: the heading.
      flags: the flags, in order.
      note: lines under the heading, shown as they are.
    """

    title: str
    flags: tuple[Flag, ...] = ()
    note: str = ""


def field_flag(field: dataclasses.Field, name: str | None = None) -> Flag:
    """Returns the flag of a configuration field that `tfdm.fields` declared.

    Args:
      field: the field; its metadata says what it is and what it may be.
      name: the name of the flag, if it is not the field's.
    """
    choices = tuple(str(choice) for choice in field.metadata.get("choices") or ())
    values = {int: "INT", float: "NUMBER", bool: "true|false"}
    value = "|".join(choices) or values.get(type(field.default), "TEXT")
    return Flag(
        name=name or field.name,
        help=field.metadata["help"] + _range(field.metadata),
        value=value,
        default=_number(field.default),
    )


def wants_help(arguments: Sequence[str]) -> bool:
    """Says whether help is asked for anywhere among the arguments."""
    return any(argument in _HELP for argument in arguments)


def parse_flags(groups: Sequence[FlagGroup], arguments: Sequence[str]) -> dict[str, str]:
    """Reads a command line.

    Args:
      groups: the flags of the command; a flag may stand in several groups.
      arguments: the command line without the name of the program.

    Returns:
      The text given for each flag that was given.

    Raises:
      UserError: an unknown flag, a value that is missing or not among the choices, a flag given
        twice with different values, a missing flag, or an argument that is no flag.
    """
    known = {flag.name: flag for group in groups for flag in group.flags}
    parser = absl_flags.FlagValues()
    for flag in known.values():
        # Lists, so that a flag that is given twice can be told from one given once.
        absl_flags.DEFINE_multi_string(flag.name, None, flag.help, flag_values=parser)
    switches = {f"--{flag.name}" for flag in known.values() if flag.switch}
    arguments = [f"{text}=true" if text in switches else text for text in arguments]
    try:
        rest = parser(["", *arguments])[1:]
    except absl_flags.UnrecognizedFlagError as error:
        raise UserError(
            f"unknown flag --{error.flagname}: {_near(error.flagname, known)}"
        ) from None
    except absl_flags.Error as error:
        problem = str(error).removeprefix("ERROR:: ").strip().rstrip(".")
        raise UserError(f"{problem}: write --name=value, see --help") from None
    if rest:
        raise UserError(f"{rest[0]!r} is no flag: write --name=value, see --help")
    given = {name: _single(flag, parser[name].value) for name, flag in known.items()}
    return {name: text for name, text in given.items() if text is not None}


def help_text(usage: str, summary: str, groups: Sequence[FlagGroup], ending: str = "") -> str:
    """Returns the help of a command, wrapped to the terminal.

    Args:
      usage: how the command is called.
      summary: what it does.
      groups: its flags.
      ending: what stands below the flags, as it is.
    """
    width = max(60, min(shutil.get_terminal_size((100, 24)).columns, 110))
    parts = [f"usage: {usage}", textwrap.fill(summary, width)]
    for group in groups:
        shown = [flag for flag in group.flags if flag.in_help]
        if shown or group.note:
            lines = (
                [group.title, textwrap.indent(group.note, "  ")] if group.note else [group.title]
            )
            parts.append("\n".join([*lines, *(_flag_lines(flag, width) for flag in shown)]))
    return "\n\n".join([*parts, *([ending] if ending else [])]) + "\n"


def _flag_lines(flag: Flag, width: int) -> str:
    text = flag.help
    if flag.required or flag.default is not None:
        default = "[required]" if flag.required else f"[default {flag.default}]"
        text = f"{text} {default.replace(' ', _UNBROKEN)}"
    margin = " " * 6
    wrapped = textwrap.fill(text, width, initial_indent=margin, subsequent_indent=margin)
    value = "" if flag.switch else f"={flag.value}"
    return f"  --{flag.name}{value}\n{wrapped.replace(_UNBROKEN, ' ')}"


def _single(flag: Flag, texts: list[str] | None) -> str | None:
    """Returns the one value of a flag, `None` where it was not given."""
    values = list(dict.fromkeys(texts or ()))
    if len(values) > 1:
        raise UserError(f"--{flag.name} is given twice, {values[0]} and {values[1]}: drop one")
    if not values:
        if flag.required:
            raise UserError(f"--{flag.name} is missing: write --{flag.name}={flag.value}")
        return None
    if not values[0]:
        raise UserError(f"--{flag.name} is empty: write --{flag.name}={flag.value}")
    if flag.switch and values[0] != "true":
        raise UserError(f"--{flag.name}={values[0]} takes no value: write --{flag.name} or drop it")
    if flag.choices and values[0] not in flag.choices:
        hint = did_you_mean(values[0], flag.choices)
        raise UserError(f"unknown {flag.name} {values[0]!r}: {hint}")
    return values[0]


def _near(name: str, known: Mapping[str, Flag]) -> str:
    near = difflib.get_close_matches(name, known, n=2, cutoff=0.6)
    if not near:
        return "see --help for all flags"
    return f"did you mean {' or '.join('--' + other for other in near)}?"


def _range(metadata: Mapping[str, object]) -> str:
    low, high = metadata.get("minimum"), metadata.get("maximum")
    if low is not None and high is not None:
        return f"; {_number(low)} to {_number(high)}"
    if low is not None:
        return f"; at least {_number(low)}"
    return f"; at most {_number(high)}" if high is not None else ""


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)

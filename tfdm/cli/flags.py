"""Command-line flags from the fields of configurations, without TensorFlow.

A flag is a name and a field that `tfdm.fields.setting` declared: the field knows the type, the
range and the help. A command lists its flags in groups; `parse_flags` reads a command line against
them and `help_text` shows them all.
"""

from __future__ import annotations

import dataclasses
import difflib
import shutil
import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from absl import flags as absl_flags

from tfdm.errors import UserError, did_you_mean
from tfdm.fields import CheckedConfig, choices_of, parse_value, range_of, setting, shown_value

Config = TypeVar("Config", bound=CheckedConfig)

_UNBROKEN = "\u00a0"  # a space at which no line is broken


@dataclasses.dataclass(frozen=True)
class Flag:
    """One flag, written `--name=VALUE`, or `--name` alone where the value is true or false.

    `shown_default` replaces the field's own default in the help; short forms of other flags are not
    `in_help`; the value of a flag that `is_text` is read by whoever knows its field.
    """

    name: str
    field: dataclasses.Field
    shown_default: str | None = None
    required: bool = False
    in_help: bool = True
    is_text: bool = False

    @property
    def is_switch(self) -> bool:
        """Whether `--name` alone means true."""
        return self.field.metadata["kind"] is bool

    @property
    def value(self) -> str:
        """What stands for the value in the help: `INT`, `DIR`, `a|b`."""
        metadata = self.field.metadata
        kinds = {int: "INT", float: "NUMBER", bool: "true|false", str: "TEXT"}
        choices = () if metadata["many"] else choices_of(self.field)
        listed = "|".join(map(str, choices))
        one = metadata["metavar"] or listed or kinds.get(metadata["kind"], "TEXT")
        return f"{one},.." if metadata["many"] else one

    @property
    def default(self) -> str | None:
        """What the help shows as the default; `None` shows nothing."""
        shown = self.shown_default or self.field.metadata["shown_default"]
        return shown or (None if self.field.default is None else shown_value(self.field.default))


@dataclasses.dataclass(frozen=True)
class FlagGroup:
    """Flags under one heading of the help; the lines of `note` stand above them."""

    title: str
    flags: tuple[Flag, ...] = ()
    note: str = ""


@dataclasses.dataclass(frozen=True)
class RunFlag(CheckedConfig):
    """The run folder that a command works on."""

    run: str | None = setting(None, "the run folder", kind=str, metavar="DIR")


class Given(dict[str, Any]):
    """The values that a command line gives, by the name of the flag."""

    def config(self, config: type[Config], **others: Any) -> Config:
        """Returns the configuration that the flags give; `others` are defaults of the command.

        `UserError` where the fields do not fit each other.
        """
        names = [field.name for field in dataclasses.fields(config)]
        values = {name: self[name] for name in names if name in self}
        try:
            return config(**{**others, **values})
        except ValueError as error:
            raise UserError(f"bad value: {error}") from None

    def members(self, chosen: Collection[str], option: str) -> dict[str, dict[str, Any]]:
        """Returns the fields given as `--member.field`, by member.

        `UserError` refuses a field of a member that the flag `option` did not choose.
        """
        found: dict[str, dict[str, Any]] = {}
        for flag, value in self.items():
            member, dot, name = flag.partition(".")
            if not dot:
                continue
            if member not in chosen:
                raise UserError(f"--{flag} has no effect: add {member} to --{option} or drop it")
            found.setdefault(member, {})[name] = value
        return found


def flags_of(
    config: type[CheckedConfig], *names: str, prefix: str = "", required: Collection[str] = ()
) -> tuple[Flag, ...]:
    """Returns the flags `PREFIXname` of a configuration's fields: of those named, or of all."""
    fields = {field.name: field for field in dataclasses.fields(config)}
    return tuple(
        Flag(
            prefix + name,
            fields[name],
            required=name in required,
            in_help=fields[name].metadata["in_help"],
        )
        for name in names or fields
        if "kind" in fields[name].metadata
    )


def member_groups(title: str, members: Mapping[str, Any]) -> list[FlagGroup]:
    """Returns the list of a registry's members by their `summary`, and the fields of each."""
    groups = [FlagGroup(title, note=listed({n: m.summary for n, m in members.items()}))]
    for name, member in members.items():
        if flags := flags_of(member.config, prefix=f"{name}."):
            groups.append(FlagGroup(f"Fields of {name}", flags))
    return groups


def listed(entries: Mapping[str, str]) -> str:
    """Returns names and texts as two columns, wrapped to the terminal with a margin of two."""
    column = max(map(len, entries)) + 2
    indent = " " * column
    return "\n".join(
        textwrap.fill(f"{name:{column}}{text}", _width() - 2, subsequent_indent=indent)
        for name, text in entries.items()
    )


def parse_flags(groups: Sequence[FlagGroup], arguments: Sequence[str]) -> Given:
    """Reads a command line, without the name of the program; a flag may stand in several groups.

    Raises:
      UserError: an unknown flag, a value that is missing or not admissible, a flag given twice
        with different values, a missing flag, or an argument that is not a flag.
    """
    known = {flag.name: flag for group in groups for flag in group.flags}
    parser = absl_flags.FlagValues()
    for flag in known.values():
        # Lists, so that a flag that is given twice can be told from one given once.
        absl_flags.DEFINE_multi_string(flag.name, None, "", flag_values=parser)
    switches = {f"--{flag.name}" for flag in known.values() if flag.is_switch}
    arguments = [f"{text}=true" if text in switches else text for text in arguments]
    try:
        rest = parser(["", *arguments])[1:]
    except absl_flags.UnrecognizedFlagError as error:
        near = _near(error.flagname, known)
        raise UserError(f"unknown flag --{error.flagname}: {near}") from None
    except absl_flags.Error as error:
        problem = str(error).removeprefix("ERROR:: ").strip().rstrip(".")
        raise UserError(f"{problem}: write --name=value, see --help") from None
    if rest:
        raise UserError(f"{rest[0]!r} is not a flag: write --name=value, see --help")
    texts = {name: _single(flag, parser[name].value) for name, flag in known.items()}
    return Given({n: _read(known[n], text) for n, text in texts.items() if text is not None})


def take_flag(arguments: Sequence[str], name: str) -> tuple[list[str], list[str]]:
    """Returns the texts given for one flag, and the other arguments."""
    parser = absl_flags.FlagValues()
    absl_flags.DEFINE_multi_string(name, [], "", flag_values=parser)
    try:
        rest = parser(["", *arguments], known_only=True)[1:]
    except absl_flags.Error:
        raise UserError(f"--{name} has no value: write --{name}=VALUE") from None
    return list(parser[name].value or ()), rest


def help_text(usage: str, summary: str, groups: Iterable[FlagGroup], ending: str = "") -> str:
    """Returns the help of a command, wrapped to the terminal; `ending` stands below the flags."""
    width = _width()
    usage = textwrap.fill(
        f"usage: {usage}", width, subsequent_indent=" " * 7, break_on_hyphens=False
    )
    parts = [usage, textwrap.fill(summary, width)]
    for group in groups:
        shown = [_flag_lines(flag, width) for flag in group.flags if flag.in_help]
        note = [textwrap.indent(group.note, "  ")] if group.note else []
        if shown or note:
            parts.append("\n".join([group.title, *note, *shown]))
    return "\n\n".join([*parts, *([ending] if ending else [])]) + "\n"


def _width() -> int:
    """Returns the columns of the help: those of the terminal, but neither few nor very many."""
    return max(60, min(shutil.get_terminal_size((100, 24)).columns, 110))


def _flag_lines(flag: Flag, width: int) -> str:
    text = flag.field.metadata["help"] + range_of(flag.field)
    if flag.required or flag.default:
        default = "[required]" if flag.required else f"[default {flag.default}]"
        is_short = len(default) < width // 2
        text = f"{text} {default.replace(' ', _UNBROKEN) if is_short else default}"
    margin = " " * 6
    wrapped = textwrap.fill(text, width, initial_indent=margin, subsequent_indent=margin)
    value = "" if flag.is_switch and flag.default == "false" else f"={flag.value}"
    return f"  --{flag.name}{value}\n{wrapped.replace(_UNBROKEN, ' ')}"


def _single(flag: Flag, texts: list[str] | None) -> str | None:
    """Returns the one text of a flag, `None` where it is not given."""
    values = list(dict.fromkeys(texts or ()))
    if len(values) > 1:
        raise UserError(f"--{flag.name} is given twice, {values[0]} and {values[1]}: drop one")
    if not values:
        if flag.required:
            raise UserError(f"--{flag.name} is missing: write --{flag.name}={flag.value}")
        return None
    if not values[0]:
        raise UserError(f"--{flag.name} is empty: write --{flag.name}={flag.value}")
    return values[0]


def _read(flag: Flag, text: str) -> Any:
    if flag.is_text:
        return text
    choices, many = choices_of(flag.field), flag.field.metadata["many"]
    if choices and flag.field.metadata["kind"] is str:
        for part in filter(None, map(str.strip, text.split(","))) if many else [text]:
            if part not in choices:
                name = flag.field.name.removesuffix("s") if many else flag.field.name
                raise UserError(f"unknown {name} {part!r}: {did_you_mean(part, choices)}")
    try:
        value = parse_value(flag.field, text)
    except ValueError as error:
        raise UserError(f"--{flag.name}: {error}") from None
    if value == ():
        raise UserError(f"--{flag.name}={text} names nothing: write --{flag.name}={flag.value}")
    return value


def _near(name: str, known: Mapping[str, Flag]) -> str:
    near = difflib.get_close_matches(name, known, n=2, cutoff=0.6)
    if not near:
        return "see --help for all flags"
    return f"did you mean {' or '.join('--' + other for other in near)}?"

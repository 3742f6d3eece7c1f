"""Flags and help: every mistake is one line that says what to do, every flag is in the help."""

from __future__ import annotations

import dataclasses
import re

import pytest

from tfdm.cli.flags import (
    Flag,
    FlagGroup,
    Given,
    flags_of,
    help_text,
    member_groups,
    parse_flags,
    take_flag,
)
from tfdm.cli.train import flag_groups, run_config
from tfdm.datasets.registry import DATASETS
from tfdm.errors import UserError
from tfdm.experiments import config
from tfdm.fields import CheckedConfig, setting, shown_value
from tfdm.models import registry


@dataclasses.dataclass(frozen=True)
class Tool(CheckedConfig):
    run: str | None = setting(None, "the folder", kind=str, metavar="DIR")
    format: str = setting("a", "what to write", choices=("saved_model", "weights", "a"))
    rate: float = setting(1.0, "the rate", maximum=2.0, shown_default="no more than 1")
    dims: tuple[int, ...] = setting((1, 10), "dimensions", minimum=1)
    parts: tuple[str, ...] = setting((), "parts", kind=str, choices=lambda: ("left", "right"))
    fast: bool = setting(False, "be quick")


@dataclasses.dataclass(frozen=True)
class Member:
    summary: str
    config: type[CheckedConfig]


GROUPS = [
    FlagGroup("One", flags_of(Tool, "run", required=("run",))),
    FlagGroup(
        "Two",
        (
            *flags_of(Tool, "format"),
            *flags_of(Tool, "rate", prefix="config."),
            Flag("rate", flags_of(Tool, "rate")[0].field, in_help=False),
            *flags_of(Tool, "dims", "parts", "fast"),
        ),
        note="first line\nsecond line",
    ),
    *member_groups("Members", {"left": Member("on the left", Tool)}),
]


def _given(*arguments: str) -> Given:
    return parse_flags(flag_groups(), arguments)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--run=a b"], {"run": "a b"}),
        (["--run=x=y", "-rate=2"], {"run": "x=y", "rate": 2.0}),
        (["--run=a", "--config.rate", "1e-3"], {"run": "a", "config.rate": 1e-3}),
        (["--run=a", "--run=a", "--fast"], {"run": "a", "fast": True}),
        (["--run=a", "--fast=false", "--dims=3"], {"run": "a", "fast": False, "dims": (3,)}),
        (["--run=a", "--parts=left,right"], {"run": "a", "parts": ("left", "right")}),
        (["--run=a", "--left.dims=2, 4"], {"run": "a", "left.dims": (2, 4)}),
    ],
)
def test_what_is_given_comes_back_with_its_type(arguments: list[str], expected: dict) -> None:
    assert parse_flags(GROUPS, arguments) == expected


def test_a_flag_is_taken_in_every_form() -> None:
    arguments = ["--steps=3", "--file=a", "--file", "b,c", "-file=d", "--model=vae"]
    assert take_flag(arguments, "file") == (["a", "b,c", "d"], ["--steps=3", "--model=vae"])
    with pytest.raises(UserError, match="--file has no value: write --file=VALUE"):
        take_flag(["--file"], "file")


def test_given_values_make_configurations() -> None:
    given = Given({"dims": (2,), "run": "x", "left.rate": 0.5, "other": 1})
    assert given.config(Tool, format="weights") == Tool(run="x", dims=(2,), format="weights")
    assert given.members(["left"], "parts") == {"left": {"rate": 0.5}}
    with pytest.raises(UserError, match="--left.rate has no effect: add left to --parts or drop"):
        given.members(["right"], "parts")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "--run is missing: write --run=DIR"),
        (["--run="], "--run is empty: write --run=DIR"),
        (["--run"], "Missing value for flag --run: write --name=value, see --help"),
        (["--run=a", "--run=b"], "--run is given twice, a and b: drop one"),
        (["--rum=a"], "unknown flag --rum: did you mean --run?"),
        (["--config.rat=1"], "unknown flag --config.rat: did you mean --config.rate?"),
        (["--xyzzy"], "unknown flag --xyzzy: see --help for all flags"),
        (["--run=a", "b"], "'b' is not a flag: write --name=value, see --help"),
        (["--run=a", "--", "-c"], "'-c' is not a flag: write --name=value, see --help"),
        (["--run=a", "--format=onnx"], "unknown format 'onnx': choose one of saved_model, weights"),
        (["--run=a", "--format=weight"], "unknown format 'weight': did you mean weights?"),
        (["--run=a", "--parts=left,rihgt"], "unknown part 'rihgt': did you mean right?"),
        (["--run=a", "--parts=,"], "--parts=, names nothing: write --parts=TEXT,.."),
        (["--run=a", "--dims=1,x"], "--dims: dims is 'x', expected a whole number"),
        (["--run=a", "--dims=0"], "--dims: dims is 0, expected at least 1"),
        (["--run=a", "--rate=3"], "--rate: rate is 3.0, expected at most 2.0"),
        (["--run=a", "--fast=maybe"], "--fast: fast is 'maybe', expected true or false"),
        (["--run=a", "--left.rate=x"], "--left.rate: rate is 'x', expected a number"),
    ],
)
def test_a_bad_flag_is_one_line_that_says_what_to_do(arguments: list[str], expected: str) -> None:
    with pytest.raises(UserError) as raised:
        parse_flags(GROUPS, arguments)
    assert str(raised.value).startswith(expected)


def test_help_has_groups_and_defaults_and_no_short_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    text = help_text("tool --run=DIR", "Does what it does.", GROUPS, "the end")
    sections = text.split("\n\n")
    assert sections[:4] == [
        "usage: tool --run=DIR",
        "Does what it does.",
        "One\n  --run=DIR\n      the folder [required]",
        "Two\n  first line\n  second line\n"
        "  --format=saved_model|weights|a\n      what to write [default a]\n"
        "  --config.rate=NUMBER\n      the rate; at most 2 [default no more than 1]\n"
        "  --dims=INT,..\n      dimensions; at least 1 [default 1,10]\n"
        "  --parts=TEXT,..\n      parts\n"
        "  --fast\n      be quick [default false]",
    ]
    assert sections[4] == "Members\n  left  on the left"
    assert "  --left.rate=NUMBER\n" in sections[5]
    assert sections[-1] == "the end\n"


@pytest.mark.parametrize("columns", ["20", "80", "400"])
def test_help_fits_the_terminal(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    width = max(60, min(int(columns), 110))
    wrapped = [
        line
        for line in help_text("tool", "word " * 100, flag_groups()).splitlines()
        if line.startswith("      ") or line.startswith("word")
    ]
    assert max(map(len, wrapped)) <= width
    assert max(map(len, wrapped)) > width - 30


def test_the_training_help_shows_every_field_with_its_default() -> None:
    text = help_text("tfdm-train", "", flag_groups())
    entries = re.findall(r"^  --([\w.]+)(?:=\S+)?\n((?:      .*\n)+)", text, re.M)
    shown: dict[str, list[str]] = {}
    for name, body in entries:
        shown.setdefault(name, []).append(" ".join(body.split()))
    for field in config.run_fields():
        assert len(shown[field.name]) == 1
        assert field.metadata["help"] in shown[field.name][0]
        assert "[default " in shown[field.name][0]
        shown_default = field.metadata["shown_default"] or shown_value(field.default)
        if field.name not in config.preset_values("quick", "cifar10"):
            assert f"[default {shown_default}]" in shown[field.name][0]
    for entry in registry.MODELS.values():
        for field in dataclasses.fields(entry.config):
            bodies = shown[f"config.{field.name}"]
            default = field.metadata["shown_default"] or shown_value(field.default)
            assert any(
                field.metadata["help"] in body and re.search(rf"\[default {default}[];]", body)
                for body in bodies
            ), (entry.name, field.name)
    assert (
        "[default 50; 10 on color_mnist_5k, color_mnist (quick); 100 on cifar10, celeb_a (paper)]"
        in shown["config.latent_dim"][0]
    )
    assert "[default 500; 5000 (paper)]" in shown["sample_every"][0]
    assert {"output_dir", "data_dir", "cache_dir"} <= set(shown)


def test_the_training_help_groups_hyperparameters_by_model() -> None:
    text = help_text("tfdm-train", "", flag_groups())
    sections = {section.split("\n")[0]: section for section in text.split("\n\n")}
    assert "--config.critic_steps=INT" in sections["Hyperparameters of wgan_gp"]
    assert "--config.beta=" in sections["Hyperparameters of vae"]
    everyone = next(name for name in sections if name.startswith("Hyperparameters of every model"))
    assert "--config.latent_dim=INT" in sections[everyone]
    # That of DRAW follows from its other fields.
    assert "--config.latent_dim=INT" in sections["Hyperparameters of draw"]
    assert text.count("--config.latent_dim=INT") == 2
    for name in [*registry.MODELS, *DATASETS]:
        assert re.search(rf"^  {name} ", text, re.M), name


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--preset=fast"], "unknown preset 'fast': choose one of quick, paper"),
        (["--model=vea"], "unknown model 'vea': did you mean .*vae"),
        (["--dataset=xxx"], "unknown dataset 'xxx': choose one of color_mnist_5k, .*image_folder"),
        (["--critic_steps=3"], "critic_steps is a hyperparameter of wgan_gp, not of aae_plus"),
        (["--latent_dim=10", "--config.latent_dim=20"], "latent_dim is given twice, 10 and 20"),
    ],
)
def test_a_bad_request_is_one_line(arguments: list[str], expected: str) -> None:
    with pytest.raises(UserError, match=expected) as raised:
        run_config(_given(*arguments))
    assert "\n" not in str(raised.value)

"""Flags and help: every mistake is one line that says what to do, every flag is in the help."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from tfdm.cli.flags import Flag, FlagGroup, help_text, parse_flags, wants_help
from tfdm.cli.train_flags import flag_groups, read_request
from tfdm.errors import UserError
from tfdm.experiments import config
from tfdm.models import registry

GROUPS = [
    FlagGroup("One", (Flag("run", "the folder", value="DIR", required=True),)),
    FlagGroup(
        "Two",
        (
            Flag("format", "what to write", default="a", choices=("saved_model", "weights")),
            Flag("config.rate", "the rate", value="NUMBER", default="no more than 1"),
            Flag("rate", "the rate", in_help=False),
        ),
        note="first line\nsecond line",
    ),
]


def _problem(*arguments: str) -> str:
    """The one line that a command line of `tfdm-train` is refused with."""
    with pytest.raises(UserError) as raised:
        read_request(arguments)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_only_what_is_given_comes_back_as_text() -> None:
    assert parse_flags(GROUPS, ["--run=a b"]) == {"run": "a b"}
    given = parse_flags(GROUPS, ["--config.rate", "1e-3", "-rate=2", "--run=x=y"])
    assert given == {"config.rate": "1e-3", "rate": "2", "run": "x=y"}
    assert parse_flags(GROUPS, ["--run=a", "--run=a"]) == {"run": "a"}


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
        (["--run=a", "b"], "'b' is no flag: write --name=value, see --help"),
        (["--run=a", "--", "-c"], "'-c' is no flag: write --name=value, see --help"),
        (["--run=a", "--format=onnx"], "unknown format 'onnx': choose one of saved_model, weights"),
        (["--run=a", "--format=weight"], "unknown format 'weight': did you mean weights?"),
    ],
)
def test_a_bad_flag_is_one_line_that_says_what_to_do(arguments: list[str], expected: str) -> None:
    with pytest.raises(UserError) as raised:
        parse_flags(GROUPS, arguments)
    assert str(raised.value) == expected


def test_help_has_groups_defaults_and_keeps_short_forms_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    text = help_text("tool --run=DIR", "Does what it does.", GROUPS, "the end")
    assert text.split("\n\n") == [
        "usage: tool --run=DIR",
        "Does what it does.",
        "One\n  --run=DIR\n      the folder [required]",
        "Two\n  first line\n  second line\n"
        "  --format=TEXT\n      what to write [default a]\n"
        "  --config.rate=NUMBER\n      the rate [default no more than 1]",
        "the end\n",
    ]


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


def test_help_is_asked_for_anywhere() -> None:
    assert wants_help(["--help"])
    assert wants_help(["--model=vae", "-h"])
    assert not wants_help(["--model=help"])


def test_the_training_help_shows_every_field_with_its_default() -> None:
    text = help_text("tfdm-train", "", flag_groups())
    entries = re.findall(r"^  --([\w.]+)=\S+\n((?:      .*\n)+)", text, re.M)
    shown: dict[str, list[str]] = {}
    for name, body in entries:
        shown.setdefault(name, []).append(" ".join(body.split()))
    for field in config.run_fields():
        assert len(shown[field.name]) == 1
        assert field.metadata["help"] in shown[field.name][0]
        assert "[default " in shown[field.name][0]
        if field.name not in config.preset_values("quick", "cifar10"):
            assert f"[default {field.default}]" in shown[field.name][0]
    for entry in registry.MODELS.values():
        for field in dataclasses.fields(entry.config):
            bodies = shown[f"config.{field.name}"]
            default = f"{field.default:g}" if isinstance(field.default, float) else field.default
            assert any(
                field.metadata["help"] in body and f"[default {default}]" in body for body in bodies
            ), (entry.name, field.name)
    assert "[default 2500 (quick), 100000 or 200000 (paper)]" in shown["steps"][0]
    assert {"output_dir", "data_dir", "cache_dir"} <= set(shown)


def test_the_training_help_groups_hyperparameters_by_model() -> None:
    text = help_text("tfdm-train", "", flag_groups())
    sections = {section.split("\n")[0]: section for section in text.split("\n\n")}
    assert "--config.critic_steps=INT" in sections["Hyperparameters of wgan_gp"]
    assert "--config.beta=" in sections["Hyperparameters of vae"]
    everyone = next(name for name in sections if name.startswith("Hyperparameters of every model"))
    assert "--config.latent_dim=INT" in sections[everyone]
    assert text.count("--config.latent_dim=INT") == 1
    for name in [*registry.MODELS, *registry.DATASETS]:
        assert re.search(rf"^  {name} ", text, re.M), name


def test_a_request_holds_what_was_typed() -> None:
    request = read_request(["--model=vae", "--steps=7", "--latent_dim=3", "--config.beta=2"])
    assert (request.config.model, request.config.steps) == ("vae", 7)
    assert request.config.flat()["latent_dim"] == 3
    assert request.config.flat()["beta"] == 2.0
    assert request.output_dir == Path("runs/vae-color_mnist_5k-seed0")
    assert (request.data_dir, request.cache_dir) == (None, None)
    assert read_request([]).config.model == "aae_plus_plus"


def test_the_same_value_by_both_names_is_one_value() -> None:
    request = read_request(["--learning_rate=5e-4", "--config.learning_rate=0.0005"])
    assert request.config.flat()["learning_rate"] == 5e-4


def test_folders_are_taken_as_given() -> None:
    request = read_request(["--output_dir=~/x", "--data_dir=d", "--cache_dir=c", "--seed=3"])
    assert request.output_dir == Path("~/x").expanduser()
    assert (request.data_dir, request.cache_dir) == ("d", "c")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--model=vea"], "unknown model 'vea': did you mean .*vae"),
        (["--dataset=cifar"], "unknown dataset 'cifar': did you mean cifar10?"),
        (["--dataset=xxx"], "unknown dataset 'xxx': choose one of color_mnist_5k, .*image_folder"),
        (["--latnt_dim=3"], "unknown flag --latnt_dim: did you mean --latent_dim"),
        (["--config.latnt_dim=3"], "unknown flag --config.latnt_dim: did you mean --config.latent"),
        (["--critic_steps=3"], "--critic_steps is a hyperparameter of wgan_gp, not of aae_plus"),
        (
            ["--model=dcgan", "--config.beta=3"],
            "--config.beta is a hyperparameter of vae, not of dcgan: drop it or choose another",
        ),
        (["--steps=many"], "steps is 'many', expected a whole number"),
        (["--steps=0"], "steps is 0, expected at least 1"),
        (["--seed=-1"], "seed is -1, expected at least 0"),
        (["--seed=1.5"], "seed is '1.5', expected a whole number"),
        (["--latent_dim=x"], "latent_dim is 'x', expected a whole number"),
        (["--config.learning_rate=nan"], "learning_rate is nan, expected a finite number"),
        (["--config.learning_rate=2"], "learning_rate is 2.0, expected at most 1.0"),
        (["--config.encoder=x"], "encoder is 'x', expected one of deterministic, gaussian, impl"),
        (["--preset=fast"], "preset is 'fast', expected one of quick, paper"),
        (["--strategy=gpu"], "strategy is 'gpu', expected one of auto, cpu, mirrored"),
        (["--latent_dim=10", "--config.latent_dim=20"], "latent_dim is given twice, 10 and 20"),
        (["--seed=1", "--seed=2"], "--seed is given twice, 1 and 2"),
        (["--dataset=image_folder"], "--dataset=image_folder needs --data_dir"),
    ],
)
def test_a_bad_request_is_one_line_that_says_what_to_do(
    arguments: list[str], expected: str
) -> None:
    assert re.search(expected, _problem(*arguments))

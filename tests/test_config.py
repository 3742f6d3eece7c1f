"""Hyperparameters, presets, and what a user gives becoming a run's configuration."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from tfdm.errors import UserError
from tfdm.experiments.config import (
    RunConfig,
    preset_values,
    resolve_run_config,
    run_fields,
)
from tfdm.fields import CheckedConfig, check_value, folder, parse_value, setting
from tfdm.models.config import AAEConfig, AAEPlusPlusConfig, DCGANConfig, VAEConfig, WGANGPConfig
from tfdm.models.registry import MODELS, ModelEntry
from tfdm.training.config import ModelConfig

NAMES = sorted(MODELS)


def field_of(config: type, name: str) -> dataclasses.Field:
    return next(field for field in dataclasses.fields(config) if field.name == name)


def resolve(hyperparameters: dict[str, str] | None = None, **values: object) -> RunConfig:
    return resolve_run_config(values, hyperparameters)


# --- Hyperparameters ----------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_field_is_documented_and_its_default_admissible(name):
    for field in [*dataclasses.fields(MODELS[name].config), *run_fields()]:
        assert field.metadata["help"], field.name
        assert "\n" not in field.metadata["help"]
        assert type(check_value(field, field.default)) is type(field.default)


def test_defaults_lie_inside_the_sweeps_of_table_5():
    gan, hybrid = dict.fromkeys(("dcgan", "wgan_gp"), (1e-4, 3e-4)), ("aae_plus_plus", "aae_gan")
    fixed = dict.fromkeys(hybrid, (5e-4, 5e-4))
    generator = {"vae": (5e-4, 5e-3), "aae": (5e-4, 5e-3), "veegan": (5e-4, 1e-3)}
    generator |= {**gan, **dict.fromkeys(hybrid, (1e-4, 5e-4))}
    discriminator = {"veegan": (5e-5, 1e-4), **gan, **fixed}
    code = {"aae": (1e-5, 5e-4), **fixed}
    assert set(generator) == set(MODELS) - {"ali", "avb", "draw", "wae"}  # Not in the table.
    for table, fields in (
        (generator, ("learning_rate", "generator_learning_rate")),
        (discriminator, ("discriminator_learning_rate", "critic_learning_rate")),
        (code, ("code_discriminator_learning_rate",)),
    ):
        for name, (low, high) in table.items():
            values = MODELS[name].config().to_dict()
            [rate] = [values[field] for field in fields if field in values]
            assert low <= rate <= high, name


@pytest.mark.parametrize("name", NAMES)
def test_adam_is_that_of_appendix_k(name):
    config = MODELS[name].config()
    assert (config.adam_beta_1, config.adam_beta_2) == (0.5, 0.9)
    assert config.ema_decay == 0.0
    assert config.batch_norm_momentum == 0.9


def test_weights_of_the_losses_are_those_of_the_paper():
    assert AAEPlusPlusConfig().encoder_reconstruction_weight in (1.0, 5.0, 10.0, 50.0)
    assert AAEPlusPlusConfig().generator_reconstruction_weight in (1.0, 5.0, 10.0, 50.0)
    assert AAEPlusPlusConfig().reconstruction_reduction == "mean"
    assert (WGANGPConfig().gradient_penalty, WGANGPConfig().critic_steps) == (10.0, 5)
    assert DCGANConfig().dropout_rate == pytest.approx(1.0 - 0.8)
    assert (VAEConfig().beta, VAEConfig().marginal_kl_weight) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("config", "values", "message"),
    [
        (VAEConfig, {"latent_dim": 0}, "latent_dim is 0, expected at least 1"),
        (VAEConfig, {"latent_dim": 2.0}, "latent_dim is 2.0, expected a value of type int"),
        (VAEConfig, {"latent_dim": True}, "latent_dim is True, expected a value of type int"),
        (VAEConfig, {"latent_dim": "8"}, "latent_dim is '8', expected a value of type int"),
        (VAEConfig, {"beta": -0.1}, "beta is -0.1, expected at least 0.0"),
        (VAEConfig, {"beta": float("nan")}, "beta is nan, expected a finite number"),
        (VAEConfig, {"beta": float("inf")}, "beta is inf, expected a finite number"),
        (VAEConfig, {"beta": True}, "beta is True, expected a value of type float"),
        (VAEConfig, {"beta": None}, "beta is None, expected a value of type float"),
        (VAEConfig, {"likelihood": "normal"}, "expected one of bernoulli, quantized_normal"),
        (VAEConfig, {"learning_rate": 1.5}, "learning_rate is 1.5, expected at most 1.0"),
        (AAEConfig, {"encoder": "Gaussian"}, "expected one of deterministic, gaussian, implicit"),
        (DCGANConfig, {"dropout_rate": 1.0}, "dropout_rate is 1.0, expected at most 0.95"),
        (WGANGPConfig, {"critic_steps": 0}, "critic_steps is 0, expected at least 1"),
        (ModelConfig, {"ema_decay": 1.0}, "ema_decay is 1.0, expected at most"),
        (ModelConfig, {"width": 0.0}, "width is 0.0, expected at least"),
    ],
)
def test_values_that_are_not_admissible_are_refused(config, values, message):
    with pytest.raises(ValueError, match=message):
        config(**values)


def test_numbers_of_numpy_become_plain():
    numbers = {
        "latent_dim": np.int64(3),
        "beta": np.float64(0.5),
        "likelihood": np.str_("bernoulli"),
    }
    for name, value in VAEConfig(**numbers).to_dict().items():
        assert name not in numbers or type(value) in (int, float, str)
    assert VAEConfig(beta=np.float32(0.5)).beta == 0.5


def test_text_is_read_as_the_type_of_the_field():
    for name, value in (("latent_dim", 12), ("beta", 2.0), ("likelihood", "bernoulli")):
        read = parse_value(field_of(VAEConfig, name), f"{value}".removesuffix(".0"))
        assert read == value and type(read) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("latent_dim", "12.5", "latent_dim is '12.5', expected a whole number"),
        ("latent_dim", "", "latent_dim is '', expected a whole number"),
        ("latent_dim", "0", "expected at least 1"),
        ("beta", "much", "beta is 'much', expected a number"),
        ("beta", "nan", "expected a finite number"),
        ("likelihood", "", "expected one of bernoulli, quantized_normal"),
    ],
)
def test_text_that_cannot_be_read_is_refused(name, text, message):
    with pytest.raises(ValueError, match=message):
        parse_value(field_of(VAEConfig, name), text)


def test_truth_values_and_paths_are_read():
    @dataclasses.dataclass(frozen=True)
    class Options(CheckedConfig):
        switch: bool = setting(False, "a switch")
        output_dir: str | None = folder("where files go")

    field = field_of(Options, "switch")
    assert [parse_value(field, text) for text in ("true", "No", "1")] == [True, False, True]
    with pytest.raises(ValueError, match="switch is 'maybe', expected true or false"):
        parse_value(field, "maybe")
    assert Options(output_dir=Path("runs") / "a").output_dir == str(Path("runs/a"))
    with pytest.raises(ValueError, match="expected a value of type str"):
        Options(output_dir=3)


# --- Runs ---------------------------------------------------------------------------------


def test_nothing_typed_is_the_quick_preset_of_the_default_model():
    config = resolve()
    assert (config.model, config.dataset) == ("aae_plus_plus", "color_mnist_5k")
    assert (config.preset, config.batch_size, config.seed) == ("quick", 64, 0)
    assert config.hyperparameters == AAEPlusPlusConfig(latent_dim=10)
    assert config.steps == preset_values("quick", "color_mnist_5k")["steps"]
    assert resolve(model="vae", seed=3).folder == "runs/vae-color_mnist_5k-seed3"


def test_paper_preset_has_the_steps_of_appendix_k():
    thousands = {"color_mnist": 100, "color_mnist_5k": 100, "cifar10": 200, "celeb_a": 200}
    for dataset, number in thousands.items():
        assert resolve(preset="paper", dataset=dataset).steps == 1000 * number
    with pytest.raises(ValueError, match="preset is 'slow', expected one of quick, paper"):
        preset_values("slow", "cifar10")


def test_what_is_typed_wins_over_the_preset():
    config = resolve(preset="paper", steps="7", checkpoint_every=3)
    assert (config.steps, config.checkpoint_every) == (7, 3)
    assert config.log_every == preset_values("paper", config.dataset)["log_every"]


def test_the_quick_preset_takes_ten_latents_on_color_mnist_unless_told_otherwise():
    assert resolve().hyperparameters.latent_dim == 10
    assert resolve(dataset="cifar10").hyperparameters.latent_dim == 50
    assert resolve(latent_dim=50).hyperparameters.latent_dim == 50
    assert resolve({"latent_dim": "75"}).hyperparameters.latent_dim == 75


def test_the_paper_preset_has_the_latents_of_table_1():
    latents = {"color_mnist": 50, "color_mnist_5k": 50, "cifar10": 100, "celeb_a": 100}
    for dataset, number in latents.items():
        config = resolve(preset="paper", model="vae", dataset=dataset)
        assert config.hyperparameters.latent_dim == number
    draw = resolve(preset="paper", model="draw", dataset="cifar10")
    assert draw.hyperparameters == MODELS["draw"].config()


def test_hyperparameters_by_short_and_by_full_name():
    config = resolve({"beta": "0.5"}, model="vae", latent_dim="12")
    assert config.hyperparameters == VAEConfig(beta=0.5, latent_dim=12)
    both = resolve({"latent_dim": "12"}, model="vae", latent_dim=12)
    assert both.hyperparameters.latent_dim == 12


def test_a_configuration_and_fields_that_replace_its_own():
    first = resolve(model="vae", steps=7, latent_dim=4, output_dir="a")
    assert RunConfig.of(first) == first
    changed = RunConfig.of(first, beta=2.0, output_dir="b", precision="mixed_bfloat16")
    assert changed.hyperparameters == VAEConfig(latent_dim=4, beta=2.0)
    assert (changed.steps, changed.folder, changed.precision) == (7, "b", "mixed_bfloat16")
    assert RunConfig.of({"model": "vae"}, latent_dim=4).hyperparameters.latent_dim == 4
    with pytest.raises(
        UserError, match="likelihood is a hyperparameter of vae and draw and avb, not"
    ):
        RunConfig.of(first, model="dcgan")


@pytest.mark.parametrize(
    ("values", "hyperparameters", "message"),
    [
        ({"model": "vea"}, {}, "unknown model 'vea': did you mean"),
        ({"dataset": "mnist"}, {}, "unknown dataset 'mnist'"),
        ({"steps": "many"}, {}, "steps is 'many', expected a whole number"),
        ({"steps": 0}, {}, "steps is 0, expected at least 1"),
        ({"steps": 2.5}, {}, "steps is 2.5, expected a value of type int"),
        ({"seed": -1}, {}, "seed is -1, expected at least 0"),
        ({"seed": 2**31}, {}, "seed is 2147483648, expected at most 2147483647"),
        ({"strategy": "gpu"}, {}, "strategy is 'gpu', expected one of auto"),
        ({"precision": "float16"}, {}, "expected one of float32, mixed_bfloat16"),
        ({"preset": "fast"}, {}, "preset is 'fast', expected one of quick, paper"),
        ({"model": "vae", "stepz": 1}, {}, "vae has no 'stepz': did you mean steps"),
        ({"model": "dcgan", "beta": 1.0}, {}, "beta is a hyperparameter of vae, not of dcgan"),
        ({"model": "vae"}, {"bta": "1"}, "vae has no 'bta': did you mean beta"),
        ({"model": "vae"}, {"steps": "1"}, "vae has no 'steps'"),
        ({"model": "vae"}, {"beta": "-1"}, "beta is -1.0, expected at least 0.0"),
        ({"latent_dim": 8}, {"latent_dim": "9"}, "latent_dim is given twice, 8 and 9"),
    ],
)
def test_bad_input_is_one_line(values, hyperparameters, message):
    with pytest.raises(UserError, match=message) as caught:
        resolve_run_config(values, hyperparameters)
    assert "\n" not in str(caught.value)


@dataclasses.dataclass(frozen=True)
class OddConfig(ModelConfig):
    """Fields that JSON writes in another way."""

    maps: tuple[int, ...] = setting((64, 128), "feature maps", minimum=1)
    clip: float | None = setting(None, "largest norm of a gradient", kind=float, minimum=0.0)


@pytest.mark.parametrize("name", [*NAMES, "odd"])
def test_flat_survives_json_and_gives_the_configuration_back(name, monkeypatch):
    monkeypatch.setitem(MODELS, "odd", ModelEntry("odd", "Odd", OddConfig, "odd"))
    own = {"maps": "8,16,32", "clip": "none"} if name == "odd" else {}
    config = resolve({"latent_dim": "9", **own}, model=name, steps=12, data_dir="d")
    flat = json.loads(json.dumps(config.flat()))
    assert (flat["latent_dim"], flat["steps"], flat["data_dir"]) == (9, 12, "d")
    assert RunConfig.from_flat({**flat, "dataset_digest": "0" * 64}) == config
    if name == "odd":
        assert (flat["maps"], flat["clip"]) == ([8, 16, 32], None)
        assert config.hyperparameters.maps == (8, 16, 32)


def test_where_a_run_is_written_is_not_recorded():
    flat = resolve(model="vae", output_dir="a", cache_dir="b").flat()
    assert not {"output_dir", "cache_dir", "hyperparameters"} & set(flat)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"beta": "x"}, "beta is 'x', expected a value of type float"),
        ({"steps": 0}, "steps is 0"),
        ({"model": "nothing"}, "unknown model 'nothing'"),
        ({"model": None}, "names no model"),
    ],
)
def test_from_flat_names_what_is_bad(change, message):
    with pytest.raises(UserError, match=message) as caught:
        RunConfig.from_flat({**resolve(model="vae").flat(), **change})
    assert "\n" not in str(caught.value)


def test_run_refuses_the_hyperparameters_of_another_model():
    with pytest.raises(ValueError, match="are a VAEConfig, expected a AAEPlusPlusConfig"):
        RunConfig(hyperparameters=VAEConfig())
    with pytest.raises(ValueError, match="are a AAEPlusPlusConfig, expected a AAEGANConfig"):
        RunConfig(model="aae_gan", hyperparameters=AAEPlusPlusConfig())


def test_a_run_checks_its_fields(monkeypatch):
    @dataclasses.dataclass(frozen=True)
    class Clashing(ModelConfig):
        steps: int = setting(1, "not the steps of the run")

    monkeypatch.setitem(MODELS, "odd", ModelEntry("odd", "Odd", Clashing, "odd"))
    for fields, message in (
        ({"batch_size": 0}, "batch_size is 0, expected at least 1"),
        ({"model": "nothing"}, "unknown model 'nothing'"),
        ({"model": "odd", "hyperparameters": Clashing()}, "Clashing has steps, which every run"),
    ):
        with pytest.raises(ValueError, match=message):
            RunConfig(**fields)

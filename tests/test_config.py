"""Hyperparameters, presets, and what a user types becoming a run's configuration."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest

from tfdm.errors import UserError
from tfdm.experiments.config import (
    PRESETS,
    RunConfig,
    preset_values,
    resolve_run_config,
    run_fields,
)
from tfdm.fields import check_value, parse_value
from tfdm.models import registry
from tfdm.models.config import AAEConfig, AAEPlusPlusConfig, DCGANConfig, VAEConfig, WGANGPConfig
from tfdm.models.registry import MODELS
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


@pytest.mark.parametrize("name", NAMES)
def test_fields_of_a_run_and_of_a_model_have_different_names(name):
    """`flat` puts both at the top level."""
    own = {field.name for field in dataclasses.fields(MODELS[name].config)}
    assert not own & {field.name for field in run_fields()}


def test_defaults_lie_inside_the_sweeps_of_table_5():
    generator = {
        "vae": (0.0005, 0.005),
        "dcgan": (0.0001, 0.0003),
        "wgan_gp": (0.0001, 0.0003),
        "aae": (0.0005, 0.005),
        "veegan": (0.0005, 0.001),
        "aae_plus_plus": (0.0001, 0.0005),
        "aae_gan": (0.0001, 0.0005),
    }
    discriminator = {
        "dcgan": (0.0001, 0.0003),
        "wgan_gp": (0.0001, 0.0003),
        "veegan": (0.00005, 0.0001),
        "aae_plus_plus": (0.0005, 0.0005),
        "aae_gan": (0.0005, 0.0005),
    }
    code = {"aae": (0.00001, 0.0005), "aae_plus_plus": (0.0005,) * 2, "aae_gan": (0.0005,) * 2}
    assert set(generator) == set(MODELS) - {"draw"}  # It is not in the table.
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


@pytest.mark.parametrize("name", NAMES)
def test_a_configuration_survives_json(name):
    config = MODELS[name].config(latent_dim=7, width=0.5)
    assert MODELS[name].config(**json.loads(json.dumps(config.to_dict()))) == config


def test_configurations_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        VAEConfig().beta = 2.0


def test_a_whole_number_stands_for_a_float():
    config = VAEConfig(beta=2)
    assert config.beta == 2.0 and type(config.beta) is float


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


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("latent_dim", "12", 12),
        ("beta", "2", 2.0),
        ("beta", "1e-3", 1e-3),
        ("likelihood", "bernoulli", "bernoulli"),
    ],
)
def test_text_is_read_as_the_type_of_the_field(name, text, expected):
    value = parse_value(field_of(VAEConfig, name), text)
    assert value == expected and type(value) is type(expected)


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


@pytest.mark.parametrize(("text", "expected"), [("true", True), ("No", False), ("1", True)])
def test_truth_values_are_read(text, expected):
    @dataclasses.dataclass
    class WithSwitch:
        switch: bool = False

    field = field_of(WithSwitch, "switch")
    assert parse_value(field, text) is expected
    with pytest.raises(ValueError, match="switch is 'maybe', expected true or false"):
        parse_value(field, "maybe")


# --- Registry -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_registry_names_module_class_and_configuration(name):
    entry = MODELS[name]
    assert entry.name == name and entry.summary
    model_class = entry.load()
    assert model_class.__module__ == entry.module
    assert model_class.__name__ == entry.class_name
    assert model_class.config_class is entry.config


@pytest.mark.parametrize(
    ("name", "hint"),
    [("aae_plusplus", "did you mean aae_plus_plus"), ("stylegan9000", "")],
)
def test_unknown_model_is_one_line_with_near_names(name, hint):
    with pytest.raises(UserError, match=f"unknown model '{name}'.*{hint}") as caught:
        registry.find_model(name)
    assert "\n" not in str(caught.value)


def test_unknown_dataset_is_one_line_with_near_names():
    with pytest.raises(UserError, match="unknown dataset 'cifar': did you mean cifar10"):
        registry.check_dataset("cifar")
    assert registry.check_dataset("celeb_a") == "celeb_a"


# --- Runs ---------------------------------------------------------------------------------


def test_nothing_typed_is_the_quick_preset_of_the_default_model():
    config = resolve()
    assert (config.model, config.dataset) == ("aae_plus_plus", "color_mnist_5k")
    assert (config.preset, config.batch_size, config.seed) == ("quick", 64, 0)
    assert config.hyperparameters == AAEPlusPlusConfig(latent_dim=10)
    assert config.steps == preset_values("quick", "color_mnist_5k")["steps"]


@pytest.mark.parametrize("name", NAMES)
def test_every_model_resolves_to_its_own_hyperparameters(name):
    assert resolve(model=name, preset="paper").hyperparameters == MODELS[name].config()


@pytest.mark.parametrize(
    ("dataset", "steps"),
    [
        ("color_mnist", 100_000),
        ("color_mnist_5k", 100_000),
        ("cifar10", 200_000),
        ("celeb_a", 200_000),
    ],
)
def test_paper_preset_has_the_steps_of_appendix_k(dataset, steps):
    assert resolve(preset="paper", dataset=dataset).steps == steps


def test_what_is_typed_wins_over_the_preset():
    config = resolve(preset="paper", steps="7", checkpoint_every=3)
    assert (config.steps, config.checkpoint_every) == (7, 3)
    assert config.log_every == preset_values("paper", config.dataset)["log_every"]


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_give_admissible_values(preset):
    fields = {field.name: field for field in run_fields()}
    for name, value in preset_values(preset, "cifar10").items():
        check_value(fields[name], value)
    with pytest.raises(ValueError, match="preset is 'slow', expected one of quick, paper"):
        preset_values("slow", "cifar10")


def test_the_quick_preset_takes_ten_latents_on_color_mnist_unless_told_otherwise():
    assert resolve().hyperparameters.latent_dim == 10
    assert resolve(dataset="cifar10").hyperparameters.latent_dim == 50
    assert resolve(preset="paper").hyperparameters.latent_dim == 50
    assert resolve(latent_dim=50).hyperparameters.latent_dim == 50
    assert resolve({"latent_dim": "75"}).hyperparameters.latent_dim == 75


def test_hyperparameters_by_short_and_by_full_name():
    config = resolve({"beta": "0.5"}, model="vae", latent_dim="12")
    assert config.hyperparameters == VAEConfig(beta=0.5, latent_dim=12)
    both = resolve({"latent_dim": "12"}, model="vae", latent_dim=12)
    assert both.hyperparameters.latent_dim == 12


def test_none_stands_for_not_given():
    assert resolve({"beta": None}, model="vae", steps=None) == resolve(model="vae")


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
        ({"model": "dcgan", "beta": 1.0}, {}, "dcgan has no 'beta'"),
        ({"model": "vae"}, {"bta": "1"}, "vae has no hyperparameter 'bta': did you mean beta"),
        ({"model": "vae"}, {"steps": "1"}, "vae has no hyperparameter 'steps'"),
        ({"model": "vae"}, {"beta": "-1"}, "beta is -1.0, expected at least 0.0"),
        ({"latent_dim": 8}, {"latent_dim": "9"}, "latent_dim is given twice, 8 and 9"),
    ],
)
def test_bad_input_is_one_line(values, hyperparameters, message):
    with pytest.raises(UserError, match=message) as caught:
        resolve_run_config(values, hyperparameters)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_flat_survives_json_and_gives_the_configuration_back(name):
    config = resolve({"latent_dim": "9"}, model=name, steps=12, precision="mixed_bfloat16")
    flat = json.loads(json.dumps(config.flat()))
    assert flat["latent_dim"] == 9 and flat["steps"] == 12
    assert all(not isinstance(value, (dict, list)) for value in flat.values())
    assert RunConfig.from_flat({**flat, "dataset_digest": "0" * 64}) == config


def test_from_flat_names_what_is_missing_or_bad():
    flat = resolve(model="vae").flat()
    with pytest.raises(UserError, match="lacks beta, steps"):
        RunConfig.from_flat({k: v for k, v in flat.items() if k not in ("beta", "steps")})
    with pytest.raises(UserError, match="beta is 'x', expected a value of type float"):
        RunConfig.from_flat({**flat, "beta": "x"})
    with pytest.raises(UserError, match="steps is 0"):
        RunConfig.from_flat({**flat, "steps": 0})
    with pytest.raises(UserError, match="unknown model"):
        RunConfig.from_flat({**flat, "model": "nothing"})


def test_run_refuses_the_hyperparameters_of_another_model():
    with pytest.raises(ValueError, match="are a VAEConfig, expected a AAEPlusPlusConfig"):
        RunConfig(hyperparameters=VAEConfig())
    with pytest.raises(ValueError, match="are a AAEPlusPlusConfig, expected a AAEGANConfig"):
        RunConfig(model="aae_gan", hyperparameters=AAEPlusPlusConfig())


def test_run_checks_its_fields():
    assert RunConfig().hyperparameters == AAEPlusPlusConfig()
    with pytest.raises(ValueError, match="batch_size is 0, expected at least 1"):
        RunConfig(batch_size=0, hyperparameters=AAEPlusPlusConfig())


def test_configuration_and_registry_do_not_import_tensorflow():
    program = (
        "import sys, tfdm.experiments.config, tfdm.models.registry; "
        "tfdm.experiments.config.resolve_run_config({}); "
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

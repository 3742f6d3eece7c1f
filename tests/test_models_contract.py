"""What every model keeps to in training: seeds, replicas, XLA, precision, divergence."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.model_cases import (
    BATCH_SIZE,
    OPTIONS,
    all_variables,
    assert_same,
    moving_variables,
    small_batches,
    small_images,
    small_model,
    two_replicas,
    values,
)
from tfdm.models.registry import MODELS

NAMES = sorted(MODELS)
FITTED_STEPS = 3
# XLA and replicas change the order of sums; a slow test tries every model.
REPRESENTATIVE = "aae_plus_plus"
# (model, options, how far the moments may differ, relative to their norm). With several critic
# updates a step the second starts from rounded weights, and a rectifier's kink may be crossed.
CASES = [
    pytest.param(name, options, gap, marks=() if name == REPRESENTATIVE else pytest.mark.slow)
    for name, options, gap in [
        *((name, {"critic_steps": 1} if name == "wgan_gp" else {}, 1e-4) for name in NAMES),
        ("wgan_gp", {"critic_steps": 2}, 2e-2),
    ]
]

every_model = pytest.mark.parametrize("name", NAMES)


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A model after `fit`, not to be changed."""

    name: str
    model: Any
    initial: list[np.ndarray]
    batches: np.ndarray
    history: dict[str, list[float]]


@functools.cache
def fitted(name: str) -> Fitted:
    """A model after three steps of plain `compile` and `fit` on uint8 arrays, once a process."""
    model = small_model(name)
    initial = values(model.variables)
    batches = small_batches(model, FITTED_STEPS)
    model.compile()
    history = model.fit(
        batches.reshape([-1, *batches.shape[2:]]), batch_size=BATCH_SIZE, shuffle=False, verbose=0
    )
    return Fitted(name, model, initial, batches, history.history)


def stepper(model: Any, **options: Any) -> Callable[[np.ndarray], dict[str, float]]:
    """The traced training step: batch -> terms."""
    step = tf.function(model.train_step, autograph=False, **options)
    return lambda batch: {name: float(v) for name, v in step(tf.constant(batch)).items()}


def assert_step_close(
    actual: Any, expected: Any, terms: dict, expected_terms: dict, allowed_gap: float
) -> None:
    """After one step from one state: terms and moments to rounding, weights as Adam makes of it."""
    # Adam divides by the gradient's size: rounding near zero moves a weight, but no moment.
    assert set(terms) == set(expected_terms)
    for name, value in expected_terms.items():
        near = pytest.approx(value, rel=1e-4, abs=max(2e-5, 0.01 * allowed_gap))
        assert terms[name] == near, name
    for player in expected.optimizers:
        for kind in ("momentum", "velocity"):
            moments = []
            for model in (actual, expected):
                found = [v for v in model.optimizers[player].variables if kind in v.path]
                moments.append(np.concatenate([np.ravel(v) for v in found]))
            gap = np.linalg.norm(moments[0] - moments[1])
            assert gap < allowed_gap * np.linalg.norm(moments[1]), (player, kind)
    pairs = zip(values(actual.variables), values(expected.variables), strict=True)
    excess = np.concatenate([np.ravel(np.abs(a - b) - 1e-4 * np.abs(b)) for a, b in pairs])
    assert excess.max() < 5e-4
    assert np.mean(excess > 2e-5) <= 0.01


def copy_state(source: Any, target: Any) -> None:
    """Makes both models go on from one state; two steps apart would amplify rounding."""
    for old, new in zip(all_variables(target), all_variables(source), strict=True):
        old.assign(new.numpy())


# --- Training -------------------------------------------------------------------------------


@every_model
def test_fit_moves_every_player_and_logs_every_loss(name):
    model, history = fitted(name).model, fitted(name).history
    assert {f"{player.name}_loss" for player in model.players} <= set(history)
    assert all(math.isfinite(value) for [value] in history.values())
    assert int(model.step.numpy()) == FITTED_STEPS
    assert model.divergence() is None
    per_step = {"critic": OPTIONS["wgan_gp"]["critic_steps"]}
    for player in model.players:
        expected = FITTED_STEPS * per_step.get(player.name, 1)
        assert int(player.optimizer.iterations.numpy()) == expected
    can_move = [*moving_variables(model), *(v for v in model.variables if "moving" in v.path)]
    changes = {id(variable) for variable in can_move}
    for variable, old in zip(model.variables, fitted(name).initial, strict=True):
        assert np.isfinite(variable.numpy()).all(), variable.path
        if id(variable) in changes:
            assert np.any(variable.numpy() != old), variable.path


@every_model
def test_the_same_seed_gives_the_same_weights_bit_for_bit(name):
    """`fit`, and `train_step` traced by hand in another instance."""
    again = small_model(name)
    assert_same(values(again.variables), fitted(name).initial)
    run = stepper(again)
    logs = [run(batch) for batch in fitted(name).batches]
    assert_same(values(all_variables(again)), values(all_variables(fitted(name).model)))
    means = {key: np.mean([float(one[key]) for one in logs]) for key in logs[-1]}
    assert means == pytest.approx({key: v for key, [v] in fitted(name).history.items()})


@every_model
def test_another_seed_gives_other_weights_and_noise(name):
    first, second = small_model(name, seed=3), small_model(name, seed=4)
    for variable, other in zip(first.variables, second.variables, strict=True):
        if "kernel" in variable.path:
            assert np.any(variable.numpy() != other.numpy()), variable.path
        other.assign(variable.value)
    [batch] = small_batches(first, 1)
    logs = [model.train_step(tf.constant(batch)) for model in (first, second)]
    assert any(float(logs[0][key]) != float(logs[1][key]) for key in logs[0])


@every_model
def test_moving_averages_are_those_of_inference(name):
    """Codes of data, and images of the codes seen in training, against batch moments."""
    model = small_model(name, batch_norm_momentum=0.8)
    images = small_images(64 * model.batches_per_step)
    count = () if model.batches_per_step == 1 else (model.batches_per_step,)
    for player in model.players:  # Averages lag behind weights that move fast.
        player.optimizer.learning_rate = 1e-5
    run = stepper(model)
    for _ in range(25):
        run(images.reshape([64, *count, *model.image_shape]))
    inputs = tf.constant(images[:64] / np.float32(127.5) - 1.0)
    posterior = functools.partial(model.infer, inputs) if model.has_encoder else None
    codes = model.sample_codes(64)
    if posterior is not None:
        noise = np.random.default_rng(0).normal(size=[64, model.noise_dim]).astype(np.float32)
        noise = tf.constant(noise)
        averaged, expected = (posterior(mode).from_noise(noise) for mode in (False, True))
        assert np.linalg.norm(averaged - expected) < 0.1 * np.linalg.norm(expected)
        if name not in ("aae_gan", "ali", "veegan"):  # Their generators make samples in training.
            codes = expected
    averaged, expected = (model.generator(codes, training=mode) for mode in (False, True))
    assert np.linalg.norm(averaged - expected) < 0.1 * np.linalg.norm(expected)


@pytest.mark.parametrize(("name", "options", "gap"), CASES)
def test_xla_compiles_the_step_and_changes_nothing_but_rounding(name, options, gap):
    plain, compiled = small_model(name, **options), small_model(name, **options)
    run, run_compiled = stepper(plain), stepper(compiled, jit_compile=True)
    for batch in small_batches(plain, 2):
        expected, terms = run(batch), run_compiled(batch)
        assert_step_close(compiled, plain, terms, expected, gap)
        copy_state(plain, compiled)


@pytest.mark.parametrize(("name", "options", "gap"), CASES)
def test_two_replicas_and_one_device_move_alike(name, options, gap):
    """The same global batch; batch norm takes its moments over both replicas."""
    strategy = two_replicas()
    with strategy.scope():
        mirrored = small_model(name, image_shape=(16, 16, 3), ema_decay=0.5, **options)
        mirrored.compile()
    single = small_model(name, image_shape=(16, 16, 3), ema_decay=0.5, **options)
    run = stepper(single)
    for number, batch in enumerate(small_batches(single, 2), start=1):
        expected = run(batch)
        dataset = tf.data.Dataset.from_tensor_slices(batch).batch(BATCH_SIZE, drop_remainder=True)
        history = mirrored.fit(dataset, verbose=0, shuffle=False).history
        terms = {key: value for key, [value] in history.items()}
        assert int(mirrored.step.numpy()) == number
        assert_step_close(mirrored, single, terms, expected, gap)
        copy_state(single, mirrored)


@every_model
def test_images_of_another_shape_train(name):
    model = small_model(name, image_shape=(32, 32, 3), width=1 / 16)
    [batch] = small_batches(model, 1)
    logs = model.train_step(tf.constant(batch))
    assert all(math.isfinite(float(value)) for value in logs.values())
    assert model.generate(2).shape == [2, 32, 32, 3]


def options_of(name: str) -> list[tuple[str, str]]:
    """Every choice of a model that is not its default."""
    fields = dataclasses.fields(MODELS[name].config)
    return [
        (field.name, choice)
        for field in fields
        for choice in field.metadata["choices"] or ()
        if choice != field.default
    ]


@pytest.mark.parametrize(
    ("name", "field", "choice"), [(name, *option) for name in NAMES for option in options_of(name)]
)
def test_every_choice_trains(name, field, choice):
    extra = {"scale_sharing": {"likelihood": "quantized_normal"}}.get(field, {})
    model = small_model(name, **{field: choice}, **extra)
    before = values(moving_variables(model))
    # A flow starts as the identity: its hidden layers move with the second step.
    for batch in small_batches(model, 2 if choice == "flow" else 1):
        logs = model.train_step(tf.constant(batch))
        assert all(math.isfinite(float(value)) for value in logs.values())
    after = values(moving_variables(model))
    assert all(np.any(a != b) for a, b in zip(before, after, strict=True))


@every_model
def test_bfloat16_keeps_weights_losses_and_images_in_float32(name):
    model = small_model(name, dtype="mixed_bfloat16")
    [batch] = small_batches(model, 1)
    logs = model.train_step(tf.constant(batch))
    exact = small_model(name).train_step(tf.constant(batch))
    assert set(logs) == set(exact)
    for key, value in logs.items():
        assert value.dtype == tf.float32
        if "accuracy" not in key:
            assert float(value) == pytest.approx(float(exact[key]), rel=0.05, abs=0.1), key
    assert {v.dtype for v in all_variables(model)} <= {"float32", "int64"} | {
        model.players[0].optimizer.iterations.dtype
    }
    assert model.generate(2).dtype == tf.float32
    if model.has_encoder:
        assert model.encode(small_images(2)).dtype == tf.float32
    kernel = next(layer for layer in model.generator.layers if hasattr(layer, "kernel"))
    assert kernel.compute_dtype == "bfloat16"


# --- Divergence -----------------------------------------------------------------------------


@every_model
def test_divergence_names_the_first_bad_step_and_a_bad_term(name):
    model = small_model(name)
    batches = (small_batches(model, 3) / 255.0).astype(np.float32)
    batches[1, 0] = np.nan
    assert model.divergence() is None
    logs = [model.train_step(tf.constant(batch)) for batch in batches[:1]]
    assert model.divergence() is None
    logs += [model.train_step(tf.constant(batch)) for batch in batches[1:]]
    step, term = model.divergence()
    assert step == 2
    assert math.isfinite(float(logs[0][term])) and not math.isfinite(float(logs[1][term]))
    assert int(model.step.numpy()) == 3


# --- Moving average -------------------------------------------------------------------------


@every_model
def test_moving_average_follows_its_formula_and_makes_the_samples(name, rng):
    decay = 0.75
    model = small_model(name, ema_decay=decay)
    expected = [weight.astype(np.float64) for weight in values(model.generator.weights)]
    for batch in small_batches(model, 2):
        model.train_step(tf.constant(batch))
        current = values(model.generator.weights)
        expected = [decay * e + (1 - decay) * w for e, w in zip(expected, current, strict=True)]
    paths = [[weight.path for weight in net.weights] for net in (model.generator, model.sampler)]
    assert paths[0] == paths[1]
    for average, value in zip(model.generator_average.weights, expected, strict=True):
        np.testing.assert_allclose(average, value, rtol=1e-5, atol=1e-7, err_msg=average.path)
    assert model.sampler is model.generator_average

    codes = tf.constant(rng.normal(size=[3, model.latent_dim]), tf.float32)
    averaged = model.generate(codes)
    plain = model.to_unit_range(model.generator(codes, training=False))
    assert np.abs(averaged - plain).max() > 0.0
    model.generator.set_weights(model.generator_average.get_weights())
    swapped = model.to_unit_range(model.generator(codes, training=False))
    np.testing.assert_array_equal(averaged, swapped)

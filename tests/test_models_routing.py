"""Whose variables a loss moves, and by which gradient: finite differences of the logged losses.

The optimisers are replaced by recorders, so that `update` may be asked for its losses anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.model_cases import (
    BATCH_SIZE,
    FixedNoise,
    assert_same,
    small_images,
    small_model,
    stir,
    values,
)
from tfdm.models.registry import MODELS

NAMES = sorted(MODELS)
IMAGES = tf.constant(small_images(BATCH_SIZE, seed=5) / 127.5 - 1.0, tf.float32)
# Options that switch more terms of a loss on.
MORE_TERMS = {
    "vae": {"marginal_kl_weight": 3.0},
    "veegan": {"reconstructor_adversarial_weight": 0.7},
}
STEP = 3e-3
Evaluate = Callable[[], tuple[dict[str, float], dict[str, list[np.ndarray]]]]


def prepared(name: str, seed: int, **options: Any) -> tuple[Any, FixedNoise]:
    """The same model and the same noise for the same seed; its losses are smooth.

    The rectifiers are straight: at a kink a loss has no derivative, and the penalty of a critic's
    gradient jumps.
    """
    rng = np.random.default_rng(seed)
    model = small_model(name, **MORE_TERMS.get(name, {}), **options)
    stir(model, rng)
    for layer in model._flatten_layers():
        if hasattr(layer, "negative_slope"):
            layer.negative_slope = 1.0
    return model, FixedNoise(rng)


def recorded(model: Any, noise: FixedNoise, monkeypatch: pytest.MonkeyPatch) -> Evaluate:
    """Returns a function: losses and the gradients that the players' optimisers are given."""
    given: dict[str, list[tf.Tensor]] = {}

    def recorder(player: Any) -> Callable[..., None]:
        def apply(gradients: list[tf.Tensor], variables: list[Any]) -> None:
            assert [id(v) for v in variables] == [id(v) for v in player.variables]
            given[player.name] = list(gradients)

        return apply

    for player in model.players:
        monkeypatch.setattr(player.optimizer, "apply", recorder(player))

    @tf.function(autograph=False)
    def update() -> Any:
        terms = model.update(IMAGES, noise)
        return {player.name: terms[f"{player.name}_loss"] for player in model.players}, given

    def evaluate() -> Any:
        losses, gradients = update()
        return (
            {name: float(loss) for name, loss in losses.items()},
            {name: [g.numpy() for g in group] for name, group in gradients.items()},
        )

    return evaluate


def move(variables: list[Any], start: list[np.ndarray], step: list[np.ndarray], by: float) -> None:
    for variable, old, direction in zip(variables, start, step, strict=True):
        variable.assign(old + by * direction)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ema_decay", [0.0, 0.5])
def test_every_trainable_variable_belongs_to_one_player(name, ema_decay):
    model = small_model(name, ema_decay=ema_decay)
    owned = [id(variable) for player in model.players for variable in player.variables]
    assert len(owned) == len(set(owned))
    assert set(owned) == {id(variable) for variable in model.trainable_variables}
    assert model.optimizers == {player.name: player.optimizer for player in model.players}


@pytest.mark.parametrize("name", NAMES)
def test_each_player_is_given_the_gradient_of_its_own_loss_alone(name, seed, rng, monkeypatch):
    model, noise = prepared(name, seed)
    evaluate = recorded(model, noise, monkeypatch)
    before = values(model.trainable_variables)
    _, gradients = evaluate()
    for player in model.players:
        start, gradient = values(player.variables), gradients[player.name]
        for _ in range(3):
            # Along the gradient of every variable, up or down; anywhere where that is zero.
            direction = [g if np.any(g) else rng.normal(size=g.shape) for g in gradient]
            direction = [rng.choice([-1, 1]) * d / np.linalg.norm(d) for d in direction]
            slopes = [np.sum(g * d) for g, d in zip(gradient, direction, strict=True)]
            ends = []
            for step in (STEP, -STEP):
                move(player.variables, start, direction, step)
                ends.append(evaluate()[0][player.name])
            move(player.variables, start, direction, 0.0)
            difference = (ends[0] - ends[1]) / (2 * STEP)
            size = np.sum(np.abs(slopes))
            assert size > 0.1
            assert difference == pytest.approx(np.sum(slopes), abs=1e-3 * size), player.name
    assert_same(before, values(model.trainable_variables))


@pytest.mark.parametrize("name", ["aae_plus_plus", "aae_gan"])
def test_sequential_updates_follow_the_order_of_algorithm_4(name, seed, monkeypatch):
    """Encoder, generator, discriminator, code discriminator, each seeing those before it moved."""
    sequential, noise = prepared(name, seed, updates="sequential")
    seen = {}

    def spy(player: Any) -> Callable[..., None]:
        apply = player.optimizer.apply

        def record(gradients: list[tf.Tensor], variables: list[Any]) -> None:
            seen[player.name] = values(sequential.trainable_variables), gradients
            apply(gradients, variables)

        return record

    for player in sequential.players:
        monkeypatch.setattr(player.optimizer, "apply", spy(player))
    terms = sequential.update(IMAGES, noise)
    assert list(seen) == ["encoder", "generator", "discriminator", "code_discriminator"]

    simultaneous, noise = prepared(name, seed)
    evaluate = recorded(simultaneous, noise, monkeypatch)
    start = evaluate()[1]
    for player, (state, given) in seen.items():
        for variable, value in zip(simultaneous.trainable_variables, state, strict=True):
            variable.assign(value)
        losses, gradients = evaluate()
        largest = max(np.abs(gradient).max() for gradient in given)
        for actual, expected in zip(given, gradients[player], strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4 * largest)
        # The losses that are logged are those that moved the players.
        assert float(terms[f"{player}_loss"]) == pytest.approx(losses[player], rel=1e-4)
        gap = max(np.abs(a - b).max() for a, b in zip(given, start[player], strict=True))
        assert (gap > 1e-3 * largest) == (player != "encoder")

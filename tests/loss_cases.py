"""What the tests of losses share: NumPy's side of the paper's formulas, and calls of networks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.model_cases import BATCH_SIZE, LATENT_DIM, FixedNoise, small_images, small_model, stir

TOLERANCE = 2e-5
BYTES = small_images(BATCH_SIZE, seed=5)
IMAGES = (BYTES / 127.5 - 1.0).astype(np.float32)


def softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0.0, x)


def minus_log_d(logits: np.ndarray) -> float:
    """-log D, averaged."""
    return softplus(-logits).mean()


def minus_log_one_minus_d(logits: np.ndarray) -> float:
    """-log(1 - D), averaged."""
    return softplus(logits).mean()


def accuracy(real: np.ndarray, fake: np.ndarray) -> float:
    return ((real > 0).mean() + (fake < 0).mean()) / 2


def prepared(name: str, rng: np.random.Generator, **options: Any) -> tuple[Any, FixedNoise]:
    """A model whose weights are not special, and noise."""
    model = small_model(name, **options)
    stir(model, rng)
    return model, FixedNoise(rng)


def computed(model: Any, noise: FixedNoise, training: bool) -> tuple[dict, dict]:
    """Losses and terms of a model."""
    losses, terms = model.player_losses(tf.constant(IMAGES), noise, training)
    for value in [*losses.values(), *terms.values()]:
        assert value.shape == [] and value.dtype == tf.float32
    assert set(losses) == {player.name for player in model.players}
    return losses, terms


def caller(training: bool) -> Any:
    """Calls a network on arrays and returns float64."""

    def call(network: Any, *inputs: np.ndarray) -> np.ndarray:
        arrays = [tf.constant(x, tf.float32) for x in inputs]
        outputs = network(arrays if len(arrays) > 1 else arrays[0], training=training)
        return outputs.numpy().astype(np.float64)

    return call


def agree(actual: dict[str, Any], expected: dict[str, float]) -> None:
    assert set(actual) == set(expected)
    for name, value in expected.items():
        error = TOLERANCE * max(1.0, abs(value))
        assert float(actual[name]) == pytest.approx(value, abs=error), name


def infer(call: Any, model: Any, images: np.ndarray, epsilon: np.ndarray) -> np.ndarray:
    """Codes by the three kinds of encoder."""
    if model.encoder_kind == "implicit":
        return call(model.encoder, images, epsilon)
    outputs = call(model.encoder, images)
    if model.encoder_kind == "deterministic":
        return outputs
    loc, scale = loc_and_scale(outputs)
    return loc + scale * epsilon


def loc_and_scale(outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    loc, raw = outputs[:, :LATENT_DIM], outputs[:, LATENT_DIM:]
    return loc, softplus(raw + math.log(math.e - 1.0)) + 1e-4

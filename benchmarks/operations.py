"""Counts the floating-point operations of a training step, and measures the machine's peak.

A multiplication with an addition counts as two operations. Only convolutions, transposed
convolutions and linear layers count, each by its mathematical definition (taps that meet padding
included), whatever the implementation does: a step that computes more does not look better.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Passes:
    """How often a network is run through in one step.

    Attributes:
      forward: forward passes.
      weights: backward passes into the weights; they stop at the first layer's weights.
      inputs: backward passes into the input that move no weights of the network.
    """

    forward: int
    weights: int
    inputs: int


# What Algorithm 4 with simultaneous updates, and the GAN of section 3, cannot do without.
STEP_PASSES: dict[str, dict[str, Passes]] = {
    "dcgan": {
        "generator": Passes(forward=1, weights=1, inputs=0),
        "discriminator": Passes(forward=2, weights=2, inputs=1),
    },
    "aae_gan": {
        "encoder": Passes(forward=1, weights=1, inputs=0),
        "generator": Passes(forward=2, weights=2, inputs=1),
        "discriminator": Passes(forward=3, weights=3, inputs=2),
        "code_discriminator": Passes(forward=2, weights=2, inputs=1),
    },
}


COUNTED = (*STEP_PASSES, "draw")


def layer_operations(network: keras.Model) -> list[int]:
    """Returns the operations of one forward pass on one example, layer by layer."""
    counts = []
    for layer in network.layers:
        name = type(layer).__name__
        if "Dense" in name:
            counts.append(2 * int(np.prod(layer.kernel.shape)))
        elif "Conv" in name:
            # A transposed convolution uses every weight once for each position of its input.
            maps = layer.input if "Transpose" in name else layer.output
            positions = int(np.prod(maps.shape[1:3]))
            counts.append(2 * positions * int(np.prod(layer.kernel.shape)))
    return counts


def step_operations(model: keras.Model, name: str, batch_size: int) -> int:
    """Returns the operations of one training step of `dcgan`, `aae_gan` or `draw`."""
    if name == "draw":
        return draw_operations(model) * batch_size
    total = 0
    for network, passes in STEP_PASSES[name].items():
        layers = layer_operations(getattr(model, network))
        once, first = sum(layers), layers[0]
        total += passes.forward * once + passes.inputs * once
        total += passes.weights * (once + once - first)
    return total * batch_size


def draw_operations(model: keras.Model) -> int:
    """Returns the operations of one training step of DRAW on one example.

    Every convolution runs once a step of the T, forward and into its weights. Backward it runs
    into the input maps that depend on weights: not into images, nor into the state at the start.
    """
    sizes = model.sizes
    steps, images, latents = sizes.num_steps, sizes.image_maps, sizes.latent_maps
    hidden = sizes.hidden_maps
    # Input maps that depend on weights, summed over the steps.
    moved = {
        model.encoder.gates: (steps - 1) * (images + 2 * hidden),
        model.encoder.posterior_maps: steps * hidden,
        model.generator.gates: steps * latents + (steps - 1) * (images + hidden),
        model.generator.canvas_maps: steps * hidden,
    }
    if model.has_learned_prior:
        moved[model.generator.prior_maps] = (steps - 1) * hidden
    total = 0
    for layer, inputs in moved.items():
        side, _, maps, outputs = layer.kernel.shape
        each = 2 * int(np.prod(sizes.grid)) * side * side * outputs
        total += each * (2 * steps * maps + inputs)
    return total


def matrix_product_rate(dtype: str = "float32", size: int = 2048, repeats: int = 5) -> float:
    """Returns the best measured rate of a square matrix product, operations a second."""
    a = tf.cast(tf.random.stateless_normal([size, size], [0, 0]), dtype)
    b = tf.cast(tf.random.stateless_normal([size, size], [0, 1]), dtype)
    product = tf.function(lambda: tf.cast(tf.reduce_sum(a @ b), tf.float32))
    return 2 * size**3 / min(seconds(product, repeats))


def seconds(function: Callable[[], tf.Tensor], repeats: int) -> list[float]:
    """Returns the wall time of each call, results fetched, after one call that does not count."""
    np.asarray(function())
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        np.asarray(function())
        times.append(time.perf_counter() - start)
    return times

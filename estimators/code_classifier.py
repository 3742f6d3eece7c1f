"""The classifier of codes behind the density ratio (Algorithm 2, Appendix A.3).

An MLP with leaky rectifiers. Its label 1 is p, the side of the prior, and its logit log p(z) −
log q(z); Algorithm 2 has the labels the other way round. Shapes: B batch, L latent dimension.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfdm.estimators.codes import CodeSampler, in_blocks
from tfdm.estimators.config import DensityRatioConfig
from tfdm.estimators.fitting import Fit, fit
from tfdm.gradient_penalty import gradient_penalty
from tfdm.losses import discriminator_loss
from tfdm.seeds import stream
from tfdm.statistics import FloatArray

SLOPE = 0.2
# Codes of either side behind the held-out cross entropy, and codes evaluated at once.
_HELD_OUT = 8192
_BLOCK = 8192


class CodeClassifier(tf.Module):
    """Codes [B, L] -> logits [B], log p(z) − log q(z) at the optimum."""

    def __init__(self, latent_dim: int, config: DensityRatioConfig, seed: int) -> None:
        super().__init__()
        self._config, self._seed = config, seed
        rng = stream(seed, "kl/classifier/weights")
        self._layers = [
            (tf.Variable(kernel, dtype=tf.float32), tf.Variable(tf.zeros(kernel.shape[1:])))
            for kernel in initial_kernels(latent_dim, config.width, config.num_layers, rng)
        ]

    def __call__(self, codes: tf.Tensor, noise_seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns logits [B]; with a seed [2], int64, noise and dropout as in training."""
        hidden = tf.cast(codes, tf.float32)
        for index, (kernel, bias) in enumerate(self._layers[:-1]):
            hidden = tf.nn.leaky_relu(hidden @ kernel + bias, SLOPE)
            if noise_seed is not None:
                hidden = self._disturbed(hidden, noise_seed + 2 * index)
        kernel, bias = self._layers[-1]
        return tf.squeeze(hidden @ kernel + bias, axis=-1)

    def logits(self, codes: FloatArray) -> FloatArray:
        """Returns the logits of any number of codes, float64 [S]."""
        return in_blocks(self, codes, _BLOCK)

    def loss(self, batch: Mapping[str, tf.Tensor], step: tf.Tensor) -> tf.Tensor:
        """The cross entropy of a step's codes, `posterior` and `prior`, with the penalty."""
        posterior, prior = batch["posterior"], batch["prior"]
        is_noisy = self._config.activation_noise > 0.0 or self._config.dropout > 0.0
        noise_seed = tf.stack([tf.constant(self._seed, tf.int64), step * 1024])
        both = self(tf.concat([prior, posterior], axis=0), noise_seed if is_noisy else None)
        loss = discriminator_loss(*tf.split(both, 2))
        if self._config.gradient_penalty > 0.0:
            weights = tf.random.stateless_uniform(tf.shape(prior)[:1], noise_seed + 1000)
            penalty = gradient_penalty(self, prior, posterior, weights)
            loss += self._config.gradient_penalty * tf.reduce_mean(penalty)
        return loss

    def _disturbed(self, hidden: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        config, shape = self._config, tf.shape(hidden)
        if config.activation_noise > 0.0:
            hidden += config.activation_noise * tf.random.stateless_normal(shape, seed)
        if config.dropout > 0.0:
            kept = tf.random.stateless_uniform(shape, seed + 1) >= config.dropout
            hidden *= tf.cast(kept, tf.float32) / (1.0 - config.dropout)
        return hidden


def initial_kernels(
    inputs: int, width: int, num_layers: int, rng: np.random.Generator
) -> Iterator[FloatArray]:
    """Yields the kernels [fan-in, units] of an MLP with one output (He et al. 2015)."""
    for fan_in, units in itertools.pairwise([inputs, *[width] * num_layers, 1]):
        scale = np.sqrt(2.0 / ((1.0 + SLOPE**2) * fan_in))
        yield scale * rng.standard_normal((fan_in, units))


def fit_classifier(
    posterior: CodeSampler,
    prior: CodeSampler,
    config: DensityRatioConfig,
    seed: int,
    held_out: CodeSampler,
    progress: Callable[[int, int], Any] | None = None,
    state: Path | None = None,
) -> tuple[CodeClassifier, Fit]:
    """Trains a classifier between two samplers, as `fit` (Algorithm 2, lines 2 to 5).

    `posterior` is the side of label 0, `held_out` the same of data that are not trained on.
    """
    classifier = CodeClassifier(posterior.latent_dim, config, seed)
    size = config.batch_size

    def batch(step: int) -> dict[str, FloatArray]:
        return {
            "posterior": posterior.sample(size, stream(seed, "kl/classifier/posterior", step)),
            "prior": prior.sample(size, stream(seed, "kl/classifier/prior", step)),
        }

    fixed = [
        sampler.sample(_HELD_OUT, stream(seed, f"kl/classifier/held_out_{name}"))
        for sampler, name in ((prior, "prior"), (held_out, "posterior"))
    ]
    outcome = fit(
        classifier.trainable_variables,
        classifier.loss,
        batch,
        lambda: cross_entropy(*map(classifier.logits, fixed)),
        config,
        keep_best=config.keep_best or config.patience > 0,
        progress=progress,
        state=state,
    )
    return classifier, outcome


def cross_entropy(prior_logits: FloatArray, posterior_logits: FloatArray) -> float:
    """mean(−log D(prior)) + mean(−log(1 − D(posterior))), as `discriminator_loss`, in float64."""
    losses = np.logaddexp(0.0, -prior_logits), np.logaddexp(0.0, posterior_logits)
    return float(sum(map(np.mean, losses)))

"""Density ratios between Gaussians whose divergence is known (section 5, Appendix E).

Two affine Gaussians, the data p* and the model p_θ, and a classifier between them with label 1 for
the data. `estimation` holds both fixed and asks what the classifier says of KL[p_θ ‖ p*];
`learning` moves θ = (W, b) by the reverse-KL generator loss −logit and follows the true KL.

All repetitions train in one traced computation along a leading axis; nothing of one reaches
another, so that one may diverge alone. Shapes: R repetitions, B batch, D dimensions, K = 10 D.
"""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfdm.estimators.affine_gaussians import (
    NOISE_FACTOR,
    AffineGaussian,
    kl_between,
    random_gaussian,
)
from tfdm.estimators.config import SETTINGS, SyntheticConfig
from tfdm.losses import fake_cross_entropy, real_cross_entropy, reverse_kl_loss
from tfdm.seeds import derive, stream
from tfdm.statistics import standard_error
from tfdm.training.loop import ResumableTraining

SLOPE = 0.2
ADAM_BETAS = (0.5, 0.9)
# From this width on a product for each repetition is faster than one over all of them.
LOOP_WIDTH = 256
# What a look holds of every repetition.
SERIES = ("true_kl", "estimate", "standard_error")


class SyntheticExperiment(ResumableTraining):
    """One setting in one dimension, all repetitions.

    Attributes:
      setting: `estimation` or `learning`.
      dim: D.
      looks: (step, `true_kl`, `estimate` and `standard_error` [R]) of every look until now.
      initial_kl: KL[p_θ ‖ p*] [R] before anything is learned.
    """

    def __init__(self, setting: str, dim: int, config: SyntheticConfig) -> None:
        """Draws the Gaussians and the classifiers; each repetition's depend on its seed alone.

        Raises:
          ValueError: an unknown setting, or a dimension below 1.
        """
        if setting not in SETTINGS:
            raise ValueError(f"setting is {setting!r}, expected one of {', '.join(SETTINGS)}")
        if dim < 1:
            raise ValueError(f"dim is {dim}, expected 1 or more")
        self.setting, self.dim, self.config = setting, dim, config
        self.looks: list[tuple[int, dict[str, npt.NDArray[np.float64]]]] = []
        self._is_looped = config.width >= LOOP_WIDTH
        self._seeds = [config.seed + r for r in range(config.num_seeds)]
        pairs = [self._draw_gaussians(seed) for seed in self._seeds]
        self._data = [data for data, _ in pairs]
        self.initial_kl = np.array([kl_between(model, data) for data, model in pairs])
        # x / √K has entries of order one in every dimension; the ratio is the same.
        self._unit = 1.0 / np.sqrt(NOISE_FACTOR * dim)
        self._data_bias, self._data_cholesky = self._bias_and_cholesky(self._data)
        self._model_bias, self._model_cholesky = self._bias_and_cholesky([m for _, m in pairs])
        self._weights = tf.Variable(np.stack([m.weights for _, m in pairs]), dtype=tf.float32)
        self._bias = tf.Variable(np.stack([m.bias[None] for _, m in pairs]), dtype=tf.float32)
        self._layers = self._make_classifiers()
        self._classifier_variables = [v for layer in self._layers for v in layer]
        self._discriminator_adam = keras.optimizers.Adam(
            config.discriminator_learning_rate, *ADAM_BETAS
        )
        self._discriminator_adam.build(self._classifier_variables)
        self._generator_adam = keras.optimizers.Adam(config.generator_learning_rate, *ADAM_BETAS)
        self._generator_adam.build([self._weights, self._bias])
        self.optimizers = {
            "classifier": self._discriminator_adam,
            "generator": self._generator_adam,
        }
        self._traced = tf.function(self._run, autograph=False)
        self._traced_logits = tf.function(self._evaluate, autograph=False)

    @property
    def variables(self) -> list[tf.Variable]:
        """The classifiers, W and b."""
        return [*self._classifier_variables, self._weights, self._bias]

    def take_steps(self, step: int, number: int) -> None:
        """Takes steps; what a step draws is a function of (seed, step)."""
        self._traced(tf.constant(step, tf.int64), tf.constant(number, tf.int64))

    def look(self, step: int) -> None:
        """Adds what the classifiers say after so many steps; not finite where one has diverged."""
        self.looks.append((step, self.measure(step)))

    def measure(self, step: int) -> dict[str, npt.NDArray[np.float64]]:
        """Returns the true KL [R], the classifier's estimate [R] and its standard error [R]."""
        logits = self._traced_logits(tf.constant(step, tf.int64)).numpy().astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            errors = np.array([standard_error(row) for row in logits])
            estimate = -logits.mean(axis=1)
        return {"true_kl": self.true_kl(), "estimate": estimate, "standard_error": errors}

    def true_kl(self) -> npt.NDArray[np.float64]:
        """KL[p_θ ‖ p*] [R] in closed form."""
        weights, biases = self._weights.numpy(), self._bias.numpy()
        return np.array(
            [
                kl_between(AffineGaussian(w.astype(np.float64), b[0].astype(np.float64)), data)
                for w, b, data in zip(weights, biases, self._data, strict=True)
            ]
        )

    def state(self) -> dict[str, np.ndarray]:
        """The variables, the optimisers, and the looks until now."""
        looks = {f"looks/{key}": np.stack([look[key] for _, look in self.looks]) for key in SERIES}
        steps = np.array([step for step, _ in self.looks])
        return {**super().state(), **looks, "looks/steps": steps}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Puts a state back, without the look at an earlier, other end of the training."""
        looks = {name: array for name, array in arrays.items() if name.startswith("looks/")}
        super().restore({name: array for name, array in arrays.items() if name not in looks})
        self.looks = [
            (int(step), {key: looks[f"looks/{key}"][i] for key in SERIES})
            for i, step in enumerate(looks["looks/steps"])
            if step % self.config.log_every == 0 or step == self.config.steps
        ]

    def _draw_gaussians(self, seed: int) -> tuple[AffineGaussian, AffineGaussian]:
        rng = stream(seed, "synthetic/gaussians", self.dim)
        scale = self.config.parameter_scale
        return random_gaussian(self.dim, scale, rng), random_gaussian(self.dim, scale, rng)

    def _bias_and_cholesky(self, gaussians: list[AffineGaussian]) -> tuple[tf.Tensor, tf.Tensor]:
        """b [R, 1, D] and Cᵀ [R, D, D]: x = b + ε Cᵀ."""
        return (
            tf.constant(np.stack([g.bias[None] for g in gaussians]), tf.float32),
            tf.constant(np.stack([g.cholesky.T for g in gaussians]), tf.float32),
        )

    def _make_classifiers(self) -> list[tuple[tf.Variable, tf.Variable]]:
        config = self.config
        sizes = [self.dim, *[config.width] * config.num_layers, 1]
        rngs = [stream(seed, "synthetic/classifier", self.dim) for seed in self._seeds]
        layers = []
        for fan_in, units in zip(sizes[:-1], sizes[1:], strict=True):
            scale = np.sqrt(2.0 / ((1.0 + SLOPE**2) * fan_in))
            kernels = np.stack([scale * rng.standard_normal((fan_in, units)) for rng in rngs])
            zeros = tf.zeros([len(rngs), 1, units])
            layers.append((tf.Variable(kernels, dtype=tf.float32), tf.Variable(zeros)))
        return layers

    def _product(self, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        """[R, m, n] x [R, n, p] -> [R, m, p]."""
        if not self._is_looped:
            return tf.matmul(a, b)
        pairs = zip(tf.unstack(a), tf.unstack(b), strict=True)
        return tf.stack([x @ y for x, y in pairs])

    def _logits(self, samples: tf.Tensor) -> tf.Tensor:
        """Samples [R, B, D] -> log p*(x) − log p_θ(x) at the optimum [R, B]."""
        hidden = samples * self._unit
        for kernel, bias in self._layers[:-1]:
            hidden = self._product(hidden, tf.convert_to_tensor(kernel)) + bias
            hidden = tf.nn.leaky_relu(hidden, SLOPE)
        kernel, bias = self._layers[-1]
        return tf.squeeze(self._product(hidden, tf.convert_to_tensor(kernel)) + bias, axis=-1)

    def _noise(self, step: tf.Tensor, name: str, shape: list[int]) -> tf.Tensor:
        """Standard normal [R, *shape], a function of (the repetition's seed, name, step)."""
        keys = [derive(seed, f"synthetic/{name}") for seed in self._seeds]
        seeds = [tf.stack([tf.constant(key, tf.int64), step]) for key in keys]
        return tf.stack([tf.random.stateless_normal(shape, seed) for seed in seeds])

    def _samples_of_data(self, noise: tf.Tensor) -> tf.Tensor:
        return self._product(noise, self._data_cholesky) + self._data_bias

    def _samples_of_model(self, step: tf.Tensor, name: str, number: int) -> tf.Tensor:
        if self.setting == "estimation":
            noise = self._noise(step, name, [number, self.dim])
            return self._product(noise, self._model_cholesky) + self._model_bias
        noise = self._noise(step, name, [number, NOISE_FACTOR * self.dim])
        return self._product(noise, tf.convert_to_tensor(self._weights)) + self._bias

    def _discriminator_step(self, step: tf.Tensor, turn: int) -> None:
        """One step on the cross entropy, summed over the repetitions."""
        number = self.config.batch_size
        data = self._samples_of_data(self._noise(step, f"data/{turn}", [number, self.dim]))
        model = tf.stop_gradient(self._samples_of_model(step, f"model/{turn}", number))
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._classifier_variables)
            logits = self._logits(tf.concat([data, model], axis=1))
            of_data, of_model = tf.split(logits, 2, axis=1)
            losses = tf.reduce_mean(real_cross_entropy(of_data), axis=1)
            losses += tf.reduce_mean(fake_cross_entropy(of_model), axis=1)
            loss = tf.reduce_sum(losses)
        gradients = tape.gradient(loss, self._classifier_variables)
        self._discriminator_adam.apply(gradients, self._classifier_variables)

    def _generator_step(self, step: tf.Tensor) -> None:
        """One step on the reverse-KL loss −logit, summed over the repetitions."""
        theta = [self._weights, self._bias]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(theta)
            samples = self._samples_of_model(step, "generator", self.config.batch_size)
            losses = tf.reduce_mean(reverse_kl_loss(self._logits(samples)), axis=1)
            loss = tf.reduce_sum(losses)
        self._generator_adam.apply(tape.gradient(loss, theta), theta)

    def _run(self, start: tf.Tensor, number: tf.Tensor) -> None:
        def body(step: tf.Tensor) -> tuple[tf.Tensor]:
            for turn in range(self.config.discriminator_steps):
                self._discriminator_step(step, turn)
            if self.setting == "learning":
                self._generator_step(step)
            return (step + 1,)

        tf.while_loop(lambda step: step < start + number, body, (start,), parallel_iterations=1)

    def _evaluate(self, step: tf.Tensor) -> tf.Tensor:
        """Logits [R, S] of fresh samples of the model."""
        return self._logits(self._samples_of_model(step, "look", self.config.num_samples))


def summarize(series: list[dict[str, npt.NDArray[np.float64]]], key: str) -> dict[str, list]:
    """Returns mean and standard deviation over the repetitions that are finite, at every look."""
    with np.errstate(invalid="ignore"):
        values = np.stack([look[key] for look in series])
        finite = np.where(np.isfinite(values), values, np.nan)
        count = np.isfinite(values).sum(axis=1)
        total = np.nansum(finite, axis=1)
        mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        squares = np.nansum((finite - mean[:, None]) ** 2, axis=1)
        spread = np.where(count > 1, np.sqrt(squares / np.maximum(count - 1, 1)), np.nan)
    return {"mean": mean.tolist(), "spread": spread.tolist(), "finite": count.tolist()}

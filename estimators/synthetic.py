"""Density ratios between Gaussians whose divergence is known (section 5, Appendix E).

Two affine Gaussians, the data p* and the model p_θ, and a classifier between them with label 1 for
the data: x = Wᵀz + b with z ~ N(0, I_K), so that x ~ N(b, WᵀW); K = 10 D keeps WᵀW well
conditioned (eq. 8). `estimation` holds both fixed and asks what the classifier says of
KL[p_θ ‖ p*]; `learning` moves θ = (W, b) by the reverse-KL loss −logit and follows the true KL.

All repetitions train in one traced computation along a leading axis; nothing of one reaches
another, so that one may diverge alone. Shapes: R repetitions, B batch, D dimensions, K = 10 D.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfdm.estimators.code_classifier import SLOPE, initial_kernels
from tfdm.estimators.config import SETTINGS, SyntheticConfig
from tfdm.losses import fake_cross_entropy, real_cross_entropy, reverse_kl_loss
from tfdm.seeds import derive, stream
from tfdm.statistics import FloatArray, standard_error
from tfdm.training.loop import ResumableTraining

# K over D (section 5).
NOISE_FACTOR = 10
ADAM_BETAS = (0.5, 0.9)
# From this width on a product for each repetition is faster than one over all of them.
LOOP_WIDTH = 256
# What an evaluation holds of every repetition.
SERIES = ("true_kl", "estimate", "standard_error")


@dataclasses.dataclass(frozen=True, eq=False)
class AffineGaussian:
    """N(b, WᵀW)."""

    weights: FloatArray  # W, float64 [K, D]
    bias: FloatArray  # b, float64 [D]

    @property
    def covariance(self) -> FloatArray:
        """WᵀW, [D, D]."""
        return self.weights.T @ self.weights

    @property
    def cholesky(self) -> FloatArray:
        """The lower triangular C [D, D] with C Cᵀ = WᵀW: b + C ε is a cheaper sample."""
        return np.linalg.cholesky(self.covariance).astype(np.float64)


def random_gaussian(dim: int, parameter_scale: float, rng: np.random.Generator) -> AffineGaussian:
    """Draws W and b with entries N(0, parameter_scale²); the paper does not say how it did."""
    weights = parameter_scale * rng.standard_normal((NOISE_FACTOR * dim, dim))
    return AffineGaussian(weights, parameter_scale * rng.standard_normal(dim))


def kl_between(first: AffineGaussian, second: AffineGaussian) -> float:
    """Returns KL[first ‖ second] in nats, in closed form and float64.

    NaN where a parameter is not finite or a covariance is not positive definite.
    """
    if not all(np.isfinite(g.weights).all() and np.isfinite(g.bias).all() for g in (first, second)):
        return math.nan
    try:
        of_first, of_second = first.cholesky, second.cholesky
    except np.linalg.LinAlgError:
        return math.nan
    # tr(Σ₂⁻¹ Σ₁) = ‖C₂⁻¹ C₁‖², (b₁ − b₂)ᵀ Σ₂⁻¹ (b₁ − b₂) = ‖C₂⁻¹ (b₁ − b₂)‖².
    columns = np.column_stack([of_first, first.bias - second.bias])
    solved = np.linalg.solve(of_second, columns)
    log_determinants = 2.0 * np.sum(np.log(np.diag(of_second)) - np.log(np.diag(of_first)))
    return float(0.5 * (np.sum(solved**2) - len(first.bias) + log_determinants))


class SyntheticExperiment(ResumableTraining):
    """One setting in one dimension, all repetitions, each a function of its seed.

    `evaluations` are (step, `true_kl`, `estimate` and `standard_error` [R]), `initial_kl` is
    KL[p_θ ‖ p*] [R] before anything is learned. `ValueError` for an unknown setting or a dimension
    below 1.
    """

    def __init__(self, setting: str, dim: int, config: SyntheticConfig) -> None:
        if setting not in SETTINGS:
            raise ValueError(f"setting is {setting!r}, expected one of {', '.join(SETTINGS)}")
        if dim < 1:
            raise ValueError(f"dim is {dim}, expected 1 or more")
        self.setting, self.dim, self.config = setting, dim, config
        self.evaluations: list[tuple[int, dict[str, FloatArray]]] = []
        self._is_looped = config.width >= LOOP_WIDTH
        self._seeds = [config.seed + r for r in range(config.num_seeds)]
        rngs = [stream(seed, "synthetic/gaussians", dim) for seed in self._seeds]
        scale = config.parameter_scale
        pairs = [[random_gaussian(dim, scale, rng) for _ in range(2)] for rng in rngs]
        self._data, models = zip(*pairs, strict=True)
        self.initial_kl = np.array([kl_between(model, data) for data, model in pairs])
        # x / √K has entries of order one in every dimension; the ratio is the same.
        self._unit = 1.0 / np.sqrt(NOISE_FACTOR * dim)
        self._data_bias, self._data_cholesky = _bias_and_cholesky(self._data)
        self._model_bias, self._model_cholesky = _bias_and_cholesky(models)
        self._weights = tf.Variable(np.stack([m.weights for m in models]), dtype=tf.float32)
        self._bias = tf.Variable(np.stack([m.bias[None] for m in models]), dtype=tf.float32)
        rngs = [stream(seed, "synthetic/classifier", dim) for seed in self._seeds]
        kernels = [initial_kernels(dim, config.width, config.num_layers, rng) for rng in rngs]
        self._layers = [
            (tf.Variable(k, dtype=tf.float32), tf.Variable(tf.zeros([len(k), 1, k.shape[-1]])))
            for k in map(np.stack, zip(*kernels, strict=True))
        ]
        self._classifier_variables = [v for layer in self._layers for v in layer]
        self._theta = [self._weights, self._bias]
        self.optimizers = {
            "classifier": keras.optimizers.Adam(config.discriminator_learning_rate, *ADAM_BETAS),
            "generator": keras.optimizers.Adam(config.generator_learning_rate, *ADAM_BETAS),
        }
        self.optimizers["classifier"].build(self._classifier_variables)
        self.optimizers["generator"].build(self._theta)
        self._traced = tf.function(self._run, autograph=False)
        self._traced_logits = tf.function(self._fresh_logits, autograph=False)

    @property
    def variables(self) -> list[tf.Variable]:
        return [*self._classifier_variables, *self._theta]

    def take_steps(self, step: int, number: int) -> None:
        self._traced(tf.constant(step, tf.int64), tf.constant(number, tf.int64))

    def evaluate(self, step: int) -> None:
        """Adds what the classifiers say after so many steps; not finite where one has diverged."""
        self.evaluations.append((step, self.measure(step)))

    def measure(self, step: int) -> dict[str, FloatArray]:
        """Returns the true KL [R], the classifier's estimate [R] and its standard error [R]."""
        logits = self._traced_logits(tf.constant(step, tf.int64)).numpy().astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            errors = np.array([standard_error(row) for row in logits])
            estimate = -logits.mean(axis=1)
        return {"true_kl": self.true_kl(), "estimate": estimate, "standard_error": errors}

    def true_kl(self) -> FloatArray:
        """KL[p_θ ‖ p*] [R] in closed form."""
        weights, biases = (v.numpy().astype(np.float64) for v in self._theta)
        models = [AffineGaussian(w, b[0]) for w, b in zip(weights, biases, strict=True)]
        return np.array([kl_between(*pair) for pair in zip(models, self._data, strict=True)])

    def state(self) -> dict[str, np.ndarray]:
        steps, values = zip(*self.evaluations, strict=True)
        series = {f"evaluations/{key}": np.stack([v[key] for v in values]) for key in SERIES}
        return {**super().state(), **series, "evaluations/steps": np.array(steps)}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Puts a state back, without the evaluation at an earlier, other end of the training."""
        own = {name: a for name, a in arrays.items() if not name.startswith("evaluations/")}
        super().restore(own)
        self.evaluations = [
            (int(step), {key: arrays[f"evaluations/{key}"][i] for key in SERIES})
            for i, step in enumerate(arrays["evaluations/steps"])
            if step % self.config.log_every == 0 or step == self.config.steps
        ]

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

    def _samples_of_model(self, step: tf.Tensor, name: str, number: int) -> tf.Tensor:
        if self.setting == "estimation":
            noise = self._noise(step, name, [number, self.dim])
            return self._product(noise, self._model_cholesky) + self._model_bias
        noise = self._noise(step, name, [number, NOISE_FACTOR * self.dim])
        return self._product(noise, tf.convert_to_tensor(self._weights)) + self._bias

    def _discriminator_step(self, step: tf.Tensor, turn: int) -> None:
        """One step on the cross entropy, summed over the repetitions."""
        number = self.config.batch_size
        noise = self._noise(step, f"data/{turn}", [number, self.dim])
        data = self._product(noise, self._data_cholesky) + self._data_bias
        model = tf.stop_gradient(self._samples_of_model(step, f"model/{turn}", number))
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._classifier_variables)
            of_data, of_model = tf.split(self._logits(tf.concat([data, model], axis=1)), 2, axis=1)
            losses = tf.reduce_mean(real_cross_entropy(of_data), axis=1)
            loss = tf.reduce_sum(losses + tf.reduce_mean(fake_cross_entropy(of_model), axis=1))
        gradients = tape.gradient(loss, self._classifier_variables)
        self.optimizers["classifier"].apply(gradients, self._classifier_variables)

    def _generator_step(self, step: tf.Tensor) -> None:
        """One step on the reverse-KL loss −logit, summed over the repetitions."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._theta)
            samples = self._samples_of_model(step, "generator", self.config.batch_size)
            loss = tf.reduce_sum(tf.reduce_mean(reverse_kl_loss(self._logits(samples)), axis=1))
        self.optimizers["generator"].apply(tape.gradient(loss, self._theta), self._theta)

    def _run(self, start: tf.Tensor, number: tf.Tensor) -> None:
        def body(step: tf.Tensor) -> tuple[tf.Tensor]:
            for turn in range(self.config.discriminator_steps):
                self._discriminator_step(step, turn)
            if self.setting == "learning":
                self._generator_step(step)
            return (step + 1,)

        tf.while_loop(lambda step: step < start + number, body, (start,), parallel_iterations=1)

    def _fresh_logits(self, step: tf.Tensor) -> tf.Tensor:
        return self._logits(self._samples_of_model(step, "look", self.config.num_samples))


def _bias_and_cholesky(gaussians: Sequence[AffineGaussian]) -> tuple[tf.Tensor, tf.Tensor]:
    """b [R, 1, D] and Cᵀ [R, D, D]: x = b + ε Cᵀ."""
    both = [g.bias[None] for g in gaussians], [g.cholesky.T for g in gaussians]
    bias, cholesky = (tf.constant(np.stack(arrays), tf.float32) for arrays in both)
    return bias, cholesky


def summarize(series: Sequence[dict[str, FloatArray]], key: str) -> dict[str, list]:
    """Returns mean and deviation over the repetitions that are finite, at every evaluation."""
    values = np.stack([evaluation[key] for evaluation in series])
    is_finite = np.isfinite(values)
    finite = np.where(is_finite, values, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of an evaluation with none or one
        mean, spread = np.nanmean(finite, axis=1), np.nanstd(finite, axis=1, ddof=1)
    count = is_finite.sum(axis=1)
    return {"mean": mean.tolist(), "spread": spread.tolist(), "finite": count.tolist()}

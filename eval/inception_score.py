"""The inception score (Salimans et al., 2016; Appendix I) from the logits of any classifier."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfdm.eval.checks import checked_rows
from tfdm.eval.config import ScoreConfig
from tfdm.eval.inputs import Inputs
from tfdm.eval.tfgan import classifier_metrics
from tfdm.seeds import stream

_logger = logging.getLogger("tfdm")

# A class less probable than its exponential in every row is one that float64 cannot hold: TF-GAN
# takes the logarithm of a marginal probability of 0 there.
_LEAST_LOG_PROBABILITY = -600.0


@dataclasses.dataclass(frozen=True)
class InceptionScore:
    """exp of the mean KL[p(y|x) ‖ p(y)], between 1 and the number of classes.

    `mean` and `std` (divisor `num_splits`) are over equal splits of the `num_samples` shuffled
    samples; fewer than `num_splits` samples are left out.
    """

    mean: float
    std: float
    num_samples: int
    num_splits: int


def inception_score_from_logits(
    logits: npt.ArrayLike, num_splits: int = 10, seed: int = 0
) -> InceptionScore:
    """Returns the inception score of logits [n, K], by TF-GAN in float64.

    `seed` is that of the shuffle before the split. Fewer samples than splits, another shape, or
    values that are not finite are a `ValueError`.
    """
    ScoreConfig(num_splits)  # which checks it
    values = checked_rows("logits", logits)
    if values.shape[1] > 1 and values.min() >= 0 and np.allclose(values.sum(axis=1), 1, 0, 1e-3):
        _logger.warning("the rows of logits are probabilities: give their logarithms")
    if len(values) < num_splits:
        raise ValueError(f"{len(values)} samples cannot be cut into {num_splits} splits")
    order = stream(seed, "inception_score/order").permutation(len(values))
    size = len(values) // num_splits
    splits = values[order[: size * num_splits]].reshape(num_splits, size, -1)
    scores = [_score(split) for split in splits]
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)), len(values), num_splits)


def measure(inputs: Inputs, config: ScoreConfig) -> dict[str, Any]:
    """Returns the record of the inception score."""
    outputs = inputs.outputs()
    score = inception_score_from_logits(outputs.logits, config.num_splits, inputs.seed)
    record = dataclasses.asdict(score) | {"num_classes": outputs.logits.shape[1]}
    temperature = getattr(outputs.classifier, "temperature", None)
    if temperature is not None:
        # The score depends on how sure the classifier is, not only on what it thinks.
        calibrated = outputs.logits / temperature
        score = inception_score_from_logits(calibrated, config.num_splits, inputs.seed)
        record |= {"temperature": temperature, "mean_calibrated": score.mean}
    return record


def _score(logits: np.ndarray) -> float:
    """TF-GAN's score of logits [n, K] without the classes that no row can reach."""
    gaps = logits - logits.max(axis=1, keepdims=True)
    logits = logits[:, gaps.max(axis=0) > _LEAST_LOG_PROBABILITY]
    return float(classifier_metrics().classifier_score_from_logits(tf.constant(logits)))

"""What metrics work on: images, what a classifier made of them, and real images.

Shapes: n samples, m chosen ones, N real images, K classes, d features.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tfdm.eval.checks import checked_rows


class FeatureMoments:
    """Mean [d] and covariance of `count` features that arrive in blocks [n, d]; float64.

    Features that are no rows of d finite values are a `ValueError`.
    """

    def __init__(self, dim: int) -> None:
        self.count = 0
        self.mean = np.zeros(dim)
        self._scatter = np.zeros((dim, dim))

    @classmethod
    def of(cls, features: npt.ArrayLike) -> FeatureMoments:
        """Returns the moments of features [n, d]."""
        rows = checked_rows("features", features)
        moments = cls(rows.shape[1])
        moments.add(rows)
        return moments

    def add(self, features: npt.ArrayLike) -> None:
        """Adds a block [n, d]."""
        rows = checked_rows("features", features)
        if rows.shape[1] != len(self.mean):
            raise ValueError(f"features have {rows.shape[1]} columns, expected {len(self.mean)}")
        mean, total = rows.mean(axis=0), self.count + len(rows)
        centred, shift = rows - mean, mean - self.mean
        # Chan et al. (1979): blocks merge without the cancellation of raw second moments.
        self._scatter += centred.T @ centred
        self._scatter += np.outer(shift, shift) * (self.count * len(rows) / total)
        self.mean = self.mean + shift * (len(rows) / total)
        self.count = total

    @property
    def covariance(self) -> np.ndarray:
        """The covariance [d, d], divisor n - 1; a `ValueError` for fewer than two features."""
        if self.count < 2:
            raise ValueError(f"a covariance of {self.count} features, expected at least 2")
        return self._scatter / (self.count - 1)


@dataclasses.dataclass(frozen=True)
class ClassifierOutputs:
    """What a classifier made of the samples; with features where a metric asks for them."""

    classifier: Any
    logits: np.ndarray  # of all samples, float32 [n, K]
    moments: FeatureMoments | None = None  # of all samples
    features: np.ndarray | None = None  # of the chosen ones, float32 [m, d]


@dataclasses.dataclass(frozen=True)
class RealFeatures:
    """Features of real images, float32 [N, d], memory-mapped, and a random order of the rows."""

    features: np.ndarray
    moments: FeatureMoments
    order: np.ndarray


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What a metric works on; the methods raise `ValueError` where there is not what they return.

    `images` are a random choice of the samples, in random order, uint8 [m, H, W, C]. `splits` are
    those of the data set, `split` is the one that the samples are from (`None`: they are not real).
    An interrupted metric is resumed from the folder `state`. `open_progress` opens a bar, which is
    called with (done, total).
    """

    images: np.ndarray
    seed: int
    classified: ClassifierOutputs | None = None
    real: RealFeatures | None = None  # under the same classifier
    splits: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    split: str | None = None
    state: Path | None = None
    open_progress: Callable[[], Callable[[int, int], None] | None] = lambda: None

    def outputs(self) -> ClassifierOutputs:
        """Returns what the classifier made of the samples."""
        if self.classified is None:
            raise ValueError("there are no outputs of a classifier, which the metric needs")
        return self.classified

    def feature_moments(self) -> tuple[FeatureMoments, FeatureMoments]:
        """Returns the moments of the features of all samples and of all real images."""
        generated, _, real = self._features()
        return generated, real.moments

    def feature_pairs(self, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns features of real images and of samples, float32 [p, d], in random order.

        Equal numbers p, at most `most`: radii depend on them.
        """
        _, generated, real = self._features()
        number = min(most, len(generated), len(real.features))
        chosen = real.order[:number]
        ascending = np.argsort(chosen)
        rows = np.empty([number, generated.shape[1]], np.float32)
        rows[ascending] = real.features[chosen[ascending]]
        return rows, generated[:number]

    def feature_rows(self, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the features of all real images, float32 [N, d], a random order of them, [N], and
        features of at most `most` samples, float32 [p, d], in random order.
        """
        _, generated, real = self._features()
        return real.features, real.order, generated[:most]

    def _features(self) -> tuple[FeatureMoments, np.ndarray, RealFeatures]:
        outputs = self.outputs()
        if outputs.moments is None or outputs.features is None or self.real is None:
            raise ValueError("there are no features of real images, which the metric needs")
        return outputs.moments, outputs.features, self.real

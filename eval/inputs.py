"""What metrics work on: images, what a classifier made of them, and real images.

Shapes: n samples, m chosen ones, N real images, K classes, d features.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfdm.eval.moments import FeatureMoments


@dataclasses.dataclass(frozen=True)
class ClassifierOutputs:
    """What a classifier made of the samples.

    Attributes:
      classifier: the classifier.
      logits: of all samples, float32 [n, K].
      moments: of the features of all samples, `None` where no metric asks for features.
      features: of the chosen samples, float32 [m, d], likewise.
    """

    classifier: Any
    logits: np.ndarray
    moments: FeatureMoments | None = None
    features: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class RealFeatures:
    """Features of real images.

    Attributes:
      features: float32 [N, d], memory-mapped.
      moments: their moments.
      order: a random order of their rows, [N]; a choice of them is its first.
    """

    features: np.ndarray
    moments: FeatureMoments
    order: np.ndarray


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What a metric works on; images are uint8 [n, H, W, C].

    Attributes:
      images: a random choice of the samples, in random order, [m, H, W, C].
      seed: the seed of everything drawn.
      classified: what the classifier made of the samples, `None` without one.
      real: features of real images under the same classifier, `None` without a reference.
      splits: the images of the data set's splits by name, empty without one.
      split: the split that the samples are from, `None` where they are not real images.
      state: a folder for what a metric that was stopped goes on from.
      open_progress: opens a bar for a metric that takes long; what it returns is called with
        (done, total).
    """

    images: np.ndarray
    seed: int
    classified: ClassifierOutputs | None = None
    real: RealFeatures | None = None
    splits: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    split: str | None = None
    state: Path | None = None
    open_progress: Callable[[], Callable[[int, int], None] | None] = lambda: None

    def outputs(self) -> ClassifierOutputs:
        """Returns what the classifier made of the samples.

        Raises:
          ValueError: there is no classifier.
        """
        if self.classified is None:
            raise ValueError("there are no outputs of a classifier, which the metric needs")
        return self.classified

    def feature_moments(self) -> tuple[FeatureMoments, FeatureMoments]:
        """Returns the moments of the features of all samples and of all real images.

        Raises:
          ValueError: there are no features of one of them.
        """
        moments = self.outputs().moments
        if moments is None or self.real is None:
            raise ValueError("there are no features of real images, which the metric needs")
        return moments, self.real.moments

    def feature_pairs(self, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns features of real images and of as many samples, float32 [p, d], in random order.

        Equal numbers, at most `most`: blocks and radii depend on them.

        Raises:
          ValueError: there are no features of one of them.
        """
        generated = self.outputs().features
        if generated is None or self.real is None:
            raise ValueError("there are no features of real images, which the metric needs")
        number = min(most, len(generated), len(self.real.features))
        chosen = self.real.order[:number]
        ascending = np.argsort(chosen)
        rows = np.empty([number, generated.shape[1]], np.float32)
        rows[ascending] = self.real.features[chosen[ascending]]
        return rows, generated[:number]

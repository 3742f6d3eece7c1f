"""One pass over the samples: logits, moments of features, and a random choice of images.

Memory holds the logits, a fixed number of feature rows and images, and one block; the features of
real images are computed once for a data set and a classifier, and kept in the cache folder.

Shapes: n samples, m chosen ones, N real images, K classes, d features.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfdm.datasets import ImageDataset
from tfdm.errors import UserError
from tfdm.eval.sources import ImageSource
from tfdm.runs.atomic import atomic_file

if TYPE_CHECKING:
    from tfdm.eval import FeatureMoments

BLOCK = 500


@dataclasses.dataclass(frozen=True)
class ClassifierPass:
    """What a classifier made of samples and of real images.

    Attributes:
      classifier: the classifier.
      logits: of all samples, float32 [n, K].
      moments: of the features of all samples.
      features: of the chosen samples, float32 [m, d].
      real: what features are compared with; `None` where no measure asks for features.
    """

    classifier: Any
    logits: np.ndarray
    moments: FeatureMoments
    features: np.ndarray
    real: RealFeatures | None

    def pairs(self, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns features of real images and of as many samples, in random order.

        Equal numbers, at most `most`: blocks and radii depend on them.
        """
        real = self.real_features()
        number = min(most, len(self.features), len(real.features))
        chosen = real.order[:number]
        ascending = np.argsort(chosen)
        rows = np.empty([number, real.features.shape[1]], np.float32)
        rows[ascending] = real.features[chosen[ascending]]
        return rows, self.features[:number]

    def real_features(self) -> RealFeatures:
        """Returns the features of real images.

        Raises:
          ValueError: none were asked for.
        """
        if self.real is None:
            raise ValueError("no features of real images were read, expected a reference")
        return self.real


@dataclasses.dataclass(frozen=True)
class RealFeatures:
    """Features of a split of a data set.

    Attributes:
      features: float32 [N, d], memory-mapped.
      moments: their moments.
      order: a random order of the images, [N].
    """

    features: np.ndarray
    moments: FeatureMoments
    order: np.ndarray


@dataclasses.dataclass(frozen=True)
class SamplePass:
    """What one pass over the samples leaves.

    Attributes:
      digest: SHA-256 (hex) of the pixels of all samples.
      images: the chosen samples in random order, uint8 [m, H, W, C].
      classified: by the name of the classifier.
    """

    digest: str
    images: np.ndarray
    classified: dict[str, ClassifierPass]


def pass_over(
    source: ImageSource,
    num_chosen: int,
    classifiers: dict[str, Any],
    real: dict[str, RealFeatures],
    seed: int,
    progress: Callable[[int, int], None],
) -> SamplePass:
    """Looks at every sample once.

    Args:
      source: the samples.
      num_chosen: how many of them are kept, as images and as features.
      classifiers: by name; each maps images to logits, and to features where they are wanted.
      real: features of real images by the name of the classifier; without them, no features of
        samples are taken either.
      seed: the seed of the choice and of its order: fewer are the first of more.
      progress: called with (done, total).
    """
    number = source.num_images
    order = np.random.default_rng([seed, 8, 1]).permutation(number)[:num_chosen]
    rank = np.full(number, -1)
    rank[order] = np.arange(len(order))
    images = np.empty([len(order), *source.image_shape], np.uint8)
    collectors = {
        name: _Collector(classifier, len(order), real.get(name))
        for name, classifier in classifiers.items()
    }
    digest, done = hashlib.sha256(), 0
    for block in source.blocks(BLOCK):
        digest.update(np.ascontiguousarray(block).data)
        places = rank[done : done + len(block)]
        kept = places >= 0
        images[places[kept]] = block[kept]
        for collector in collectors.values():
            collector.add(block, places[kept], kept)
        done += len(block)
        progress(done, number)
    classified = {name: collector.result() for name, collector in collectors.items()}
    return SamplePass(digest.hexdigest(), images, classified)


class _Collector:
    """Gathers what one classifier makes of blocks of samples."""

    def __init__(self, classifier: Any, num_chosen: int, real: RealFeatures | None) -> None:
        from tfdm.eval import FeatureMoments

        dim = 0 if real is None else real.features.shape[1]
        self._classifier, self._real = classifier, real
        self._logits: list[np.ndarray] = []
        self._moments = FeatureMoments(dim)
        self._features = np.empty([num_chosen, dim], np.float32)

    def add(self, block: np.ndarray, places: np.ndarray, kept: np.ndarray) -> None:
        if self._real is None:
            self._logits.append(self._classifier(block))
            return
        logits, features = self._classifier.logits_and_features(block)
        self._logits.append(logits)
        self._moments.add(features)
        self._features[places] = features[kept]

    def result(self) -> ClassifierPass:
        logits = np.concatenate(self._logits)
        return ClassifierPass(self._classifier, logits, self._moments, self._features, self._real)


def real_features(
    dataset: ImageDataset,
    split: str,
    classifier: Any,
    cache_dir: Path,
    seed: int,
    progress: Callable[[int, int], None],
) -> RealFeatures:
    """Returns the features of a split, from the cache folder if they stand there.

    Args:
      dataset: the data set.
      split: the name of the split.
      classifier: has a name, a digest, perhaps a `feature_scale`, and `logits_and_features`.
      cache_dir: features stand in `features/` there, under the digests of data and classifier.
      seed: the seed of the order.
      progress: called with (done, total) when they have to be computed.

    Raises:
      UserError: the cache folder cannot be written.
    """
    from tfdm.eval import FeatureMoments

    images = dataset.split(split)
    identity = f"{classifier.digest} {getattr(classifier, 'feature_scale', 1.0)!r}"
    key = hashlib.sha256(identity.encode()).hexdigest()[:16]
    name = f"{dataset.name}-{split}-{dataset.digest[:16]}-{classifier.name}-{key}.npy"
    path = cache_dir / "features" / name
    features = _readable(path, len(images))
    if features is None:
        try:
            with atomic_file(path) as temporary:
                _write_features(temporary, images, classifier, progress)
        except OSError as error:
            raise UserError(
                f"cannot write into {path.parent} ({error.strerror}): choose another --cache_dir"
            ) from None
        features = np.load(path, mmap_mode="r", allow_pickle=False)
    moments = FeatureMoments(features.shape[1])
    for first in range(0, len(features), BLOCK):
        moments.add(features[first : first + BLOCK])
    order = np.random.default_rng([seed, 9, 1]).permutation(len(features))
    return RealFeatures(features, moments, order)


def _write_features(
    path: Path, images: np.ndarray, classifier: Any, progress: Callable[[int, int], None]
) -> None:
    """Writes features block by block, so that no more than one stands in memory."""
    rows = None
    for first in range(0, len(images), BLOCK):
        _, features = classifier.logits_and_features(images[first : first + BLOCK])
        if rows is None:
            shape = (len(images), features.shape[1])
            rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        rows[first : first + len(features)] = features
        progress(first + len(features), len(images))
    if rows is not None:
        rows.flush()


def _readable(path: Path, number: int) -> np.ndarray | None:
    try:
        features = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return features if features.ndim == 2 and len(features) == number else None

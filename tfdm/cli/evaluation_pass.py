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

from tfdm.cli.evaluation_sources import ImageSource
from tfdm.datasets import ImageDataset
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
      reference: of all real images, float32 [N, d], memory-mapped.
      reference_moments: their moments.
      order: a random order of the real images, [N].
    """

    classifier: Any
    logits: np.ndarray
    moments: FeatureMoments
    features: np.ndarray
    reference: np.ndarray
    reference_moments: FeatureMoments
    order: np.ndarray

    def pairs(self, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns features of at most so many real images and samples, in random order."""
        chosen = np.sort(self.order[:most])
        rows = np.asarray(self.reference[chosen])
        back = np.argsort(np.argsort(self.order[:most]))
        return rows[back], self.features[:most]


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
    references: dict[str, np.ndarray],
    seed: int,
    progress: Callable[[int, int], None],
) -> SamplePass:
    """Looks at every sample once.

    Args:
      source: the samples.
      num_chosen: how many of them are kept, as images and as features.
      classifiers: by name; each maps images to logits and features.
      references: the features of the real images under each of them, [N, d].
      seed: the seed of the choice and of its order.
      progress: called with (done, total).
    """
    from tfdm.eval import FeatureMoments

    number = source.num_images
    order = np.random.default_rng([seed, 8, 1]).permutation(number)[:num_chosen]
    rank = np.full(number, -1)
    rank[order] = np.arange(len(order))
    images = np.empty([len(order), *source.image_shape], np.uint8)
    logits: dict[str, list[np.ndarray]] = {name: [] for name in classifiers}
    moments: dict[str, FeatureMoments] = {}
    features: dict[str, np.ndarray] = {}
    digest, done = hashlib.sha256(), 0
    for block in source.blocks(BLOCK):
        digest.update(np.ascontiguousarray(block).data)
        places = rank[done : done + len(block)]
        kept = places >= 0
        images[places[kept]] = block[kept]
        for name, classifier in classifiers.items():
            rows, outputs = classifier.logits_and_features(block)
            logits[name].append(rows)
            if name not in moments:
                moments[name] = FeatureMoments(outputs.shape[1])
                features[name] = np.empty([len(order), outputs.shape[1]], np.float32)
            moments[name].add(outputs)
            features[name][places[kept]] = outputs[kept]
        done += len(block)
        progress(done, number)
    return SamplePass(
        digest=digest.hexdigest(),
        images=images,
        classified={
            name: ClassifierPass(
                classifier=classifier,
                logits=np.concatenate(logits[name]),
                moments=moments[name],
                features=features[name],
                reference=references[name],
                reference_moments=moments_of(references[name]),
                order=np.random.default_rng([seed, 9, 1]).permutation(len(references[name])),
            )
            for name, classifier in classifiers.items()
        },
    )


def moments_of(features: np.ndarray) -> FeatureMoments:
    """Returns the moments of features [N, d], read in blocks."""
    from tfdm.eval import FeatureMoments

    moments = FeatureMoments(features.shape[1])
    for first in range(0, len(features), BLOCK):
        moments.add(features[first : first + BLOCK])
    return moments


def reference_features(
    dataset: ImageDataset,
    split: str,
    classifier: Any,
    cache_dir: Path,
    progress: Callable[[int, int], None],
) -> np.ndarray:
    """Returns the features of a split, float32 [N, d], memory-mapped from the cache folder.

    Args:
      dataset: the data set.
      split: the name of the split.
      classifier: has a name, a digest, and `logits_and_features`.
      cache_dir: features stand in `features/` there, under the digests of data and classifier.
      progress: called with (done, total) when they have to be computed.
    """
    images = dataset.split(split)
    name = f"{dataset.name}-{split}-{dataset.digest[:16]}-{classifier.name}"
    path = cache_dir / "features" / f"{name}-{classifier.digest[:16]}.npy"
    found = _readable(path, len(images))
    if found is not None:
        return found
    with atomic_file(path) as temporary:
        blocks = []
        for first in range(0, len(images), BLOCK):
            blocks.append(classifier.logits_and_features(images[first : first + BLOCK])[1])
            progress(first + len(blocks[-1]), len(images))
        np.save(temporary, np.concatenate(blocks).astype(np.float32), allow_pickle=False)
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _readable(path: Path, number: int) -> np.ndarray | None:
    try:
        features = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return features if features.ndim == 2 and len(features) == number else None

"""One pass over the samples: logits, moments of features, and a random choice of images.

Memory holds the logits, a fixed number of feature rows and images, and one block; the features of
real images are computed once for a source and a classifier, and kept in the cache folder.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfdm.errors import UserError
from tfdm.eval.inputs import ClassifierOutputs, RealFeatures
from tfdm.eval.moments import FeatureMoments
from tfdm.eval.sources import ImageSource
from tfdm.runs.atomic import atomic_file, atomic_write_text
from tfdm.seeds import stream

BLOCK = 500

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class SamplePass:
    """What was seen of the samples.

    Attributes:
      digest: SHA-256 (hex) of the pixels of all of them.
      images: a random choice, in random order, uint8 [m, H, W, C].
      classified: what each classifier made of them, by its name.
    """

    digest: str
    images: np.ndarray
    classified: dict[str, ClassifierOutputs]


def pass_over(
    source: ImageSource,
    num_chosen: int,
    classifiers: Mapping[str, Any],
    seed: int,
    progress: Progress,
) -> SamplePass:
    """Looks at every sample once.

    Args:
      source: the samples.
      num_chosen: how many of them are kept, as images and as features.
      classifiers: by name, each with whether its features are wanted: (classifier, wanted).
        It maps images to logits, and has `logits_and_features` and `num_features`.
      seed: the seed of the choice and of its order: fewer are the first of more.
      progress: called with (done, total).
    """
    number = source.num_images
    order = stream(seed, "evaluate/choice").permutation(number)[:num_chosen]
    rank = np.full(number, -1)
    rank[order] = np.arange(len(order))
    images = np.empty([len(order), *source.image_shape], np.uint8)
    collectors = {
        name: _Collector(classifier, len(order), wanted)
        for name, (classifier, wanted) in classifiers.items()
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

    def __init__(self, classifier: Any, num_chosen: int, with_features: bool) -> None:
        self._classifier = classifier
        self._logits: list[np.ndarray] = []
        self._moments = FeatureMoments(classifier.num_features) if with_features else None
        dim = classifier.num_features if with_features else 0
        self._features = np.empty([num_chosen, dim], np.float32)

    def add(self, block: np.ndarray, places: np.ndarray, kept: np.ndarray) -> None:
        if self._moments is None:
            self._logits.append(self._classifier(block))
            return
        logits, features = self._classifier.logits_and_features(block)
        self._logits.append(logits)
        self._moments.add(features)
        self._features[places] = features[kept]

    def result(self) -> ClassifierOutputs:
        logits = np.concatenate(self._logits)
        features = None if self._moments is None else self._features
        return ClassifierOutputs(self._classifier, logits, self._moments, features)


def real_features(
    source: ImageSource,
    digest: str,
    classifier: Any,
    cache_dir: Path,
    seed: int,
    progress: Progress,
) -> RealFeatures:
    """Returns the features of real images, from the cache folder if they stand there.

    A file in the cache stands beside the SHA-256 of its content: one that was changed or cut is
    made anew.

    Args:
      source: the images.
      digest: what tells these images from others, such as the digest of their pixels.
      classifier: has a name, a digest, `logits_and_features`, and perhaps a `feature_scale` and a
        `resizer`, on which its features depend too.
      cache_dir: features stand in `features/` there.
      seed: the seed of the order.
      progress: called with (done, total) when they have to be computed.

    Raises:
      UserError: the cache folder cannot be written.
    """
    scale, resizer = (getattr(classifier, name, "") for name in ("feature_scale", "resizer"))
    identity = f"{digest} {classifier.digest} {scale!r} {resizer}"
    key = hashlib.sha256(identity.encode()).hexdigest()[:24]
    path = cache_dir / "features" / f"{classifier.name}-{key}.npy"
    features = _readable(path, source.num_images)
    if features is None:
        try:
            with atomic_file(path) as temporary:
                _write_features(temporary, source, classifier, progress)
            atomic_write_text(_digest_path(path), _file_digest(path))
        except OSError as error:
            raise UserError(
                f"cannot write into {path.parent} ({error.strerror}): choose another --cache_dir"
            ) from None
        features = np.load(path, mmap_mode="r", allow_pickle=False)
    moments = FeatureMoments(features.shape[1])
    for first in range(0, len(features), BLOCK):
        moments.add(features[first : first + BLOCK])
    order = stream(seed, "evaluate/reference").permutation(len(features))
    return RealFeatures(features, moments, order)


def _write_features(path: Path, source: ImageSource, classifier: Any, progress: Progress) -> None:
    """Writes features block by block, so that no more than one stands in memory."""
    rows, done = None, 0
    for block in source.blocks(BLOCK):
        _, features = classifier.logits_and_features(block)
        if rows is None:
            shape = (source.num_images, features.shape[1])
            rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        rows[done : done + len(block)] = features
        done += len(block)
        progress(done, source.num_images)
    if rows is not None:
        rows.flush()


def _readable(path: Path, number: int) -> np.ndarray | None:
    try:
        if _digest_path(path).read_text(encoding="utf-8") != _file_digest(path):
            return None
        features = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return features if features.ndim == 2 and len(features) == number else None


def _digest_path(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""One pass over the samples: logits, moments of features, and a random choice of images.

The features of real images are computed once for a classifier, and kept in the cache folder.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfdm.eval.inputs import ClassifierOutputs, FeatureMoments, RealFeatures
from tfdm.eval.sources import ImageSource
from tfdm.runs.atomic import atomic_file, atomic_write_text
from tfdm.runs.results import writing
from tfdm.seeds import stream

_logger = logging.getLogger("tfdm")

BLOCK = 500

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class SamplePass:
    """What was seen of the samples: a SHA-256 (hex) of their pixels, and what classifiers say.

    `images` are a random choice, in random order, uint8 [m, H, W, C].
    """

    digest: str
    images: np.ndarray
    classified: dict[str, ClassifierOutputs]


def pass_over(
    source: ImageSource,
    num_chosen: int,
    classifiers: Mapping[str, tuple[Any, bool]],
    seed: int,
    progress: Progress,
) -> SamplePass:
    """Looks at every sample once.

    `num_chosen` samples are kept, as images and as features; fewer are the first of more. Each
    classifier stands beside whether its features are wanted. `progress` gets (done, total).
    """
    number = source.num_images
    order = stream(seed, "evaluate/choice").permutation(number)[:num_chosen]
    rank = np.full(number, -1)
    rank[order] = np.arange(len(order))
    images = np.empty([len(order), *source.image_shape], np.uint8)
    classified = {
        name: _outputs(classifier, number, len(order), wanted)
        for name, (classifier, wanted) in classifiers.items()
    }
    digest, done, highest = hashlib.sha256(), 0, 0
    for block in source.blocks(BLOCK):
        digest.update(np.ascontiguousarray(block).data)
        rows = slice(done, done + len(block))
        kept = rank[rows] >= 0
        places = rank[rows][kept]
        images[places] = block[kept]
        for outputs in classified.values():
            if outputs.moments is None or outputs.features is None:
                outputs.logits[rows] = outputs.classifier(block)
            else:
                outputs.logits[rows], features = outputs.classifier.logits_and_features(block)
                outputs.moments.add(features)
                outputs.features[places] = features[kept]
        highest = max(highest, int(block.max()))
        done += len(block)
        progress(done, number)
    if highest == 1:
        _logger.warning(
            "%s: all pixels are 0 or 1, and uint8 images go to 255: give floats in [0, 1]",
            source.name,
        )
    return SamplePass(digest.hexdigest(), images, classified)


def _outputs(classifier: Any, number: int, num_kept: int, wanted: bool) -> ClassifierOutputs:
    """Room for the logits of all samples, and for features if they are wanted."""
    logits, dim = np.empty([number, classifier.num_classes], np.float32), classifier.num_features
    if not wanted:
        return ClassifierOutputs(classifier, logits)
    features = np.empty([num_kept, dim], np.float32)
    return ClassifierOutputs(classifier, logits, FeatureMoments(dim), features)


def real_features(
    source: ImageSource,
    digest: str,
    classifier: Any,
    cache_dir: Path,
    seed: int,
    progress: Progress,
) -> RealFeatures:
    """Returns the features of real images, from `features/` of the cache folder if they are there.

    Each file stands beside the SHA-256 of its content: a damaged one is made anew. `digest` is that
    of the images, `seed` that of the order; `progress` gets (done, total). A folder that cannot be
    written is a `UserError`.
    """
    scale = getattr(classifier, "feature_scale", None) or ""
    resizer = getattr(classifier, "resizer", None) or ""
    identity = f"{digest} {classifier.digest} {scale!r} {resizer}"
    key = hashlib.sha256(identity.encode()).hexdigest()[:24]
    path = cache_dir / "features" / f"{classifier.name}-{key}.npy"
    features = _readable(path, source.num_images)
    if features is None:
        with writing(path.parent, "choose another --cache_dir"):
            with atomic_file(path) as temporary:
                _write_features(temporary, source, classifier, progress)
            atomic_write_text(path.with_suffix(".sha256"), _file_digest(path))
        features = np.load(path, mmap_mode="r", allow_pickle=False)
    moments = FeatureMoments(features.shape[1])
    for first in range(0, len(features), BLOCK):
        moments.add(features[first : first + BLOCK])
    order = stream(seed, "evaluate/reference").permutation(len(features))
    return RealFeatures(features, moments, order)


def _write_features(path: Path, source: ImageSource, classifier: Any, progress: Progress) -> None:
    shape = (source.num_images, classifier.num_features)
    # Plain writes: on a full disk, storing through a memory map kills the process.
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    done = 0
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in source.blocks(BLOCK):
            features = classifier.logits_and_features(block)[1]
            file.write(np.ascontiguousarray(features, "<f4").data)
            done += len(block)
            progress(done, source.num_images)


def _readable(path: Path, number: int) -> np.ndarray | None:
    try:
        if path.with_suffix(".sha256").read_text(encoding="utf-8") != _file_digest(path):
            return None
        features = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return features if features.ndim == 2 and len(features) == number else None


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Class labels of the prepared sets, and digits before they are coloured.

A prepared set holds coloured pixels alone: only the training of the classifiers that measure
samples needs more.
"""

from __future__ import annotations

import os

import numpy as np

from tfdm.datasets.tfds_sources import CIFAR10, MNIST, Transform, open_splits
from tfdm.errors import UserError

NUM_CLASSES = 10
_SETS = {"color_mnist": MNIST, "cifar10": CIFAR10}


def load_labels(name: str, data_dir: str | os.PathLike[str] | None = None) -> dict[str, np.ndarray]:
    """Returns the classes of "color_mnist" or "cifar10", for each split int64 [N] in [0, 10).

    Entry i is the class of image i; `data_dir` is TFDS's (default: $TFDS_DATA_DIR or TFDS's own).
    `ValueError` where the set has no classes, `UserError` where TFDS cannot read or fetch it.
    """
    if name not in _SETS:
        raise ValueError(f"{name!r} has no labels, only {', '.join(_SETS)} have")
    labels = _read(name, data_dir, lambda values, *_: values, "label")
    for split, classes in labels.items():
        if classes.min() < 0 or classes.max() >= NUM_CLASSES:
            raise UserError(f"split {split} of {name} has classes outside 0..{NUM_CLASSES - 1}")
    return labels


def load_digits(data_dir: str | os.PathLike[str] | None = None) -> dict[str, np.ndarray]:
    """Returns the digits behind "color_mnist", in its order, for each split uint8 [N, 28, 28].

    `data_dir` and errors are as of `load_labels`.
    """
    return _read("color_mnist", data_dir, lambda images, *_: images[..., 0], "image")


def _read(
    name: str, data_dir: str | os.PathLike[str] | None, transform: Transform, feature: str
) -> dict[str, np.ndarray]:
    """Reads whole splits; raises `UserError` where one has another number of examples."""
    folder = None if data_dir is None else os.fspath(data_dir)
    streams = open_splits(_SETS[name], folder, transform, feature)
    arrays = {split: np.concatenate(list(s.chunks())) for split, s in streams.items()}
    for split, array in arrays.items():
        if len(array) != streams[split].size:
            raise UserError(
                f"TFDS {_SETS[name].name} {split}: the source holds {len(array)} examples, "
                f"expected {streams[split].size}"
            )
    return arrays

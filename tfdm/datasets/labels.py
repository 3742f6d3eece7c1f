"""Class labels of the prepared sets, and digits before they are coloured.

A prepared set holds coloured pixels alone: only the training of the classifiers that measure
samples needs more.
"""

from __future__ import annotations

import os

import numpy as np

from tfdm.datasets import tfds_sources
from tfdm.errors import UserError

NUM_CLASSES = 10
_SETS = {"color_mnist": tfds_sources.MNIST, "cifar10": tfds_sources.CIFAR10}


def load_labels(name: str, data_dir: str | os.PathLike[str] | None = None) -> dict[str, np.ndarray]:
    """Returns the class of every image of "color_mnist" or "cifar10".

    Returns:
      For each split of `load_dataset(name)`, int64 [N] in [0, 10): entry i is the class of image
      i. `data_dir` is TFDS's data folder (default: $TFDS_DATA_DIR or TFDS's own).

    Raises:
      ValueError: the set has no classes.
      UserError: TFDS cannot read or fetch the set.
    """
    if name not in _SETS:
        raise ValueError(f"{name!r} has no labels, only {', '.join(_SETS)} have")
    labels = tfds_sources.read_labels(_SETS[name], None if data_dir is None else str(data_dir))
    for split, classes in labels.items():
        if classes.min() < 0 or classes.max() >= NUM_CLASSES:
            raise UserError(f"split {split} of {name} has classes outside 0..{NUM_CLASSES - 1}")
    return labels


def load_digits(data_dir: str | os.PathLike[str] | None = None) -> dict[str, np.ndarray]:
    """Returns the digits behind "color_mnist", in its order, for each split uint8 [N, 28, 28].

    `data_dir` and errors are as of `load_labels`.
    """
    return tfds_sources.read_digits(None if data_dir is None else str(data_dir))

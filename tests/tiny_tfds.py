"""A tiny `mnist` as TFDS writes it."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds


def needs(name: str) -> Any:
    """Skips a test where no prepared set of TFDS stands in the folder of the environment."""
    present = (Path(os.environ.get("TFDS_DATA_DIR", "/nonexistent")) / name).is_dir()
    return pytest.mark.skipif(not present, reason=f"TFDS_DATA_DIR holds no prepared {name}")


# The data sets with classes, each where it is there.
REAL = [
    pytest.param("color_mnist", marks=needs("mnist")),
    pytest.param("cifar10", marks=needs("cifar10")),
]


def write_mnist(
    folder: Path, digits: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray] | None = None
) -> None:
    """Lets TFDS write digits, uint8 [n, 28, 28] for each of its splits, and their classes."""
    state = random.getstate()  # TFDS draws the names of temporary files from it.
    features = {
        "image": tfds.features.Image(shape=(28, 28, 1)),
        "label": tfds.features.ClassLabel(num_classes=10),
    }
    tfds.dataset_builders.store_as_tfds_dataset(
        name="mnist",
        version="3.0.1",
        features=tfds.features.FeaturesDict(features),
        split_datasets={
            split: tf.data.Dataset.from_tensor_slices(
                {
                    "image": images[..., np.newaxis],
                    "label": labels[split] if labels else np.zeros(len(images), np.int64),
                }
            )
            for split, images in digits.items()
        },
        data_dir=folder,
        disable_shuffling=True,
    )
    random.setstate(state)

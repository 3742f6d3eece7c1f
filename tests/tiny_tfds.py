"""A tiny `mnist` as TFDS writes it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds


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

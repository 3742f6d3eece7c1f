"""What Keras's methods are given to train on or to evaluate: checked before the first step.

Shapes: n images, B batch, K batches a step, H W C image axes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from types import GeneratorType
from typing import Any

import keras
import numpy as np
import tensorflow as tf


def images_of(data: Any) -> Any:
    """Returns the images of a batch: images, (images, ..) or a mapping with the key `image`."""
    if isinstance(data, (tuple, list)):
        return images_of(data[0])
    if isinstance(data, Mapping):
        if "image" not in data:
            raise ValueError(f"a batch has the keys {sorted(data)}, expected image among them")
        return data["image"]
    return data


def check_range(images: Any) -> None:
    """Raises `ValueError` where images with values at hand are not uint8 or in [0, 1].

    Values that are not a number pass: the guard of the training reports them by step.
    """
    if tf.is_symbolic_tensor(images):
        return
    values = np.asarray(images)
    if values.size == 0 or values.dtype == np.uint8:
        return
    high = 255 if np.issubdtype(values.dtype, np.integer) else 1
    low_found, high_found = float(np.min(values)), float(np.max(values))
    if low_found < -1e-3 or high_found > high + 1e-3:
        raise ValueError(
            f"images are {values.dtype} in [{low_found:g}, {high_found:g}], "
            "expected uint8 or floats in [0, 1]"
        )


@dataclasses.dataclass(frozen=True)
class BatchCheck:
    """What a model's batches have to be; every refusal is a `ValueError` of one line."""

    image_shape: tuple[int, int, int]
    batches_per_step: int  # K
    replicas: int

    def shape(self, shape: Any) -> None:
        """Checks [B, H, W, C], or [B, K, H, W, C] where the model takes K batches a step."""
        found = () if shape.rank is None else tuple(shape)
        expected = f"[B, {', '.join(map(str, self.image_shape))}]"
        leading: list[tuple[int, ...]] = [()]
        if self.batches_per_step > 1:
            leading.append((self.batches_per_step,))
            expected += f", or K = {self.batches_per_step} batches [B, K, ..]"
        if len(found) < 4 or found[-3:] != self.image_shape or found[1:-3] not in leading:
            raise ValueError(f"images have shape {found or 'unknown'}, expected {expected}")

    def batch(self, data: Any) -> None:
        """Checks the images of a batch, or of a whole array, with values at hand."""
        images = images_of(data)
        self.shape(tf.TensorShape(np.shape(images)))
        check_range(images)
        self._no_weights(data)

    def rows(self, number: int, batch_size: int) -> None:
        """Checks that the replicas can share every batch of an array of `number` images."""
        for rows in (min(batch_size, number), number % batch_size):
            if rows % self.replicas:
                raise ValueError(
                    f"{number} images in batches of {batch_size} have a batch of {rows}, "
                    f"expected a multiple of {self.replicas}, the number of replicas"
                )

    def source(self, x: Any, batch_size: int | None = None, split: float = 0.0) -> Any:
        """Checks what a method of Keras is given; returns it, a generator from its start.

        Of a data set of floats, a `PyDataset` and a generator the first batch is looked at; of an
        array all images, of which a part `split` is held out.
        """
        if isinstance(x, tf.data.Dataset):
            spec = images_of(x.element_spec)
            self.shape(spec.shape)
            self._no_weights(x.element_spec)
            self._known_rows(spec.shape[0])
            if spec.dtype.is_floating:
                for data in x.take(1):
                    self.batch(data)
        elif isinstance(x, (keras.utils.PyDataset, GeneratorType)):
            self._known_rows(None)
            first = x[0] if isinstance(x, keras.utils.PyDataset) else next(x)
            self.batch(first)
            return x if isinstance(x, keras.utils.PyDataset) else _from_start(first, x)
        elif hasattr(images_of(x), "shape"):
            self.batch(x)
            number = len(images_of(x))
            held_out = number - int(number * (1.0 - split))
            for part in (number - held_out, held_out):
                self.rows(part, batch_size or 32)
        return x

    def _no_weights(self, data: Any) -> None:
        if isinstance(data, tuple) and len(data) > 2 and data[2] is not None:
            raise ValueError("a batch has weights, expected images or (images, labels): drop them")

    def _known_rows(self, rows: int | None) -> None:
        if self.replicas > 1 and (rows is None or rows % self.replicas):
            raise ValueError(
                f"batches have {rows or 'an unknown number of'} images, expected a multiple of "
                f"{self.replicas}, the number of replicas: dataset.batch(.., drop_remainder=True)"
            )


def _from_start(first: Any, rest: Iterator[Any]) -> Iterator[tuple[Any, ...]]:
    yield first if isinstance(first, tuple) else (first,)
    for data in rest:
        yield data if isinstance(data, tuple) else (data,)

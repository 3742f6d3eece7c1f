"""The terms of a run on images that it is not trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tfdm.training.grids import fixed_images

# Evaluating them costs about 1 % of the 500 steps between two grids.
MAX_IMAGES = 1024


class HeldOutTerms:
    """The means of all terms over fixed images, in whole batches as in training.

    Args:
      every: steps between two evaluations; the last step has one in any case.
      images: uint8 [n, H, W, C]; at most `MAX_IMAGES` of them are taken, evenly spaced.
      batch_size: images of a batch.
    """

    def __init__(self, every: int, images: np.ndarray, batch_size: int) -> None:
        self.every, self.batch_size = every, batch_size
        number = max(1, min(len(images), MAX_IMAGES) // batch_size) * batch_size
        self._images = fixed_images(images, number)
        self._terms: Any = None

    def of(self, model: Any) -> dict[str, float]:
        """Returns the terms of a model, the same at every call, by names that begin with `val_`.

        Nothing of the model moves.
        """
        if self._terms is None:
            self._terms = tf.function(model.held_out_terms, autograph=False)
        starts = range(0, len(self._images), self.batch_size)
        batches = [
            self._terms(
                tf.constant(self._images[start : start + self.batch_size]),
                tf.constant(index, tf.int64),
            )
            for index, start in enumerate(starts)
        ]
        return {
            f"val_{name}": float(np.mean([float(terms[name]) for terms in batches]))
            for name in sorted(batches[0])
        }

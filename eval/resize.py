"""Images of another size, bilinear with antialiasing, and classifiers that take them.

Shapes: n images, h w and H W their sizes before and after, C channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image


def resized(images: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Returns images uint8 [n, h, w, 1 or 3] scaled to [n, H, W, C]."""
    if images.shape[1:3] == (height, width):
        return images
    scaled = np.empty([len(images), height, width, images.shape[-1]], np.uint8)
    for image, result in zip(images, scaled, strict=True):
        picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
        # Pillow widens the filter when it shrinks an image: that is the antialiasing.
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
        result[...] = np.asarray(picture).reshape(result.shape)
    return scaled


def resized_words(height: int, width: int) -> str:
    """Returns what records say of images that were scaled to this size."""
    return f"bilinear to {height}x{width}, antialiased"


class ResizingClassifier:
    """A classifier with an `image_side`, for uint8 images of any size; `resizer` says how."""

    def __init__(self, classifier: Any) -> None:
        self._classifier, self._side = classifier, int(classifier.image_side)
        self.resizer = resized_words(self._side, self._side)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._classifier, name)

    def __call__(self, images: npt.NDArray[np.uint8]) -> np.ndarray:
        return self._classifier(resized(images, self._side, self._side))

    def logits_and_features(self, images: npt.NDArray[np.uint8]) -> tuple[np.ndarray, np.ndarray]:
        """Returns logits, float32 [n, K], and features, float32 [n, d]."""
        return self._classifier.logits_and_features(resized(images, self._side, self._side))

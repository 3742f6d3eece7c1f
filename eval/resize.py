"""Images of another size, bilinear with antialiasing."""

from __future__ import annotations

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

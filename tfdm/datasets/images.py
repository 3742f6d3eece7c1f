"""From a picture of any size to a square array: the same for CelebA and for image folders."""

from __future__ import annotations

import numpy as np
from PIL import Image


def crop_and_resize(image: Image.Image, crop: int | None, image_size: int) -> np.ndarray:
    """Takes the central square of an image and scales it, bilinear with antialiasing.

    Args:
      image: 8-bit RGB, any size.
      crop: the side of the square in pixels; None takes the largest that fits, which must not
        be smaller than the result: only a crop that was asked for is enlarged.
      image_size: the side S of the result.

    Returns:
      uint8 [S, S, 3].

    Raises:
      ValueError: the image is not RGB, or smaller than the crop or the result.
    """
    if image.mode != "RGB":
        raise ValueError(f"mode is {image.mode}, expected RGB")
    width, height = image.size
    if min(width, height) < (crop or image_size):
        wanted = f"crop {crop}" if crop else f"image_size {image_size}"
        raise ValueError(f"it is {width}x{height}, smaller than {wanted}")
    side = crop or min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    # Not `resize(box=..)`: its filter would reach beyond the square.
    square = image.crop((left, top, left + side, top + side))
    # Pillow widens the filter when it shrinks an image: that is the antialiasing.
    return np.asarray(square.resize((image_size, image_size), Image.Resampling.BILINEAR))

"""Image files: which files of a folder are images, the pixels of one, and squares of one size.

Every part of the package that reads image files reads them here, so that one file gives the same
pixels everywhere: 8 bits, upright, the first frame of an animation, without transparency.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from tfdm.errors import UserError

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")

# Pillow tries no other decoder, whatever a file holds and is called.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_GREY_MODES = ("1", "L", "LA", "La")
_ORIENTATION = 0x0112
_FIRST_ON_ITS_SIDE = 5


def list_images(folder: str | os.PathLike[str]) -> list[str]:
    """Returns the names of the images below a folder, relative to it, sorted.

    Images are regular files with a known extension (`EXTENSIONS`, in any case). Hidden files and
    folders are passed over; links are followed, also to folders, and a folder counts once.

    Raises:
      UserError: the folder, or one below it, cannot be listed.
    """
    names: list[str] = []
    seen: set[str] = set()
    for root, folders, files in os.walk(folder, followlinks=True, onerror=_cannot_list):
        real = os.path.realpath(root)
        if real in seen:  # A link that leads back up.
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (Path(root, file) for file in files if not file.startswith(".")):
            # A link to nothing stays in the list, to be named when it is read.
            if path.name.lower().endswith(EXTENSIONS) and (path.is_file() or not path.exists()):
                names.append(path.relative_to(folder).as_posix())
    return sorted(names)


def read_image(path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """Reads one image: uint8 [H, W, C], upright by its EXIF data; C is 1 for grey images, else 3.

    Raises:
      UserError: the file is missing, damaged, of another format, or has more than 8 bits a channel.
    """
    with _opened(path) as image:
        return _pixels(image)


def read_image_shape(path: str | os.PathLike[str]) -> tuple[int, int, int]:
    """Returns the shape (H, W, C) of what `read_image` returns, from the header where it can."""
    with _opened(path) as image:
        width, height = image.size
        # Where the header gives the sides is a matter of the format, so such images are decoded.
        if width != height and image.getexif().get(_ORIENTATION, 1) >= _FIRST_ON_ITS_SIDE:
            height, width = _pixels(image).shape[:2]
        return height, width, 1 if image.mode in _GREY_MODES else 3


def crop_and_resize(image: Image.Image, crop: int | None, image_size: int) -> np.ndarray:
    """Takes the central square of an 8-bit RGB image and scales it, bilinear with antialiasing.

    `crop` is the side of the square in pixels; `None` takes the largest that fits, which must not
    be smaller than the result: only a crop that was asked for is enlarged.

    Returns:
      uint8 [S, S, 3] with S = `image_size`.

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


def _pixels(image: Image.Image) -> npt.NDArray[np.uint8]:
    upright = ImageOps.exif_transpose(image)
    is_grey = image.mode in _GREY_MODES
    pixels = np.asarray(upright.convert("L" if is_grey else "RGB"))
    return pixels[..., np.newaxis] if is_grey else pixels


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Image.Image]:
    """Opens an image with at most 8 bits; whatever is wrong with it is one line with its name."""
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise ValueError("it is no regular file")  # Opening a pipe would wait for its writer.
        with Image.open(path, formats=_FORMATS) as image:
            if _is_deep(image):
                raise ValueError(f"its pixels have more than 8 bits, mode {image.mode}")
            yield image
    except Exception as error:  # Pillow's decoders raise many kinds.
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        reason = " ".join(reason.split())
        raise UserError(f"cannot read {path} ({reason}): repair or remove it") from error


def _is_deep(image: Any) -> bool:
    """Says whether an opened image has more than 8 bits a channel, which Pillow may cut to 8."""
    if image.mode.startswith(("I", "F")):
        return True
    layouts = [tile[3] for tile in image.tile]
    if image.format == "PPM":
        return any(isinstance(layout, tuple) and layout[1] > 255 for layout in layouts)
    return ";16" in str(layouts)


def _cannot_list(error: OSError) -> None:
    raise UserError(f"cannot list {error.filename}: {error.strerror}") from error

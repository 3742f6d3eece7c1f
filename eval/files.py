"""Images to be evaluated from files: a folder of pictures, or an array, [n, H, W, C].

Files are read piece by piece, whatever their size, and nothing in them can run code.
"""

from __future__ import annotations

import contextlib
import math
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from tfdm.datasets.reader import EXTENSIONS, list_images, read_image, read_image_shape
from tfdm.errors import UserError
from tfdm.eval.checks import in_unit_range
from tfdm.eval.sources import (
    PIECE,
    Blocks,
    ImageSource,
    Shape,
    array_pieces,
    check_shape,
    checked_number,
    fitted,
    in_shape,
    quantised,
    resized_words,
)

# An array in a file: its shape, its type, and what reads it in pieces.
_Array = tuple[tuple[int, ...], np.dtype[Any], Callable[[], Iterator[np.ndarray]]]

_IMAGES = ("images.npy", "arr_0.npy")


def file_source(
    path: str | os.PathLike[str],
    image_shape: Shape | None = None,
    num_images: int | None = None,
    resize: bool = False,
) -> ImageSource:
    """Returns the first `num_images` images of a folder or of an array in a file, all for `None`.

    A folder's images are sorted by their relative names; other files are passed over and counted.
    An `.npy` file, or an `.npz` file with `images`, `arr_0` or one array alone, holds [n, H, W, C]
    or [n, H, W], as in `array_source`. Images become those of `image_shape` as in `fitted`; `None`
    takes what is there, of a folder the size of the first image.

    Raises:
      UserError: there is nothing to read, an image or the array has another type, shape or
        range, or there are fewer images than asked for; from `blocks`, a file is damaged.
    """
    path = Path(path)
    if path.is_dir():
        return _folder_source(path, image_shape, num_images, resize)
    if not path.exists():
        raise UserError(f"{path} does not exist: name a folder of images, an .npz or an .npy file")
    if path.suffix not in (".npy", ".npz"):
        raise UserError(
            f"{path} is not a folder, an .npz or an .npy file: give [n, H, W, C] in one of these"
        )
    return fitted(_array_source(path, num_images), image_shape, resize)


def _folder_source(
    path: Path, shape: Shape | None, num_images: int | None, resize: bool
) -> ImageSource:
    names = list_images(path)
    if not names:
        raise UserError(f"{path} holds no image: known extensions are {' '.join(EXTENSIONS)}")
    num = checked_number(str(path), len(names), num_images)
    files = [path / name for name in names[:num]]
    shapes = [read_image_shape(file) for file in files]
    target = shape or (*shapes[0][:2], max(channels for _, _, channels in shapes))
    for file, found in zip(files, shapes, strict=True):
        check_shape(str(file), found, target, resize)
    record = {"images": str(path), "available": len(names), "quantised": False}
    record["passed_over"] = _passed_over(path)
    if any(found[:2] != target[:2] for found in shapes):
        record["resized"] = resized_words(*target[:2])

    def pieces() -> Blocks:
        return (in_shape(read_image(file)[np.newaxis], target) for file in files)

    return ImageSource(path.resolve().name, record, num, target, pieces)


def _passed_over(folder: Path) -> int:
    """The number of files below a folder that are neither hidden nor images by their names."""
    total = 0
    for _, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        total += sum(not f.startswith(".") and not f.lower().endswith(EXTENSIONS) for f in files)
    return total


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Whatever is wrong with a file, as a UserError that names it."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # Unpackers raise many kinds.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"cannot read {path} ({reason}): give one array of numbers, [n, H, W, C]"
        ) from error


def _array_source(path: Path, num_images: int | None) -> ImageSource:
    with _reading(path):
        found, dtype, read = _open_array(path)
    if len(found) not in (3, 4) or 0 in found[1:] or (*found, 1)[3] not in (1, 3):
        raise UserError(f"{path} has shape {found}: give [n, H, W, 1 or 3] or [n, H, W]")
    is_float = dtype.kind == "f"
    if dtype != np.uint8 and not is_float:
        raise UserError(f"{path} is of type {dtype}: give uint8, or floats in [0, 1]")
    height, width, channels = shape = (*found[1:], 1)[:3]
    num = checked_number(str(path), found[0], num_images)

    def pieces() -> Blocks:
        left = num
        with _reading(path):
            for piece in read():
                piece = piece[:left].reshape(-1, *shape)
                left -= len(piece)
                yield _as_levels(piece, path) if is_float else piece
                if not left:
                    return

    for _ in pieces() if is_float else ():  # Better said now than in the middle.
        pass
    record = {"images": str(path), "available": found[0], "quantised": is_float}
    return ImageSource(path.stem, record, num, (height, width, channels), pieces)


def _as_levels(images: np.ndarray, path: Path) -> np.ndarray:
    low, high = images.min(), images.max()
    if not in_unit_range(low, high):  # Not a number is neither.
        raise UserError(
            f"{path} holds values in [{low:.9g}, {high:.9g}]: give floats in [0, 1], or uint8"
        )
    return quantised(images)


def _open_array(path: Path) -> _Array:
    """The array of an `.npy` or `.npz` file; the latter is unpacked piece by piece."""
    if path.suffix == ".npy":
        array = np.lib.format.open_memmap(path, mode="r")
        return array.shape, array.dtype, lambda: array_pieces(array)
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".npy")]
        # `np.savez` calls unnamed arrays `arr_0`, `arr_1`, ..: images, then labels.
        name = next((n for n in (*names[: len(names) == 1], *_IMAGES) if n in names), None)
        if name is None:
            known = ", ".join(name.removesuffix(".npy") for name in names) or "none"
            raise UserError(f"{path} holds the arrays {known}: name the one of the images `images`")
        with archive.open(name) as file:
            shape, fortran_order, dtype = _read_header(file)
    if fortran_order:
        raise ValueError("it is in Fortran order, save np.ascontiguousarray of it")
    if dtype.hasobject:
        raise ValueError("it holds Python objects")

    def read() -> Iterator[np.ndarray]:
        with zipfile.ZipFile(path) as archive, archive.open(name) as file:
            _read_header(file)
            for start in range(0, shape[0], PIECE):
                wanted = (min(PIECE, shape[0] - start), *shape[1:])
                data = file.read(math.prod(wanted) * dtype.itemsize)
                yield np.frombuffer(data, dtype).reshape(wanted)

    return shape, dtype, read


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """The shape, whether the order is Fortran's, and the type: what `np.load` reads first."""
    if np.lib.format.read_magic(file) == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    return np.lib.format.read_array_header_2_0(file)

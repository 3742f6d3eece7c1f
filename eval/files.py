"""Images to be evaluated from files: a folder of pictures, or an array.

Files are read piece by piece, whatever their size, and nothing in them can run code. Shapes:
n images, H W C image axes.
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
import numpy.typing as npt
from PIL import Image, ImageOps

from tfdm.errors import UserError
from tfdm.eval.sources import (
    PIECE,
    Blocks,
    ImageSource,
    Shape,
    array_pieces,
    checked_number,
    quantised,
    source_of,
    with_channels,
)

# An array in a file: its shape, its type, and what reads it in pieces.
_Array = tuple[tuple[int, ...], np.dtype[Any], Callable[[], Iterator[np.ndarray]]]

EXTENSIONS = (".jpeg", ".jpg", ".png")

_IMAGES = ("images.npy", "arr_0.npy")
_ORIENTATION = 0x0112


def file_source(
    path: str | os.PathLike[str], image_shape: Shape | None = None, num_images: int | None = None
) -> ImageSource:
    """Returns the images of a folder or of an array in a file, the first ones in their order.

    A folder is searched for PNG and JPEG files, also in its subfolders but not in hidden ones;
    they are sorted by their relative names. Transparency is dropped, a JPEG's orientation
    applied. An `.npy` file, or an `.npz` file with `images`, `arr_0` or one array alone, holds
    [n, H, W, C] or [n, H, W], uint8 or floating in [0, 1]; floats are quantised to 256 levels.

    Args:
      path: the folder or file.
      image_shape: the expected (H, W, C), grey images get C channels; None takes what is there.
      num_images: how many images; None stands for all.

    Raises:
      UserError: there is nothing to read, an image or the array has another type, shape or
        range, or there are fewer images than asked for; from `blocks`, a file is damaged.
    """
    path = Path(path)
    if path.is_dir():
        return _folder_source(path, image_shape, num_images)
    if not path.exists():
        raise UserError(
            f"{path} does not exist: name a folder of PNG or JPEG images, an .npz or an .npy file"
        )
    if path.suffix not in (".npy", ".npz"):
        raise UserError(
            f"{path} is no folder and no .npz or .npy file: give [n, H, W, C] in one of these"
        )
    return _array_source(path, image_shape, num_images)


def _folder_source(path: Path, shape: Shape | None, num_images: int | None) -> ImageSource:
    names = _image_names(path)
    if not names:
        raise UserError(f"{path} holds no image: known extensions are {' '.join(EXTENSIONS)}")
    num = checked_number(str(path), len(names), num_images)
    files = [path / name for name in names[:num]]
    shapes = [_with_image(file, _shape_of) for file in files]
    target = shape or (*shapes[0][:2], max(channels for _, _, channels in shapes))
    for file, found in zip(files, shapes, strict=True):
        _check_shape(str(file), found, target)

    def pieces() -> Blocks:
        for file in files:
            yield with_channels(_with_image(file, _pixels), target[2])

    record = {"images": str(path), "available": len(names), "quantised": False}
    return source_of(path.resolve().name, record, num, target, pieces)


def _image_names(folder: Path) -> list[str]:
    def refuse(error: OSError) -> None:
        raise UserError(f"cannot list {error.filename}: {error.strerror}") from error

    names = []
    for root, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if name.lower().endswith(EXTENSIONS) and not name.startswith("."):
                names.append((Path(root) / name).relative_to(folder).as_posix())
    return sorted(names)


@contextlib.contextmanager
def _reading(path: Path, advice: str) -> Iterator[None]:
    """Whatever is wrong with a file, as a UserError that names it."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # Decoders and unpackers raise many kinds.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"cannot read {path} ({reason}): {advice}") from error


def _with_image(path: Path, use: Callable[[Any], Any]) -> Any:
    """What `use` makes of an opened image."""
    advice = "repair or remove it"
    with _reading(path, advice), Image.open(path, formats=("PNG", "JPEG")) as image:
        return use(image)


def _shape_of(image: Any) -> Shape:
    """(H, W, C) of an opened image from its header, upright."""
    if image.mode.startswith(("I", "F")):
        raise ValueError(f"its pixels have more than 8 bits, mode {image.mode}")
    width, height = image.size
    if image.format == "JPEG" and image.getexif().get(_ORIENTATION, 1) >= 5:  # On its side.
        width, height = height, width
    return height, width, 1 if image.mode in ("1", "L", "LA", "La") else 3


def _pixels(image: Any) -> npt.NDArray[np.uint8]:
    """The pixels of an opened image, [1, H, W, C]."""
    shape = _shape_of(image)
    # Of a JPEG alone: Pillow decodes a whole PNG to look for an orientation, which few have.
    upright: Any = ImageOps.exif_transpose(image) if image.format == "JPEG" else image
    return np.asarray(upright.convert("L" if shape[2] == 1 else "RGB")).reshape(1, *shape)


def _array_source(path: Path, shape: Shape | None, num_images: int | None) -> ImageSource:
    advice = "give one array of numbers, [n, H, W, C]"
    with _reading(path, advice):
        found, dtype, read = _open_npz(path) if path.suffix == ".npz" else _open_npy(path)
    if len(found) not in (3, 4) or 0 in found[1:] or (*found, 1)[3] not in (1, 3):
        raise UserError(f"{path} has shape {found}: give [n, H, W, 1 or 3] or [n, H, W]")
    is_float = dtype.kind == "f"
    if dtype != np.uint8 and not is_float:
        raise UserError(f"{path} is of type {dtype}: give uint8, or floats in [0, 1]")
    height, width, channels = (*found[1:], 1)[:3]
    target = shape or (height, width, channels)
    _check_shape(f"an image of {path}", (height, width, channels), target)
    num = checked_number(str(path), found[0], num_images)

    def pieces() -> Blocks:
        left = num
        with _reading(path, advice):
            for piece in read():
                piece = piece[:left].reshape(-1, height, width, channels)
                left -= len(piece)
                if is_float:
                    low, high = piece.min(), piece.max()
                    if not (low >= 0 and high <= 1):  # Not a number is neither.
                        raise UserError(
                            f"{path} holds values in [{low:.4g}, {high:.4g}]: give floats in "
                            "[0, 1], or uint8"
                        )
                    piece = quantised(piece)
                yield with_channels(piece, target[2])
                if not left:
                    return

    if is_float:
        for _ in pieces():  # Better said now than in the middle of an evaluation.
            pass
    record = {"images": str(path), "available": found[0], "quantised": is_float}
    return source_of(path.stem, record, num, target, pieces)


def _open_npy(path: Path) -> _Array:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.memmap):
        raise ValueError("it is no .npy file")
    return array.shape, array.dtype, lambda: array_pieces(array)


def _open_npz(path: Path) -> _Array:
    """The array of an `.npz` file; it is unpacked piece by piece, never as a whole."""
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


def _check_shape(name: str, found: Shape, expected: Shape) -> None:
    """Raises UserError unless images of one shape can become those of the other."""
    if found[:2] != expected[:2] or found[2] not in (1, expected[2]):
        is_, wanted = ("x".join(map(str, shape)) for shape in (found, expected))
        raise UserError(
            f"{name} is {is_}, expected {wanted} (height x width x channels): scale or remove it"
        )

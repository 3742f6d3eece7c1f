"""Where images to be evaluated come from: a trained run, files, or a split of a data set.

A source can be read again and again, in blocks of any size, and always gives the same images;
it never holds more than a block and a few hundred images. Shapes: n images, H W C image axes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from tfdm.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from tfdm.datasets.dataset import ImageDataset
    from tfdm.training.loading import TrainedRun

Shape = tuple[int, int, int]
Blocks = Iterator[npt.NDArray[np.uint8]]
# An array in a file: its shape, its type, and what reads it in pieces.
_Array = tuple[tuple[int, ...], np.dtype[Any], Callable[[], Iterator[np.ndarray]]]

EXTENSIONS = (".jpeg", ".jpg", ".png")

_PIECE = 500
_ORIENTATION = 0x0112

# The last word of the key of a random stream. Not zero: NumPy fills short keys with zeros.
_GENERATED = 1
_NOISE = 2


@dataclasses.dataclass(frozen=True)
class ImageSource:
    """Images to be evaluated.

    Attributes:
      name: how to call them in a title.
      record: what `evaluation.json` says of them.
      num_images: n.
      image_shape: (H, W, C), C is 1 or 3.
      blocks: a size b -> the images as uint8 [b, H, W, C], the last block with what is left.
        The images and their order depend on neither b nor what was read before. Raises
        `ValueError` for b < 1 and, while it is read, `UserError`.
    """

    name: str
    record: dict[str, Any]
    num_images: int
    image_shape: Shape
    blocks: Callable[[int], Blocks]


def run_source(run: TrainedRun, num_samples: int, seed: int) -> ImageSource:
    """Returns samples of a trained model, quantised to 256 levels.

    They are generated 500 at a time, whatever is asked for, each time with a seed made of
    `seed` and the number of the 500: fewer samples are the first of more.

    Args:
      run: the trained run.
      num_samples: n.
      seed: the seed of the codes, at least 0.

    Raises:
      ValueError: `num_samples` or `seed` is out of range.
      UserError: from `blocks`, a sample is not finite.
    """
    if num_samples < 1 or seed < 0:
        raise ValueError(
            f"num_samples is {num_samples} and seed {seed}, expected at least 1 and at least 0"
        )
    config = run.config
    path = str(run.folder.path)

    def pieces() -> Blocks:
        for index in range(-(-num_samples // _PIECE)):
            key = np.random.SeedSequence([seed, index, _GENERATED])
            piece_seed = int(key.generate_state(1)[0] >> 1)
            images = np.asarray(run.model.generate(_PIECE, seed=piece_seed), np.float32)
            if not np.isfinite(images).all():
                raise UserError(
                    f"{path} generates images that are not finite: evaluate another run"
                )
            yield _quantised(images)

    record = {
        "run": path,
        "model": config.model,
        "dataset": config.dataset,
        "steps": run.step,
        "run_seed": config.seed,
        "sample_seed": seed,
        "batch_norm": "moving averages",
        "quantised": True,
    }
    name = f"{config.model}, {config.dataset}, {run.step:,} steps"
    return _source(name, record, num_samples, run.model.image_shape, pieces)


def split_source(dataset: ImageDataset, split: str, num_images: int | None = None) -> ImageSource:
    """Returns the first images of a split of a data set.

    Args:
      dataset: the data set.
      split: the split's name.
      num_images: how many; None stands for all.

    Raises:
      UserError: there is no such split, or it holds fewer images.
    """
    if split not in dataset.splits:
        advice = did_you_mean(split, dataset.splits)
        raise UserError(f"{dataset.name} has no split {split}: {advice}")
    images = dataset.splits[split]
    name = f"{dataset.name}, {split}"
    num = _checked_number(name, len(images), num_images)
    record = {
        "dataset": dataset.name,
        "split": split,
        "dataset_digest": dataset.digest,
        "available": len(images),
        "quantised": False,
    }
    return _source(name, record, num, dataset.image_shape, lambda: _array_pieces(images))


def noised(source: ImageSource, scale: float, seed: int) -> ImageSource:
    """Returns the images of a source with normal noise on their pixels.

    The noise is added to pixels in [0, 1]; the sum is clipped to [0, 1] and quantised to 256
    levels. An image's noise depends on `seed` and the image's number alone.

    Args:
      source: the images.
      scale: the standard deviation, at least 0.
      seed: the seed of the noise, at least 0.

    Raises:
      ValueError: `scale` or `seed` is out of range.
    """
    if not 0 <= scale < np.inf or seed < 0:
        raise ValueError(f"scale is {scale} and seed {seed}, expected finite numbers >= 0")

    def pieces() -> Blocks:
        index = 0
        for block in source.blocks(_PIECE):
            images = block / np.float32(255)
            for image in images:
                generator = np.random.default_rng([seed, index, _NOISE])
                image += np.float32(scale) * generator.standard_normal(image.shape, np.float32)
                index += 1
            yield _quantised(images)

    name = f"{source.name}, noise {scale:g}"
    record = {**source.record, "noise_scale": scale, "noise_seed": seed, "quantised": True}
    return _source(name, record, source.num_images, source.image_shape, pieces)


def file_source(
    path: str | os.PathLike[str], image_shape: Shape | None = None, num_images: int | None = None
) -> ImageSource:
    """Returns the images of a folder or of an array in a file, the first ones in their order.

    A folder is searched for PNG and JPEG files, also in its subfolders but not in hidden ones;
    they are sorted by their relative names. Transparency is dropped, a JPEG's orientation
    applied. An `.npy` file, or an `.npz` file with the array `images` or one array alone, holds
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
    num = _checked_number(str(path), len(names), num_images)
    files = [path / name for name in names[:num]]
    shapes = [_with_image(file, _shape_of) for file in files]
    target = shape or (*shapes[0][:2], max(channels for _, _, channels in shapes))
    for file, found in zip(files, shapes, strict=True):
        _check_shape(str(file), found, target)

    def pieces() -> Blocks:
        for file in files:
            yield _with_channels(_with_image(file, _pixels), target[2])

    record = {"images": str(path), "available": len(names), "quantised": False}
    return _source(path.resolve().name, record, num, target, pieces)


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
    num = _checked_number(str(path), found[0], num_images)

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
                    piece = _quantised(piece)
                yield _with_channels(piece, target[2])
                if not left:
                    return

    if is_float:
        for _ in pieces():  # Better said now than in the middle of an evaluation.
            pass
    record = {"images": str(path), "available": found[0], "quantised": is_float}
    return _source(path.stem, record, num, target, pieces)


def _open_npy(path: Path) -> _Array:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.memmap):
        raise ValueError("it is no .npy file")
    return array.shape, array.dtype, lambda: _array_pieces(array)


def _open_npz(path: Path) -> _Array:
    """The array of an `.npz` file; it is unpacked piece by piece, never as a whole."""
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".npy")]
        name = names[0] if len(names) == 1 else "images.npy"
        if name not in names:
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
            for start in range(0, shape[0], _PIECE):
                wanted = (min(_PIECE, shape[0] - start), *shape[1:])
                data = file.read(math.prod(wanted) * dtype.itemsize)
                yield np.frombuffer(data, dtype).reshape(wanted)

    return shape, dtype, read


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """The shape, whether the order is Fortran's, and the type: what `np.load` reads first."""
    if np.lib.format.read_magic(file) == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    return np.lib.format.read_array_header_2_0(file)


def _source(
    name: str, record: dict[str, Any], num: int, shape: Shape, pieces: Callable[[], Blocks]
) -> ImageSource:
    """A source of the first `num` images [H, W, C] from pieces [.., H, W, C] of any sizes."""

    def in_blocks(size: int) -> Blocks:
        images = itertools.islice((image for piece in pieces() for image in piece), num)
        while block := list(itertools.islice(images, size)):
            yield np.stack(block)

    def blocks(size: int) -> Blocks:
        if size < 1:
            raise ValueError(f"the size of a block is {size}, expected at least 1")
        return in_blocks(size)

    return ImageSource(name, record, num, shape, blocks)


def _array_pieces(array: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(array), _PIECE):
        yield np.asarray(array[start : start + _PIECE])


def _quantised(images: np.ndarray) -> npt.NDArray[np.uint8]:
    """Floats as levels 0..255, the nearest; what is beyond [0, 1] is clipped."""
    return np.rint(np.clip(images, 0.0, 1.0) * np.float32(255)).astype(np.uint8)


def _with_channels(images: np.ndarray, channels: int) -> npt.NDArray[np.uint8]:
    return images if images.shape[-1] == channels else np.repeat(images, channels, axis=-1)


def _check_shape(name: str, found: Shape, expected: Shape) -> None:
    """Raises UserError unless images of one shape can become those of the other."""
    if found[:2] != expected[:2] or found[2] not in (1, expected[2]):
        is_, wanted = ("x".join(map(str, shape)) for shape in (found, expected))
        raise UserError(
            f"{name} is {is_}, expected {wanted} (height x width x channels): scale or remove it"
        )


def _checked_number(name: str, available: int, wanted: int | None) -> int:
    if not available:
        raise UserError(f"{name} holds no image: name images to evaluate")
    if wanted is not None and wanted < 1:
        raise ValueError(f"num_images is {wanted}, expected at least 1")
    if wanted is not None and wanted > available:
        raise UserError(f"{name} holds {available} images, {wanted} were asked for: ask for fewer")
    return available if wanted is None else wanted

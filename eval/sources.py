"""Images to be evaluated: of a model, an array or a split of a data set, perhaps with noise.

A source always gives the same images, and holds a few hundred of them at a time. Shapes: n images,
H W C image axes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tfdm.datasets.dataset import ImageDataset
from tfdm.errors import UserError
from tfdm.eval.checks import checked_images
from tfdm.seeds import derive, stream

Shape = tuple[int, int, int]
Blocks = Iterator[npt.NDArray[np.uint8]]

PIECE = 500


@dataclasses.dataclass(frozen=True)
class ImageSource:
    """Images to be evaluated, [n, H, W, 1 or 3].

    `pieces` reads them, and perhaps more, as uint8 [.., H, W, C] in pieces of any sizes; it raises
    `UserError` where they cannot be read.
    """

    name: str  # in a title
    record: dict[str, Any]  # what `evaluation.json` says of them
    num_images: int
    image_shape: Shape
    pieces: Callable[[], Blocks]

    def blocks(self, size: int) -> Blocks:
        """Returns the n images as uint8 [size, H, W, C], the last block with what is left."""
        if size < 1:
            raise ValueError(f"the size of a block is {size}, expected at least 1")
        images = itertools.islice(itertools.chain.from_iterable(self.pieces()), self.num_images)
        return map(np.stack, iter(lambda: list(itertools.islice(images, size)), []))

    def digest(self) -> str:
        """Returns a SHA-256 (hex) of shape and pixels; reads all images."""
        sha256 = hashlib.sha256(f"{self.image_shape}".encode())
        for block in self.blocks(PIECE):
            sha256.update(np.ascontiguousarray(block).data)
        return sha256.hexdigest()


def model_source(
    generate: Callable[..., Any],
    num_samples: int,
    seed: int,
    *,
    name: str,
    image_shape: Shape,
    record: Mapping[str, Any] | None = None,
) -> ImageSource:
    """Returns samples of a trained model, quantised to 256 levels.

    `generate(number, seed=)` gives images [number, H, W, C] in [0, 1], 500 at a time: fewer samples
    are the first of more. A sample that is not finite is a `UserError` from `blocks`.
    """

    def pieces() -> Blocks:
        for index in range(-(-num_samples // PIECE)):
            images = generate(PIECE, seed=derive(seed, "evaluate/samples", index))
            images = np.asarray(images, np.float32)
            if not np.isfinite(images).all():
                raise UserError(f"{name}: some samples are not finite: evaluate another run")
            yield quantised(images)

    own = {"sample_seed": seed, "batch_norm": "moving averages", "quantised": True}
    return ImageSource(name, {**(record or {}), **own}, num_samples, image_shape, pieces)


def array_source(
    images: npt.ArrayLike, num_images: int | None = None, name: str = "array"
) -> ImageSource:
    """Returns the first `num_images` images of an array, all for `None`.

    The array is [n, H, W, C] or [n, H, W], uint8 or floating in [0, 1]; floats are quantised to 256
    levels. Another type, shape or range is a `ValueError`, fewer images are a `UserError`.
    """
    array = np.asarray(images)
    array = checked_images(array[..., np.newaxis] if array.ndim == 3 else array)
    num, is_float = checked_number(name, len(array), num_images), array.dtype != np.uint8
    height, width, channels = array.shape[1:]
    as_levels = quantised if is_float else np.asarray
    record = {"images": name, "available": len(array), "quantised": is_float}
    shape = (height, width, channels)
    return ImageSource(name, record, num, shape, lambda: map(as_levels, array_pieces(array)))


def split_source(dataset: ImageDataset, split: str, num_images: int | None = None) -> ImageSource:
    """Returns the first `num_images` images of a split, all for `None`; fewer are a `UserError`."""
    images, name = dataset.split(split), f"{dataset.name}, {split}"
    count = {"available": len(images), "quantised": False}
    record = {"dataset": dataset.name, "split": split, "dataset_digest": dataset.digest, **count}
    num = checked_number(name, len(images), num_images)
    return ImageSource(name, record, num, dataset.image_shape, lambda: array_pieces(images))


def noised(source: ImageSource, scale: float, seed: int) -> ImageSource:
    """Returns the images of a source with normal noise of standard deviation `scale`.

    It is added to pixels in [0, 1], clipped and quantised to 256 levels. An image's noise depends
    on `seed` and the image's number alone.
    """

    def pieces() -> Blocks:
        numbers = itertools.count()
        for block in source.blocks(PIECE):
            images = block / np.float32(255)
            for image, number in zip(images, numbers, strict=False):
                generator = stream(seed, "evaluate/noise", number)
                image += np.float32(scale) * generator.standard_normal(image.shape, np.float32)
            yield quantised(images)

    record = {**source.record, "noise_scale": scale, "noise_seed": seed, "quantised": True}
    name = f"{source.name}, noise {scale:g}"
    return dataclasses.replace(source, name=name, record=record, pieces=pieces)


def fitted(source: ImageSource, shape: Shape | None, resize: bool = False) -> ImageSource:
    """Returns the images of a source as (H, W, C); `None` leaves them as they are.

    Grey images get C equal channels; with `resize`, images of another size are scaled, bilinear
    with antialiasing. Without it they are a `UserError`, as is colour that would become grey.
    """
    if shape is None or source.image_shape == shape:
        return source
    check_shape(f"an image of {source.name}", source.image_shape, shape, resize)
    record = dict(source.record)
    if source.image_shape[:2] != shape[:2]:
        record["resized"] = resized_words(*shape[:2])

    def pieces() -> Blocks:
        return (in_shape(block, shape) for block in source.blocks(PIECE))

    return dataclasses.replace(source, record=record, image_shape=shape, pieces=pieces)


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


def array_pieces(array: np.ndarray) -> Iterator[np.ndarray]:
    """Returns the rows of an array, `PIECE` at a time."""
    return (np.asarray(array[start : start + PIECE]) for start in range(0, len(array), PIECE))


def quantised(images: np.ndarray) -> npt.NDArray[np.uint8]:
    """Returns floats as levels 0..255, the nearest; what is beyond [0, 1] is clipped."""
    return np.rint(np.clip(images, 0.0, 1.0) * np.float32(255)).astype(np.uint8)


def in_shape(images: npt.NDArray[np.uint8], shape: Shape) -> npt.NDArray[np.uint8]:
    """Returns images [n, h, w, c] as [n, H, W, C]; one channel stands for equal ones."""
    images = resized(images, *shape[:2])
    return images if images.shape[-1] == shape[2] else np.repeat(images, shape[2], axis=-1)


def check_shape(name: str, found: Shape, expected: Shape, resize: bool = False) -> None:
    """Raises a `UserError` that names the images if they cannot become those of another shape."""
    if found[2] in (1, expected[2]) and (resize or found[:2] == expected[:2]):
        return
    is_, wanted = ("x".join(map(str, shape)) for shape in (found, expected))
    differs = found[:2] != expected[:2] and not resize
    advice = "resize=True (--resize) scales it" if differs else "make all images grey or RGB"
    raise UserError(f"{name} is {is_}, expected {wanted} (height x width x channels): {advice}")


def checked_number(name: str, available: int, wanted: int | None) -> int:
    """Returns how many images to take, all for `None`; too few are a `UserError`."""
    if not available:
        raise UserError(f"{name} holds no image: name images to evaluate")
    if wanted is not None and wanted > available:
        raise UserError(f"{name} holds {available} images, {wanted} were asked for: ask for fewer")
    return available if wanted is None else wanted

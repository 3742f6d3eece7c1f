"""Images to be evaluated: of a model, an array or a split of a data set, perhaps with noise.

A source can be read again and again, in blocks of any size, and always gives the same images;
it never holds more than a block and a few hundred images. Shapes: n images, H W C image axes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tfdm.datasets.dataset import ImageDataset
from tfdm.errors import UserError, did_you_mean
from tfdm.eval.checks import checked_images
from tfdm.eval.resize import resized, resized_words
from tfdm.seeds import derive, stream

Shape = tuple[int, int, int]
Blocks = Iterator[npt.NDArray[np.uint8]]

PIECE = 500


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

    They are generated 500 at a time, whatever is asked for, each time with a seed made of
    `seed` and the number of the 500: fewer samples are the first of more.

    Args:
      generate: (number, seed=) -> images [number, H, W, C] in [0, 1].
      num_samples: n.
      seed: the seed of the codes, at least 0.
      name: how to call the samples.
      image_shape: (H, W, C).
      record: what to say of the model.

    Raises:
      ValueError: `num_samples` or `seed` is out of range.
      UserError: from `blocks`, a sample is not finite.
    """
    if num_samples < 1 or seed < 0:
        raise ValueError(
            f"num_samples is {num_samples} and seed {seed}, expected at least 1 and at least 0"
        )

    def pieces() -> Blocks:
        for index in range(-(-num_samples // PIECE)):
            piece_seed = derive(seed, "evaluate/samples", index)
            images = np.asarray(generate(PIECE, seed=piece_seed), np.float32)
            if not np.isfinite(images).all():
                raise UserError(f"{name}: some samples are not finite: evaluate another run")
            yield quantised(images)

    own = {"sample_seed": seed, "batch_norm": "moving averages", "quantised": True}
    return source_of(name, {**(record or {}), **own}, num_samples, image_shape, pieces)


def array_source(
    images: npt.ArrayLike, num_images: int | None = None, name: str = "array"
) -> ImageSource:
    """Returns the first images of an array.

    Args:
      images: [n, H, W, C] or [n, H, W], uint8 or floating in [0, 1]; floats are quantised to 256
        levels.
      num_images: how many; None stands for all.
      name: how to call them.

    Raises:
      ValueError: another type, shape or range.
      UserError: there are fewer images.
    """
    array = np.asarray(images)
    array = checked_images(array[..., np.newaxis] if array.ndim == 3 else array)
    num, is_float = checked_number(name, len(array), num_images), array.dtype != np.uint8

    def pieces() -> Blocks:
        return (quantised(piece) if is_float else piece for piece in array_pieces(array))

    record = {"images": name, "available": len(array), "quantised": is_float}
    height, width, channels = array.shape[1:]
    return source_of(name, record, num, (height, width, channels), pieces)


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
    num = checked_number(name, len(images), num_images)
    record = {
        "dataset": dataset.name,
        "split": split,
        "dataset_digest": dataset.digest,
        "available": len(images),
        "quantised": False,
    }
    return source_of(name, record, num, dataset.image_shape, lambda: array_pieces(images))


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
        for block in source.blocks(PIECE):
            images = block / np.float32(255)
            for image in images:
                generator = stream(seed, "evaluate/noise", index)
                image += np.float32(scale) * generator.standard_normal(image.shape, np.float32)
                index += 1
            yield quantised(images)

    name = f"{source.name}, noise {scale:g}"
    record = {**source.record, "noise_scale": scale, "noise_seed": seed, "quantised": True}
    return source_of(name, record, source.num_images, source.image_shape, pieces)


def fitted(source: ImageSource, shape: Shape, resize: bool = False) -> ImageSource:
    """Returns the images of a source in another shape.

    Args:
      source: the images.
      shape: the wanted (H, W, C); grey images get C equal channels.
      resize: whether to scale images of another height or width, bilinear with antialiasing.

    Raises:
      UserError: the shapes differ and `resize` is false, or images in colour would become grey.
    """
    if source.image_shape == shape:
        return source
    check_shape(f"an image of {source.name}", source.image_shape, shape, resize)
    record = dict(source.record)
    if source.image_shape[:2] != shape[:2]:
        record["resized"] = resized_words(*shape[:2])

    def pieces() -> Blocks:
        return (in_shape(block, shape) for block in source.blocks(PIECE))

    return source_of(source.name, record, source.num_images, shape, pieces)


def source_of(
    name: str, record: dict[str, Any], num: int, shape: Shape, pieces: Callable[[], Blocks]
) -> ImageSource:
    """Returns a source of the first `num` images of pieces [.., H, W, C] of any sizes."""

    def in_blocks(size: int) -> Blocks:
        images = itertools.islice((image for piece in pieces() for image in piece), num)
        while block := list(itertools.islice(images, size)):
            yield np.stack(block)

    def blocks(size: int) -> Blocks:
        if size < 1:
            raise ValueError(f"the size of a block is {size}, expected at least 1")
        return in_blocks(size)

    return ImageSource(name, record, num, shape, blocks)


def array_pieces(array: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the rows of an array, `PIECE` at a time."""
    for start in range(0, len(array), PIECE):
        yield np.asarray(array[start : start + PIECE])


def quantised(images: np.ndarray) -> npt.NDArray[np.uint8]:
    """Returns floats as levels 0..255, the nearest; what is beyond [0, 1] is clipped."""
    return np.rint(np.clip(images, 0.0, 1.0) * np.float32(255)).astype(np.uint8)


def in_shape(images: npt.NDArray[np.uint8], shape: Shape) -> npt.NDArray[np.uint8]:
    """Returns images [n, h, w, c] as [n, H, W, C]; one channel stands for equal ones."""
    images = resized(images, *shape[:2])
    return images if images.shape[-1] == shape[2] else np.repeat(images, shape[2], axis=-1)


def check_shape(name: str, found: Shape, expected: Shape, resize: bool = False) -> None:
    """Checks that images of one shape can become those of the other.

    Raises:
      UserError: they cannot; the line names the images.
    """
    if found[2] in (1, expected[2]) and (resize or found[:2] == expected[:2]):
        return
    is_, wanted = ("x".join(map(str, shape)) for shape in (found, expected))
    differs = found[:2] != expected[:2] and not resize
    advice = "resize=True (--resize) scales it" if differs else "make all images grey or RGB"
    raise UserError(f"{name} is {is_}, expected {wanted} (height x width x channels): {advice}")


def checked_number(name: str, available: int, wanted: int | None) -> int:
    """Returns how many images to take: those that are wanted, all for `None`.

    Raises:
      ValueError: fewer than one is wanted.
      UserError: there are none, or fewer than wanted.
    """
    if not available:
        raise UserError(f"{name} holds no image: name images to evaluate")
    if wanted is not None and wanted < 1:
        raise ValueError(f"num_images is {wanted}, expected at least 1")
    if wanted is not None and wanted > available:
        raise UserError(f"{name} holds {available} images, {wanted} were asked for: ask for fewer")
    return available if wanted is None else wanted

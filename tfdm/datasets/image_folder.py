"""Any folder of images as a data set: sorted names, a fixed split, one central square each.

A permutation that depends on the number of images alone gives a tenth of them (at least one) to
validation, a tenth to test and the rest to train; inside a split the images stand in the order
of their names.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from tfdm.datasets.dataset import SPLITS, Source, SplitStream
from tfdm.datasets.images import crop_and_resize
from tfdm.errors import UserError

DEFAULT_SIZE = 64
EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".pgm", ".tif", ".tiff", ".webp")

_HELD_OUT_FRACTION = 0.1
_SPLIT_SEED = 0
_CHUNK = 256
_THREADS = 4


def image_folder_source(data_dir: str | None, image_size: int, crop: int | None) -> Source:
    """Returns the images below a folder, RGB, scaled to one size.

    Files are known by their extension (`EXTENSIONS`); hidden ones are passed over, links to
    folders are followed. Transparency is dropped, the orientation in EXIF applied, and of an
    animation the first frame taken. The key holds every file's name, size and times, so a
    changed folder is prepared anew.

    Args:
      data_dir: the folder.
      image_size: the side of the result in pixels.
      crop: the side of the central square that is scaled; None takes the largest that fits.

    Raises:
      UserError: no folder is given, or it holds fewer than three images.
    """
    if not data_dir:
        raise UserError("--dataset=image_folder needs --data_dir: the folder of your images")
    folder = Path(data_dir)
    names = _list_images(folder)
    if len(names) < len(SPLITS):
        raise UserError(
            f"{folder} holds {len(names)} images, at least {len(SPLITS)} are needed (train, "
            f"validation, test); known extensions: {' '.join(EXTENSIONS)}"
        )
    key = {
        "source": "image_folder",
        "folder": str(folder.resolve()),
        "files": _fingerprint(folder, names),
        "num_images": len(names),
        "crop": crop or "largest central square",
        "resize": "bilinear, antialiased",
        "held_out_fraction": _HELD_OUT_FRACTION,
        "split_seed": _SPLIT_SEED,
    }

    def open_splits() -> dict[str, SplitStream]:
        return {
            split: _stream([folder / names[i] for i in indices], image_size, crop)
            for split, indices in split_indices(len(names)).items()
        }

    return Source("image_folder", (image_size, image_size, 3), key, open_splits)


def split_indices(num_images: int) -> dict[str, np.ndarray]:
    """Returns which images go to which split, int64, increasing: 80 / 10 / 10 %, none empty.

    Args:
      num_images: the number of images, at least 3.
    """
    held_out = max(1, round(_HELD_OUT_FRACTION * num_images))
    order = np.random.default_rng(_SPLIT_SEED).permutation(num_images)
    bounds = [num_images - 2 * held_out, num_images - held_out]
    parts = np.split(order, bounds)
    return {split: np.sort(part) for split, part in zip(SPLITS, parts, strict=True)}


def _list_images(folder: Path) -> list[str]:
    """Returns the names of the images below a folder, relative to it, sorted."""
    if not folder.is_dir():
        raise UserError(f"--data_dir={folder} is no folder: name the folder of your images")
    names, seen = [], set()
    for root, folders, files in os.walk(folder, followlinks=True, onerror=_cannot_list):
        real = os.path.realpath(root)
        if real in seen:  # A link that leads back up.
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for file in files:
            if file.lower().endswith(EXTENSIONS) and not file.startswith("."):
                names.append(os.path.relpath(os.path.join(root, file), folder))
    return sorted(names)


def _cannot_list(error: OSError) -> None:
    raise UserError(f"cannot list {error.filename}: {error.strerror}") from error


def _fingerprint(folder: Path, names: list[str]) -> str:
    sha256 = hashlib.sha256()
    for name in names:
        try:
            stat = os.stat(folder / name)
        except OSError as error:
            raise UserError(f"cannot read {folder / name}: {error.strerror}") from error
        # The change time too: unpacked archives often carry one modification time for all.
        record = f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ctime_ns}\0"
        sha256.update(record.encode("utf-8", "surrogateescape"))
    return sha256.hexdigest()


def _stream(paths: list[Path], image_size: int, crop: int | None) -> SplitStream:
    def chunks() -> Generator[np.ndarray, None, None]:
        with ThreadPoolExecutor(_THREADS) as pool:
            for start in range(0, len(paths), _CHUNK):
                chunk = paths[start : start + _CHUNK]
                yield np.stack(list(pool.map(lambda p: _read(p, image_size, crop), chunk)))

    return SplitStream(len(paths), chunks)


def _read(path: Path, image_size: int, crop: int | None) -> np.ndarray:
    """Reads one image, uint8 [S, S, 3]; raises UserError that names the file."""
    try:
        with Image.open(path) as file:
            upright: Any = ImageOps.exif_transpose(file)
            if upright.mode.startswith(("I", "F")):
                raise ValueError(f"its pixels have more than 8 bits (mode {upright.mode})")
            return crop_and_resize(upright.convert("RGB"), crop, image_size)
    except Exception as error:  # Pillow's decoders raise many kinds.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        advice = "repair or remove it, or choose other sizes"
        raise UserError(f"cannot use image {path}: {reason}; {advice}") from error

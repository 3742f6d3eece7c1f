"""Any folder of images as a data set: sorted names, a fixed split, one central square each."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from tfdm.datasets.dataset import SPLIT_KEY, SPLITS, Source, SplitStream, split_indices
from tfdm.datasets.reader import EXTENSIONS, crop_and_resize, list_images, read_image
from tfdm.errors import UserError

DEFAULT_SIZE = 64

_CHUNK = 256
_THREADS = 4


def image_folder_source(
    data_dir: str | None, image_size: int | None = None, crop: int | None = None
) -> Source:
    """Returns the images below a folder, RGB, scaled to one size.

    `tfdm.datasets.reader` says which files are images and how one is read. Inside a split the
    images stand in the order of their names. The key holds every file's name, size and times, so
    a changed folder is prepared anew.

    Sizes are those of `load_dataset`. `UserError` says that no folder is given, or that it holds
    fewer than three images.
    """
    if not data_dir:
        raise UserError("--dataset=image_folder needs --data_dir: the folder of your images")
    size = image_size or DEFAULT_SIZE
    folder = Path(data_dir)
    if not folder.is_dir():
        raise UserError(f"--data_dir={folder} is not a folder: name the folder of your images")
    names = list_images(folder)
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
        **SPLIT_KEY,
    }

    def open_splits() -> dict[str, SplitStream]:
        return {
            split: _stream([folder / names[i] for i in indices], size, crop)
            for split, indices in split_indices(len(names)).items()
        }

    return Source("image_folder", (size, size, 3), key, open_splits)


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


def _stream(paths: list[Path], size: int, crop: int | None) -> SplitStream:
    def read(path: Path) -> np.ndarray:
        pixels = read_image(path)
        rgb = Image.fromarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))
        try:
            return crop_and_resize(rgb, crop, size)
        except ValueError as error:
            advice = "remove it, or choose other sizes"
            raise UserError(f"cannot use image {path}: {error}; {advice}") from error

    def chunks() -> Generator[np.ndarray, None, None]:
        with ThreadPoolExecutor(_THREADS) as pool:
            for start in range(0, len(paths), _CHUNK):
                yield np.stack(list(pool.map(read, paths[start : start + _CHUNK])))

    return SplitStream(len(paths), chunks)

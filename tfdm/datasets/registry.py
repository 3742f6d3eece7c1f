"""The data sets by name; imports nothing heavy.

A data set is a file with a function that returns its `Source`, and one line here.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from tfdm.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from tfdm.datasets.dataset import Source


@dataclasses.dataclass(frozen=True)
class DatasetEntry:
    """Where a data set comes from.

    The module `home` in `tfdm.datasets` has the function `NAME_source`, which takes `data_dir` and,
    where `side` is 0, `image_size` and `crop`. `side` is that of the images in pixels; 0 leaves it
    to the user.
    """

    name: str
    home: str
    summary: str
    side: int

    def load(self) -> Callable[..., Source]:
        """Imports the module and returns the function that opens the source."""
        return getattr(importlib.import_module(f"tfdm.datasets.{self.home}"), f"{self.name}_source")


DATASETS: dict[str, DatasetEntry] = {
    name: DatasetEntry(name, home, summary, side)
    for name, home, summary, side in (
        ("color_mnist_5k", "color_mnist", "5,000 MNIST digits in colour, no download", 28),
        ("color_mnist", "tfds_sources", "70,000 MNIST digits in colour, 28x28", 28),
        ("cifar10", "tfds_sources", "CIFAR-10, 32x32", 32),
        ("celeb_a", "tfds_sources", "CelebA faces, centre crop, 64x64", 0),
        ("image_folder", "image_folder", "any folder of images, given by --data_dir", 0),
    )
}


def find_dataset(name: str) -> DatasetEntry:
    """Returns the entry of a data set; raises `UserError` when there is none."""
    if name not in DATASETS:
        raise UserError(f"unknown dataset {name!r}: {did_you_mean(name, DATASETS)}")
    return DATASETS[name]

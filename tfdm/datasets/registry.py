"""The data sets by name; imports nothing heavy."""

from __future__ import annotations

from tfdm.errors import UserError, did_you_mean

DATASETS: dict[str, str] = {
    "color_mnist_5k": "5,000 real MNIST digits in colour, 28x28, carried by a package",
    "color_mnist": "70,000 MNIST digits in colour, 28x28, from TFDS",
    "cifar10": "CIFAR-10, 32x32, from TFDS",
    "celeb_a": "CelebA faces, centre crop, 64x64, from TFDS",
    "image_folder": "any folder of images (--data_dir, --image_size, --crop)",
}


def check_dataset(name: str) -> str:
    """Returns `name` if it is a data set's.

    Raises:
      UserError: no data set has this name.
    """
    if name not in DATASETS:
        raise UserError(f"unknown dataset {name!r}: {did_you_mean(name, DATASETS)}")
    return name

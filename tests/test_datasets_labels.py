"""Classes of the prepared sets and digits that are not coloured: in the order of the images."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.tiny_tfds import REAL, write_mnist
from tfdm.datasets import labels, load_dataset
from tfdm.datasets.labels import load_digits, load_labels
from tfdm.errors import UserError

SPLITS = ("train", "validation", "test")
TINY = {"train": ("train", 300), "validation": ("test[:6]", 6), "test": ("test[6:]", 6)}


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """TFDS's folder of a tiny `mnist`: the level of digit i says i, and so does its class."""
    sizes = {"train": 300, "test": 12}
    write_mnist(
        tmp_path,
        {split: _levels(number) for split, number in sizes.items()},
        {split: _classes(number) for split, number in sizes.items()},
    )
    few = dataclasses.replace(labels._SETS["color_mnist"], splits=TINY)
    monkeypatch.setitem(labels._SETS, "color_mnist", few)
    return tmp_path


def _levels(number: int) -> np.ndarray:
    level = np.arange(number, dtype=np.uint8)[:, None, None]
    return level + np.zeros((1, 28, 28), np.uint8)


def _classes(number: int) -> np.ndarray:
    return np.arange(number) * 7 % 10


def test_classes_and_digits_stand_in_the_order_of_the_files(tiny):
    # Of 300 images more than one chunk is read.
    expected = {"train": slice(0, 300), "validation": slice(0, 6), "test": slice(6, 12)}
    classes, digits = load_labels("color_mnist", tiny), load_digits(str(tiny))
    assert list(classes) == list(digits) == list(SPLITS)
    for split, part in expected.items():
        number = 300 if split == "train" else 12
        assert classes[split].dtype == np.int64 and digits[split].dtype == np.uint8
        np.testing.assert_array_equal(classes[split], _classes(number)[part])
        np.testing.assert_array_equal(digits[split], _levels(number)[part])


@pytest.mark.parametrize("read", [load_digits, lambda folder: load_labels("color_mnist", folder)])
def test_an_incomplete_split_is_one_line(read, tiny, monkeypatch):
    monkeypatch.setitem(TINY, "test", ("test[6:]", 7))
    with pytest.raises(UserError, match="mnist test: the source holds 6 examples, expected 7"):
        read(tiny)


@pytest.mark.parametrize("bad", [-1, 10])
def test_classes_beyond_the_ten_are_one_line(bad, monkeypatch):
    classes = {"train": np.array([0, 9]), "test": np.array([bad])}
    monkeypatch.setattr(labels, "_read", lambda *_: classes)
    with pytest.raises(UserError, match=r"split test of cifar10 has classes outside 0\.\.9"):
        load_labels("cifar10")


@pytest.mark.parametrize("name", ["celeb_a", "color_mnist_5k", ""])
def test_sets_without_classes_are_refused(name):
    with pytest.raises(ValueError, match=f"'{name}' has no labels, only color_mnist, cifar10"):
        load_labels(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_sets_have_ten_classes(name):
    classes = load_labels(name)
    sizes = {split: len(images) for split, images in load_dataset(name).splits.items()}
    assert {split: len(values) for split, values in classes.items()} == sizes
    for values in classes.values():
        np.testing.assert_array_equal(np.unique(values), np.arange(10))
    official = np.bincount(np.concatenate([classes["validation"], classes["test"]]))
    if name == "cifar10":
        np.testing.assert_array_equal(np.bincount(classes["train"]), 5000)
        np.testing.assert_array_equal(official, 1000)
    else:
        # The counts of the official test digits.
        expected = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
        np.testing.assert_array_equal(official, expected)

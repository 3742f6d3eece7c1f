"""Folders of images: which files, which split, which pixels, and what is said about bad ones."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfdm.datasets import load_dataset
from tfdm.datasets.dataset import split_indices
from tfdm.datasets.reader import crop_and_resize
from tfdm.errors import UserError


def save(path: Path, array: np.ndarray, mode: str | None = None, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)


@pytest.fixture
def folder(tmp_path, rng):
    """Thirty 20x16 images (width x height) in two subfolders, written out of order."""
    for i in rng.permutation(30):
        pixels = rng.integers(0, 256, (16, 20, 3), dtype=np.uint8)
        save(tmp_path / "images" / f"{'ab'[i % 2]}" / f"{i:03}.png", pixels)
    return tmp_path / "images"


def load(folder, tmp_path, **arguments):
    return load_dataset("image_folder", data_dir=folder, cache_dir=tmp_path / "cache", **arguments)


def names_and_pixels(folder: Path) -> list[np.ndarray]:
    paths = sorted(folder.rglob("*.png"), key=lambda p: str(p.relative_to(folder)))
    return [np.asarray(Image.open(path)) for path in paths]


def left_behind(tmp_path: Path) -> list[Path]:
    return [p for p in (tmp_path / "cache").rglob("*") if p.suffix != ".lock"]


def test_crop_takes_the_central_pixels_of_every_image_once(folder, tmp_path):
    dataset = load(folder, tmp_path, image_size=10, crop=10)
    assert {split: len(x) for split, x in dataset.splits.items()} == {
        "train": 24,
        "validation": 3,
        "test": 3,
    }
    assert dataset.image_shape == (10, 10, 3)
    images = names_and_pixels(folder)
    for split, indices in split_indices(30).items():
        expected = np.stack([images[i][3:13, 5:15] for i in indices])
        np.testing.assert_array_equal(dataset.splits[split], expected)


def test_default_crop_is_the_largest_central_square(folder, tmp_path):
    dataset = load(folder, tmp_path, image_size=16)
    images = names_and_pixels(folder)
    expected = np.stack([images[i][:, 2:18] for i in split_indices(30)["train"]])
    np.testing.assert_array_equal(dataset.splits["train"], expected)
    assert dataset.meta["crop"] == "largest central square"


@pytest.mark.parametrize(("crop", "size"), [(178, 64), (160, 64), (60, 64), (100, 32)])
def test_scaling_is_bilinear_with_antialiasing(rng, crop, size):
    pixels = rng.integers(0, 256, (218, 178, 3), dtype=np.uint8)
    top, left = (218 - crop) // 2, (178 - crop) // 2
    expected = tf.image.resize(
        pixels[top : top + crop, left : left + crop], (size, size), "bilinear", antialias=True
    )
    result = crop_and_resize(Image.fromarray(pixels), crop, size)
    # Pillow rounds after each of its two passes, and both round their weights.
    assert np.abs(result - expected.numpy()).max() < 1.5
    without = tf.image.resize(
        pixels[top : top + crop, left : left + crop], (size, size), "bilinear", antialias=False
    )
    if size < crop:
        assert np.abs(result - without.numpy()).max() > 20


@pytest.mark.parametrize("num_images", [3, 4, 10, 14, 15, 100, 12_345])
def test_split_is_a_partition_without_an_empty_part(num_images):
    splits = split_indices(num_images)
    held_out = max(1, round(num_images / 10))
    assert [len(splits[s]) for s in ("validation", "test")] == [held_out, held_out]
    everything = np.concatenate(list(splits.values()))
    np.testing.assert_array_equal(np.sort(everything), np.arange(num_images))
    assert all((np.diff(indices) > 0).all() for indices in splits.values())
    if num_images > 1000:  # A tenth of any part of the order, not its end.
        share = np.mean(splits["test"] < num_images / 2)
        assert abs(share - 0.5) < 5 * 0.5 / np.sqrt(held_out)


def test_folder_of_links_to_folders(folder, tmp_path):
    other = tmp_path / "links"
    other.mkdir()
    for name in "ab":
        (other / name).symlink_to(folder / name)
    first, second = (load(f, tmp_path, image_size=8) for f in (folder, other))
    assert first.digest == second.digest


def test_grey_images_become_rgb(tmp_path, rng):
    grey = rng.integers(0, 256, (3, 8, 8), dtype=np.uint8)
    for i, image in enumerate(grey):
        save(tmp_path / "in" / f"{i}.png", image)
    dataset = load(tmp_path / "in", tmp_path, image_size=8)
    for split, indices in split_indices(3).items():
        expected = np.repeat(grey[indices][..., np.newaxis], 3, axis=3)
        np.testing.assert_array_equal(dataset.splits[split], expected)


def test_changed_folder_is_prepared_anew(folder, tmp_path, rng):
    first = load(folder, tmp_path, image_size=8)
    path = folder / "a" / "000.png"
    before = path.stat()
    pixels = np.asarray(Image.open(path))
    save(path, pixels[::-1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    second = load(folder, tmp_path, image_size=8)
    assert first.digest != second.digest
    save(path, pixels)
    assert load(folder, tmp_path, image_size=8).digest == first.digest


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (b"this is no image", {}, "cannot identify image file"),
        (None, {"crop": 10}, "it is 30x9, smaller than crop 10"),
        (None, {"image_size": 10}, "it is 30x9, smaller than image_size 10"),
    ],
)
def test_bad_image_is_named_and_nothing_left_behind(folder, tmp_path, content, arguments, message):
    path = folder / "b" / "017.png"
    save(path, np.zeros((9, 30, 3), np.uint8))
    path.write_bytes(content or path.read_bytes())
    with pytest.raises(UserError, match=message) as error:
        load(folder, tmp_path, **({"image_size": 8} | arguments))
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert left_behind(tmp_path) == []


def test_only_a_crop_that_was_asked_for_is_enlarged(folder, tmp_path):
    with pytest.raises(UserError, match="it is 20x16, smaller than image_size 64"):
        load(folder, tmp_path)
    assert load(folder, tmp_path, crop=12).image_shape == (64, 64, 3)


def test_folders_without_enough_images(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match=f"{empty} holds 0 images, at least 3 are needed"):
        load(empty, tmp_path)
    for i in range(2):
        save(empty / f"{i}.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(UserError, match="holds 2 images, at least 3 are needed"):
        load(empty, tmp_path)
    with pytest.raises(UserError, match="--data_dir=.*/absent is not a folder"):
        load(tmp_path / "absent", tmp_path)
    with pytest.raises(UserError, match="image_folder needs --data_dir"):
        load(None, tmp_path)
    (empty / "2.png").symlink_to(tmp_path / "absent.png")
    with pytest.raises(UserError, match="cannot read .*/2.png: No such file"):
        load(empty, tmp_path)
    assert not (tmp_path / "cache").exists()

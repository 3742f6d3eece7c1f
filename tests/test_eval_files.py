"""Images from files: read piece by piece, and what is said about bad ones."""

from __future__ import annotations

import pickle
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.test_eval_sources import SHAPE, assert_same_whatever_the_block_size, levels, read
from tfdm.errors import UserError
from tfdm.eval.files import file_source


def refused(path, *arguments, **keywords) -> str:
    """The message of a file that is refused, at once or while it is read."""
    with pytest.raises(UserError) as error:
        read(file_source(path, *arguments, **keywords))
    text = str(error.value)
    assert text and "\n" not in text
    return text


def save(path: Path, array: np.ndarray, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path, rng) -> tuple[Path, np.ndarray]:
    """Eleven images in two subfolders, written out of order, and their pixels in order."""
    images = levels(rng, 11, *SHAPE)
    for i in rng.permutation(11):
        save(tmp_path / "images" / ("a" if i < 6 else "b") / f"{i:02}.png", images[i])
    (tmp_path / "images" / "notes.txt").write_text("no image")
    save(tmp_path / "images" / ".hidden" / "0.png", images[0])
    save(tmp_path / "images" / ".0.png", images[0])
    return tmp_path / "images", images


def test_a_folder_is_read_in_the_order_of_names(folder):
    path, expected = folder
    source = file_source(path)
    np.testing.assert_array_equal(assert_same_whatever_the_block_size(source), expected)
    assert source.name == "images"
    found = {"available": 11, "passed_over": 1, "quantised": False}
    assert source.record == {"images": str(path), **found}
    np.testing.assert_array_equal(read(file_source(str(path), SHAPE, 4)), expected[:4])


def test_grey_images_become_the_channels_of_the_shape(tmp_path, rng):
    grey, color = levels(rng, 4, 5), levels(rng, 4, 5, 3)
    save(tmp_path / "0.png", grey)
    assert file_source(tmp_path).image_shape == (4, 5, 1)
    np.testing.assert_array_equal(read(file_source(tmp_path))[0, ..., 0], grey)
    expected = np.repeat(grey[..., np.newaxis], 3, axis=-1)
    np.testing.assert_array_equal(read(file_source(tmp_path, SHAPE))[0], expected)
    # One image in colour makes all of them RGB; transparency is dropped.
    opaque = np.concatenate([color, levels(rng, 4, 5, 1)], axis=-1)
    save(tmp_path / "1.png", opaque)
    np.testing.assert_array_equal(read(file_source(tmp_path)), np.stack([expected, color]))
    assert "1.png is 4x5x3, expected 4x5x1" in refused(tmp_path, (4, 5, 1))


def test_images_of_another_size_are_named(folder, rng):
    path, _ = folder
    assert "00.png is 4x5x3, expected 8x5x3" in refused(path, (8, 5, 3))
    odd = save(path / "b" / "99.png", levels(rng, 5, 4, 3))
    assert f"{odd} is 5x4x3, expected 4x5x3" in refused(path)
    assert read(file_source(path, num_images=11)).shape[0] == 11  # It is not among the first.


def test_damaged_images_are_named(folder):
    path, _ = folder
    damaged = path / "b" / "07.png"
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    assert f"cannot read {damaged} (" in refused(path)


def test_folders_without_images_or_with_too_few(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "holds no image" in refused(tmp_path / "empty")
    assert "holds 11 images, 12 were asked for" in refused(folder[0], None, 12)


def save_array(path: Path, array: np.ndarray, name: str = "images") -> Path:
    savez = np.savez_compressed if "compressed" in path.stem else np.savez
    _ = np.save(path, array) if path.suffix == ".npy" else savez(path, **{name: array})
    return path


FILES = ("a.npy", "a.npz", "compressed.npz")


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64, ">f4"])
def test_arrays(tmp_path, rng, file, dtype):
    expected = levels(rng, 1003, *SHAPE)
    array = expected if dtype == np.uint8 else (expected / 255).astype(dtype)
    source = file_source(save_array(tmp_path / file, array))
    of_file = {"images": str(tmp_path / file), "available": 1003}
    assert source.record == {**of_file, "quantised": dtype != np.uint8}
    np.testing.assert_array_equal(assert_same_whatever_the_block_size(source), expected)
    first = read(file_source(tmp_path / file, SHAPE, 600))
    np.testing.assert_array_equal(first, expected[:600])


@pytest.mark.parametrize("file", FILES)
def test_grey_arrays(tmp_path, rng, file):
    images = levels(rng, 9, 4, 5)
    path = save_array(tmp_path / file, images)
    np.testing.assert_array_equal(read(file_source(path))[..., 0], images)
    found = read(file_source(path, SHAPE))
    np.testing.assert_array_equal(found, np.repeat(images[..., np.newaxis], 3, axis=-1))


def test_floats_go_to_the_nearest_level(tmp_path):
    values = np.array([0.0, 0.49, 0.51, 254.4, 254.6, 255.0]).reshape(1, 2, 3, 1) / 255
    source = file_source(save_array(tmp_path / "a.npy", values))
    assert read(source).ravel().tolist() == [0, 0, 1, 254, 255, 255]


def test_the_array_of_an_archive(tmp_path, rng):
    images, other = levels(rng, 3, *SHAPE), np.arange(4)
    np.testing.assert_array_equal(
        read(file_source(save_array(tmp_path / "a.npz", images, "samples"))), images
    )
    np.savez(tmp_path / "b.npz", labels=other, images=images)
    np.testing.assert_array_equal(read(file_source(tmp_path / "b.npz")), images)
    np.savez(tmp_path / "c.npz", labels=other, samples=images)
    assert "holds the arrays labels, samples" in refused(tmp_path / "c.npz")
    np.savez(tmp_path / "d.npz")
    assert "holds the arrays none" in refused(tmp_path / "d.npz")
    np.savez(tmp_path / "e.npz", images, other)  # the first one without a name
    np.testing.assert_array_equal(read(file_source(tmp_path / "e.npz")), images)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.full((700, 4, 5, 3), 2.0), "[2, 2]"),
        (np.full((700, 4, 5, 3), -0.1), "[-0.1, -0.1]"),
        (np.where(np.arange(700).reshape(700, 1, 1) == 699, np.nan, 0.5), "[nan, nan]"),
        (np.zeros((3, 4, 5, 3), np.int64), "of type int64"),
        (np.zeros((3, 4), np.uint8), "has shape (3, 4)"),
        (np.zeros((3, 0, 5, 3), np.uint8), "has shape (3, 0, 5, 3)"),
        (np.zeros((0, 4, 5, 3), np.uint8), "holds no image"),
        (np.zeros((), np.uint8), "has shape ()"),
        (np.array([{}, 1], object), "cannot read"),
    ],
)
def test_arrays_that_are_no_images(tmp_path, file, array, text):
    path = save_array(tmp_path / file, array)
    with pytest.raises(UserError):  # Before a block is asked for.
        file_source(path)
    assert str(path) in refused(path) and text in refused(path)


@pytest.mark.parametrize("file", FILES)
def test_arrays_of_another_shape_or_too_few(tmp_path, rng, file):
    path = save_array(tmp_path / file, levels(rng, 3, *SHAPE))
    assert "is 4x5x3, expected 4x4x3" in refused(path, (4, 4, 3))
    assert "is 4x5x3, expected 4x5x1" in refused(path, (4, 5, 1))
    assert "holds 3 images, 4 were asked for" in refused(path, None, 4)


@pytest.mark.parametrize("file", FILES)
def test_damaged_files_are_named(tmp_path, rng, file):
    path = save_array(tmp_path / file, levels(rng, 600, *SHAPE))
    content = path.read_bytes()
    bomb = pickle.dumps(save_array)  # No pickle is run.
    for damaged in (b"", b"no array", bomb, content[: len(content) // 2]):
        path.write_bytes(damaged)
        assert f"cannot read {path} (" in refused(path)


def test_an_archive_whose_array_ends_early(tmp_path, rng):
    np.save(tmp_path / "a.npy", levels(rng, 600, *SHAPE))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", (tmp_path / "a.npy").read_bytes()[:-10])
    assert "cannot read" in refused(tmp_path / "a.npz")


def test_fortran_order(tmp_path, rng):
    images = levels(rng, 3, *SHAPE)
    path = save_array(tmp_path / "a.npy", np.asfortranarray(images))
    np.testing.assert_array_equal(read(file_source(path)), images)
    assert "ascontiguousarray" in refused(save_array(tmp_path / "a.npz", np.asfortranarray(images)))


def test_paths_that_are_no_source(tmp_path):
    assert "does not exist" in refused(tmp_path / "missing")
    (tmp_path / "a.txt").write_text("text")
    assert "not a folder, an .npz or an .npy file" in refused(tmp_path / "a.txt")


@pytest.mark.parametrize("file", FILES)
def test_memory_is_bounded(tmp_path, file):
    images = np.zeros((20_000, 32, 32, 1), np.uint8)  # 20 MB
    source = file_source(save_array(tmp_path / file, images))
    tracemalloc.start()
    try:
        for _ in source.blocks(100):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5e6

"""Grids: where each image lands, and that they are the same codes and images throughout."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from tests.tiny_training import fit, tiny_dataset, tiny_model
from tfdm.runs import RunFolder
from tfdm.training import grids
from tfdm.training.callbacks import Span


def test_images_lie_row_by_row_between_white_lines(rng):
    images = rng.integers(0, 255, (5, 4, 3, 3), dtype=np.uint8)
    grid = grids.image_grid(images, columns=3)
    assert grid.shape == (2 * 6 + 2, 3 * 5 + 2, 3) and grid.dtype == np.uint8
    np.testing.assert_array_equal(grid[2:6, 2:5], images[0])
    np.testing.assert_array_equal(grid[2:6, 12:15], images[2])
    np.testing.assert_array_equal(grid[8:12, 7:10], images[4])
    covered = np.zeros(grid.shape[:2], bool)
    for top, left in ((2, 2), (2, 7), (2, 12), (8, 2), (8, 7)):
        covered[top : top + 4, left : left + 3] = True
    assert (grid[~covered] == 255).all()
    assert (grid[covered] < 255).all()


def test_floats_are_rounded_and_clipped():
    values = np.array([-0.5, 0.0, 0.4, 0.4981, 1.0, 7.0], np.float32)
    grid = grids.image_grid(values.reshape(6, 1, 1, 1), columns=6)
    np.testing.assert_array_equal(grid[2, 2::3, 0], [0, 0, 102, 127, 255, 255])


def test_the_first_channels_are_shown(rng):
    images = rng.integers(0, 256, (2, 8, 8, 5), dtype=np.uint8)
    for channels, shown in ((2, 1), (4, 3), (5, 3)):
        expected = grids.image_grid(images[..., :shown])
        np.testing.assert_array_equal(grids.image_grid(images[..., :channels]), expected)


@pytest.mark.parametrize("shape", [(28, 28, 3), (2, 8, 8)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="expected"):
        grids.image_grid(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_png_keeps_every_pixel(rng, channels, mode):
    image = rng.integers(0, 256, (9, 7, channels), dtype=np.uint8)
    with PIL.Image.open(io.BytesIO(grids.png_bytes(image))) as read:
        assert read.mode == mode
        np.testing.assert_array_equal(np.asarray(read).reshape(image.shape), image)


def test_an_enlarged_image_has_a_square_of_nine_for_each_pixel(rng):
    image = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    large = grids.enlarged(image)
    assert large.shape == (12, 15, 3)
    for row, column in np.ndindex(3, 3):
        np.testing.assert_array_equal(large[row::3, column::3], image)


def test_originals_stand_before_their_reconstructions():
    pairs = grids.side_by_side(np.full((3, 1, 1, 1), 0.25), np.full((3, 1, 1, 1), 0.75))
    np.testing.assert_array_equal(pairs.ravel(), [0.25, 0.75] * 3)


def test_fixed_images_span_the_whole_split():
    images = np.arange(100, dtype=np.uint8).reshape(100, 1, 1, 1)
    chosen = grids.fixed_images(images, 4).ravel()
    np.testing.assert_array_equal(chosen, [0, 33, 66, 99])
    assert len(grids.fixed_images(images[:3], 4)) == 3


def _read(path):
    with PIL.Image.open(path) as image:
        return np.asarray(image)


def test_a_run_shows_the_same_codes_and_images_at_every_grid(tmp_path):
    model, folder = tiny_model(), RunFolder(tmp_path)
    images = tiny_dataset().splits["validation"][:8]
    with tf.summary.create_file_writer(str(folder.tensorboard)).as_default() as writer:
        callback = grids.ImageGrids(Span(0, 5), 2, folder, writer, images, seed=3)
        fit(model, 0, 5, [callback])
        names = [path.name for path in sorted(folder.samples.iterdir())]
        assert names == ["step_000002.png", "step_000004.png", "step_000005.png"]
        assert sorted(path.name for path in folder.reconstructions.iterdir()) == names

        last = _read(folder.samples / names[-1])
        callback.write(model, 5)
        np.testing.assert_array_equal(_read(folder.samples / names[-1]), last)
    expected = grids.image_grid(model.generate(64, seed=3).numpy())
    np.testing.assert_array_equal(last, grids.enlarged(expected)[..., 0])
    shown = _read(folder.reconstructions / names[-1])[::3, ::3]
    np.testing.assert_array_equal(shown[2:30, 2:30], images[0, ..., 0])
    np.testing.assert_array_equal(shown[2:30, 62:90], images[1, ..., 0])
    remade = np.round(model.reconstruct(images, seed=3).numpy() * 255.0).astype(np.uint8)
    np.testing.assert_array_equal(shown[2:30, 32:60], remade[0, ..., 0])

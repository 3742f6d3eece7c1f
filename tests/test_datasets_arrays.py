"""Images in memory as a data set, and what a caller may call a data set."""

from __future__ import annotations

import numpy as np
import pytest

from tfdm.datasets import cache, from_array, open_dataset
from tfdm.datasets.dataset import Source, SplitStream, split_indices
from tfdm.errors import UserError


@pytest.fixture
def array(rng):
    return rng.integers(0, 256, (25, 4, 5, 1), dtype=np.uint8)


def test_an_array_is_split_as_a_folder_is(array):
    dataset = from_array(array, "mine")
    assert dataset.name == "mine" and dataset.image_shape == (4, 5, 1)
    assert {name: len(images) for name, images in dataset.splits.items()} == {
        "train": 21,
        "validation": 2,
        "test": 2,
    }
    for name, indices in split_indices(25).items():
        np.testing.assert_array_equal(dataset.split(name), array[indices])
        assert not dataset.split(name).flags.writeable
    assert dataset.meta["shape"] == [25, 4, 5, 1]


def test_the_digest_is_that_of_a_prepared_copy(array, tmp_path):
    dataset = from_array(array[:, ::2, ::-1])

    def streams():
        return {
            name: SplitStream(
                len(images), lambda images=images: (images[i : i + 1] for i in range(len(images)))
            )
            for name, images in dataset.splits.items()
        }

    prepared = cache.prepared(Source("mine", dataset.image_shape, {}, streams), tmp_path)
    assert prepared.digest == dataset.digest
    assert from_array(array).digest != dataset.digest


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((9, 4, 4, 3)), r"float64 \[9, 4, 4, 3\], expected an array uint8 \[n, H, W, C\]"),
        (np.zeros((9, 4, 4), np.uint8), r"uint8 \[9, 4, 4\], expected"),
        (np.zeros((2, 4, 4, 3), np.uint8), "expected at least 3"),
        (np.zeros((9, 4, 0, 3), np.uint8), "with pixels"),
        ([1, 2], "images are list"),
    ],
)
def test_what_is_no_array_of_images_is_refused(images, message):
    with pytest.raises(ValueError, match=message):
        from_array(images)


def test_a_name_an_array_or_a_data_set(array):
    assert open_dataset("color_mnist_5k").name == "color_mnist_5k"
    dataset = open_dataset(array)
    assert dataset.name == "array" and open_dataset(dataset) is dataset
    with pytest.raises(UserError, match="unknown dataset 'cifar': did you mean cifar10"):
        open_dataset("cifar")
    with pytest.raises(ValueError, match="name is 'a/b'"):
        from_array(array, "a/b")

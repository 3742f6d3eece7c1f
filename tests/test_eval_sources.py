"""Images to be evaluated: the same whatever the block size, and what is said about bad ones."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfdm.datasets.dataset import ImageDataset
from tfdm.errors import UserError
from tfdm.eval.sources import ImageSource, array_source, fitted, model_source, noised, split_source

SHAPE = (4, 5, 3)


def read(source: ImageSource, size: int = 64) -> np.ndarray:
    blocks = list(source.blocks(size))
    assert all(type(block) is np.ndarray and block.dtype == np.uint8 for block in blocks)
    assert [len(block) for block in blocks[:-1]] == [size] * (len(blocks) - 1)
    images = np.concatenate(blocks)
    assert images.shape == (source.num_images, *source.image_shape)
    return images


def assert_same_whatever_the_block_size(source: ImageSource) -> np.ndarray:
    expected = read(source, 10**6)
    for size in (source.num_images, 1, 7, 500, 7):
        np.testing.assert_array_equal(read(source, size), expected)
    first, second = source.blocks(3), source.blocks(3)
    next(first)
    np.testing.assert_array_equal(next(second), expected[:3])  # Not the first one's business.
    with pytest.raises(ValueError, match="block is 0"):
        source.blocks(0)
    return expected


def levels(rng, *shape: int) -> np.ndarray:
    return rng.integers(0, 256, shape, dtype=np.uint8)


class StubModel:
    """Samples whose pixels depend on the seed, with the calls it was asked for."""

    image_shape = SHAPE

    def __init__(self, spoil: float | None = None) -> None:
        self.calls: list[tuple[int, int]] = []
        self.spoil = spoil

    def generate(self, num: int, seed: int = 0) -> np.ndarray:
        self.calls.append((num, seed))
        images = np.random.default_rng([seed, 1]).random((num, *SHAPE), np.float32)
        if self.spoil is not None and len(self.calls) == 2:
            images[3, 2, 1, 0] = self.spoil
        return images


def samples(num: int, seed: int, model: StubModel | None = None) -> ImageSource:
    generate = (model or StubModel()).generate
    record = {"model": "vae"}
    return model_source(generate, num, seed, name="vae", image_shape=SHAPE, record=record)


def test_samples_do_not_depend_on_the_block_size(seed):
    images = assert_same_whatever_the_block_size(samples(1203, seed))
    assert len(np.unique(images.reshape(1203, -1), axis=0)) == 1203


def test_samples_are_those_of_the_model_to_the_nearest_level(seed):
    model = StubModel()
    images = read(samples(1203, seed, model))
    assert [num for num, _ in model.calls] == [500, 500, 500]
    seeds = [s for _, s in model.calls]
    assert len(set(seeds)) == 3 and all(0 <= s < 2**63 for s in seeds)
    expected = np.concatenate([StubModel().generate(500, s) for s in seeds])[:1203]
    assert np.abs(images / 255.0 - expected).max() <= 0.5001 / 255


def test_samples_depend_on_the_seed_and_not_on_their_number(seed):
    images = read(samples(1203, seed))
    np.testing.assert_array_equal(read(samples(510, seed)), images[:510])
    assert not (read(samples(1203, seed + 1)) == images).all(axis=(1, 2, 3)).any()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_the_record_of_a_model_and_samples_that_are_not_finite(seed, value):
    of_samples = {"sample_seed": seed, "batch_norm": "moving averages", "quantised": True}
    assert samples(12, seed).record == {"model": "vae", **of_samples}
    with pytest.raises(UserError, match="^vae: some samples are not finite"):
        read(samples(1000, seed, StubModel(spoil=value)))


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float64])
@pytest.mark.parametrize("shape", [SHAPE, SHAPE[:2]])
def test_an_array(rng, dtype, shape):
    expected = levels(rng, 12, *shape)
    array = expected if dtype == np.uint8 else (expected / 255).astype(dtype)
    source = array_source(array)
    images = assert_same_whatever_the_block_size(source)
    np.testing.assert_array_equal(images, expected.reshape(images.shape))
    assert source.record == {"images": "array", "available": 12, "quantised": dtype != np.uint8}
    np.testing.assert_array_equal(read(array_source(array, 5)), images[:5])
    with pytest.raises(UserError, match="array holds 12 images, 13 were asked for"):
        array_source(array, 13)


def test_equal_pixels_have_equal_digests(rng):
    images = levels(rng, 600, *SHAPE)
    digest = array_source(images).digest()
    assert array_source(images / 255).digest() == digest
    assert array_source(images[::-1]).digest() != digest
    assert array_source(images.reshape(600, 5, 4, 3)).digest() != digest


@pytest.mark.parametrize("shape", [(2, 3, 3), (9, 8, 3), SHAPE])
def test_images_of_another_size_are_scaled(rng, shape):
    images = levels(rng, 7, *SHAPE)
    source = fitted(array_source(images), shape, resize=True)
    expected = tf.image.resize(images, shape[:2], antialias=True).numpy()
    assert np.abs(assert_same_whatever_the_block_size(source) - expected).max() <= 1
    assert ("resized" in source.record) == (shape != SHAPE)


def test_images_that_do_not_fit_are_refused(rng):
    color, grey = array_source(levels(rng, 2, *SHAPE)), array_source(levels(rng, 2, *SHAPE[:2]))
    with pytest.raises(UserError, match=r"is 4x5x3, expected 4x6x3.*resize=True \(--resize\)"):
        fitted(color, (4, 6, 3))
    for resize in (False, True):
        with pytest.raises(UserError, match="is 4x5x3, expected 4x5x1.*grey or RGB"):
            fitted(color, (4, 5, 1), resize)
    np.testing.assert_array_equal(read(fitted(grey, SHAPE)), np.repeat(read(grey), 3, axis=-1))


@pytest.fixture
def dataset(rng) -> ImageDataset:
    splits = {name: levels(rng, n, *SHAPE) for name, n in (("train", 600), ("test", 20))}
    return ImageDataset("digits", splits, "d" * 64, {})


def test_a_split(dataset):
    source = split_source(dataset, "train")
    images = assert_same_whatever_the_block_size(source)
    np.testing.assert_array_equal(images, dataset.splits["train"])
    assert not any(np.shares_memory(b, dataset.splits["train"]) for b in source.blocks(600))
    assert source.name == "digits, train"
    assert source.record["dataset_digest"] == "d" * 64
    np.testing.assert_array_equal(read(split_source(dataset, "test", 9)), dataset.split("test")[:9])
    with pytest.raises(UserError, match="holds 20 images, 21 were asked for"):
        split_source(dataset, "test", 21)


def test_noise_depends_on_the_image_s_number_alone(dataset, seed):
    images = assert_same_whatever_the_block_size(noised(split_source(dataset, "train"), 0.2, seed))
    first = read(noised(split_source(dataset, "train", 7), 0.2, seed))
    np.testing.assert_array_equal(first, images[:7])
    assert (read(noised(split_source(dataset, "train"), 0.2, seed + 1)) != images).mean() > 0.9
    np.testing.assert_array_equal(read(split_source(dataset, "train")), dataset.splits["train"])
    none = noised(split_source(dataset, "train"), 0.0, seed)
    np.testing.assert_array_equal(read(none), dataset.splits["train"])
    source = split_source(dataset, "test")
    found = noised(source, 0.25, 3)
    assert found.name == "digits, test, noise 0.25"
    of_noise = {"noise_scale": 0.25, "noise_seed": 3, "quantised": True}
    assert found.record == {**source.record, **of_noise}
    assert "noise_scale" not in source.record


def test_noise_has_the_scale(seed):
    grey = ImageDataset("grey", {"train": np.full((600, *SHAPE), 128, np.uint8)}, "", {})
    noise = read(noised(split_source(grey, "train"), 0.1, seed)) / 255 - 128 / 255
    num = noise.size
    variance = 0.1**2 + 1 / (12 * 255**2)
    assert abs(noise.mean()) < 4 * np.sqrt(variance / num)
    assert abs(noise.var() / variance - 1) < 4 * np.sqrt(2 / num)
    correlation = (noise[1:] * noise[:-1]).mean() / variance  # Of one image with the next.
    assert abs(correlation) < 4 / np.sqrt(num)


def test_noise_is_clipped(seed):
    black = ImageDataset("black", {"train": np.zeros((200, *SHAPE), np.uint8)}, "", {})
    images = read(noised(split_source(black, "train"), 0.5, seed))
    num = images.size
    assert abs((images == 0).mean() - 0.5) < 4 * 0.5 / np.sqrt(num) + 0.01
    # P(noise > 1 - 1/510), two standard deviations: 0.0229.
    assert abs((images == 255).mean() - 0.0229) < 4 * np.sqrt(0.0229 / num)

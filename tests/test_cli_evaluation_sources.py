"""Images to be evaluated: the same whatever the block size, and what is said about bad ones."""

from __future__ import annotations

import types
from pathlib import Path

import numpy as np
import pytest

from tfdm.datasets.dataset import ImageDataset
from tfdm.errors import UserError
from tfdm.eval.sources import ImageSource, noised, run_source, split_source

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


def stub_run(**arguments):
    return types.SimpleNamespace(
        model=StubModel(**arguments),
        step=2500,
        config=types.SimpleNamespace(model="vae", dataset="color_mnist", seed=3),
        folder=types.SimpleNamespace(path=Path("runs/one")),
    )


def test_samples_do_not_depend_on_the_block_size(seed):
    run = stub_run()
    images = assert_same_whatever_the_block_size(run_source(run, 1203, seed))
    assert len(np.unique(images.reshape(1203, -1), axis=0)) == 1203


def test_samples_are_those_of_the_model_to_the_nearest_level(seed):
    run = stub_run()
    images = read(run_source(run, 1203, seed))
    assert [num for num, _ in run.model.calls] == [500, 500, 500]
    seeds = [s for _, s in run.model.calls]
    assert len(set(seeds)) == 3 and all(0 <= s < 2**31 for s in seeds)
    expected = np.concatenate([StubModel().generate(500, s) for s in seeds])[:1203]
    assert np.abs(images / 255.0 - expected).max() <= 0.5001 / 255


def test_samples_depend_on_the_seed_and_not_on_their_number(seed):
    images = read(run_source(stub_run(), 1203, seed))
    np.testing.assert_array_equal(read(run_source(stub_run(), 510, seed)), images[:510])
    other = read(run_source(stub_run(), 1203, seed + 1))
    assert not (other == images).all(axis=(1, 2, 3)).any()


def test_record_of_a_run(seed):
    source = run_source(stub_run(), 12, seed)
    assert source.name == "vae, color_mnist, 2,500 steps"
    of_run = {"run": "runs/one", "model": "vae", "dataset": "color_mnist", "steps": 2500}
    of_samples = {"sample_seed": seed, "batch_norm": "moving averages", "quantised": True}
    assert source.record == {**of_run, "run_seed": 3, **of_samples}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_not_finite(seed, value):
    with pytest.raises(UserError, match="^runs/one generates images that are not finite"):
        read(run_source(stub_run(spoil=value), 1000, seed))


@pytest.mark.parametrize(("num", "seed"), [(0, 0), (10, -1)])
def test_numbers_out_of_range(num, seed):
    with pytest.raises(ValueError, match="expected"):
        run_source(stub_run(), num, seed)


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


def test_splits_that_are_not_there_or_too_small(dataset):
    with pytest.raises(UserError, match="no split tset: did you mean test"):
        split_source(dataset, "tset")
    with pytest.raises(UserError, match="holds 20 images, 21 were asked for"):
        split_source(dataset, "test", 21)


def test_noise_depends_on_the_image_s_number_alone(dataset, seed):
    images = assert_same_whatever_the_block_size(noised(split_source(dataset, "train"), 0.2, seed))
    first = read(noised(split_source(dataset, "train", 7), 0.2, seed))
    np.testing.assert_array_equal(first, images[:7])
    assert (read(noised(split_source(dataset, "train"), 0.2, seed + 1)) != images).mean() > 0.9
    np.testing.assert_array_equal(read(split_source(dataset, "train")), dataset.splits["train"])


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


def test_no_noise_changes_nothing(dataset, seed):
    source = noised(split_source(dataset, "train"), 0.0, seed)
    np.testing.assert_array_equal(read(source), dataset.splits["train"])


def test_record_of_noise(dataset):
    source = split_source(dataset, "test")
    found = noised(source, 0.25, 3)
    assert found.name == "digits, test, noise 0.25"
    of_noise = {"noise_scale": 0.25, "noise_seed": 3, "quantised": True}
    assert found.record == {**source.record, **of_noise}
    assert "noise_scale" not in source.record


@pytest.mark.parametrize(("scale", "key"), [(-0.1, 0), (np.nan, 0), (np.inf, 0), (0.1, -1)])
def test_noise_out_of_range(dataset, scale, key):
    with pytest.raises(ValueError, match="expected"):
        noised(split_source(dataset, "test"), scale, key)

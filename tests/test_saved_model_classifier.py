"""Classifiers from SavedModel folders: their values, their digest, and what is refused when."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfdm.errors import UserError
from tfdm.eval.classifiers.saved_model import (
    INCEPTION_URL,
    load_saved_model_classifier,
    saved_model_digest,
)

SIZE = 32
WEIGHT = np.array([[1.0, -2.0, 0.5, 3.0], [0.0, 1.0, -1.0, 2.0], [4.0, 0.25, 1.0, -3.0]])
BIAS = np.array([0.5, -1.0, 0.0, 2.0])


class Network(tf.Module):
    """logits = mean colour @ WEIGHT + BIAS; features: mean colour and the top left pixel."""

    def __init__(self, size: int, names: tuple[str, ...] = ("logits", "pool_3")) -> None:
        super().__init__()
        self.weight = tf.Variable(WEIGHT, dtype=tf.float32)
        self.names = names
        specification = tf.TensorSpec([None, size, size, 3], tf.float32)
        self.classify = tf.function(self.outputs, input_signature=[specification])

    def outputs(self, images):
        mean = tf.reduce_mean(images, axis=(1, 2))
        features = tf.concat([mean, images[:, 0, 0]], axis=-1)
        values = {
            "logits": mean @ self.weight + BIAS.astype(np.float32),
            "pool_3": features[:, tf.newaxis, tf.newaxis],  # [n, 1, 1, 6], as Inception's
        }
        return {name: values.get(name, mean) for name in self.names}


def save_callable(path: Path, size: int = SIZE, **arguments) -> Path:
    network = Network(size, **arguments)
    network.__call__ = network.classify
    tf.saved_model.save(network, str(path), signatures={})
    return path


def save_signature(path: Path, name: str = "serving_default", **arguments) -> Path:
    network = Network(SIZE, **arguments)
    tf.saved_model.save(network, str(path), signatures={name: network.classify})
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_callable(tmp_path_factory.mktemp("models") / "callable")


@pytest.fixture
def copy(folder, tmp_path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


@pytest.fixture
def never_loaded(monkeypatch) -> None:
    def load(*_, **__):
        pytest.fail("the SavedModel was loaded")

    monkeypatch.setattr(tf.saved_model, "load", load)


def load(path: Path, **arguments):
    return load_saved_model_classifier(
        path, **{"input_size": SIZE, "allow_unverified": True, **arguments}
    )


def refusal(path: Path, **arguments) -> str:
    """The one line with which a SavedModel is refused."""
    with pytest.raises(UserError) as error:
        load(path, **arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def expected_outputs(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """In float64, for images in [0, 1] of the network's size."""
    scaled = 2 * np.broadcast_to(images, (*images.shape[:3], 3)).astype(np.float64) - 1
    mean = scaled.mean(axis=(1, 2))
    return mean @ WEIGHT + BIAS, np.concatenate([mean, scaled[:, 0, 0]], axis=-1)


# --- Values -----------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_bytes_and_floats_give_the_same_known_values(folder, rng, channels):
    levels = rng.integers(0, 256, (7, SIZE, SIZE, channels), dtype=np.uint8)
    classifier = load(folder)
    logits, features = expected_outputs(levels / 255)
    for images in (levels, levels / 255, (levels / 255).astype(np.float32)):
        found_logits, found_features = classifier.logits_and_features(images)
        assert found_logits.dtype == found_features.dtype == np.float32
        np.testing.assert_allclose(found_logits, logits, atol=2e-5)
        np.testing.assert_allclose(found_features, features, atol=2e-6)
        np.testing.assert_array_equal(classifier(images), found_logits)


@pytest.mark.parametrize("name", ["serving_default", "default"])
def test_a_signature_stands_in_for_a_call(tmp_path, rng, name):
    images = rng.random((3, SIZE, SIZE, 3))
    classifier = load(save_signature(tmp_path / "model", name))
    for found, expected in zip(
        classifier.logits_and_features(images), expected_outputs(images), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=2e-5)


def test_more_images_than_a_batch_stand_in_order(folder, rng):
    images = rng.random((103, SIZE, SIZE, 3), dtype=np.float32)
    np.testing.assert_allclose(load(folder)(images), expected_outputs(images)[0], atol=2e-5)


def half_pixel_bilinear(images: np.ndarray, size: int) -> np.ndarray:
    """Bilinear sampling at pixel centres, without antialiasing, in float64."""
    for axis in (1, 2):
        old = images.shape[axis]
        at = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, old - 1)
        low = np.floor(at).astype(int)
        shape = [-1 if a == axis else 1 for a in range(4)]
        share = (at - low).reshape(shape)
        high = np.minimum(low + 1, old - 1)
        images = images.take(low, axis) * (1 - share) + images.take(high, axis) * share
    return images


@pytest.mark.parametrize("shape", [(12, 20), (75, 50)])
def test_images_are_resized_bilinearly_without_antialiasing(folder, rng, shape):
    images = rng.random((4, *shape, 3))
    found = load(folder).logits_and_features(images)
    expected = expected_outputs(half_pixel_bilinear(images, SIZE))
    np.testing.assert_allclose(found[0], expected[0], atol=5e-5)
    np.testing.assert_allclose(found[1], expected[1], atol=1e-5)


def test_the_default_size_is_that_of_inception(tmp_path, rng):
    path = save_callable(tmp_path / "model", 299)
    classifier = load_saved_model_classifier(path, allow_unverified=True)
    assert classifier.resizer == "bilinear to 299x299, not antialiased"
    images = rng.random((2, 64, 64, 3))
    expected = expected_outputs(half_pixel_bilinear(images, 299))[0]
    np.testing.assert_allclose(classifier(images), expected, atol=5e-5)


def test_attributes(folder):
    digest = saved_model_digest(folder)
    verified = load(folder, allow_unverified=False, digest=f" {digest.upper()} ")
    assert (verified.name, verified.digest, verified.verified) == ("inception", digest, True)
    assert (verified.num_classes, verified.num_features) == (4, 6)
    assert verified.resizer == "bilinear to 32x32, not antialiased"
    assert not load(folder).verified
    assert load(folder, digest=digest).verified


def test_images_are_checked(folder):
    with pytest.raises(ValueError, match=r"expected \[0, 1\]"):
        load(folder)(np.full((2, 8, 8, 3), 255.0))


# --- The digest -------------------------------------------------------------------------------


def test_digest_does_not_depend_on_the_folder_s_own_name(folder, copy, tmp_path):
    digest = saved_model_digest(folder)
    assert len(digest) == 64
    assert saved_model_digest(copy) == saved_model_digest(str(copy)) == digest
    (tmp_path / "link").symlink_to(copy)
    assert saved_model_digest(tmp_path / "link") == digest


def test_digest_changes_with_every_byte_and_name(folder, copy):
    digests = [saved_model_digest(folder)]

    def changed() -> None:
        digests.append(saved_model_digest(copy))

    [file] = (copy / "variables").glob("*.data-*")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    changed()
    (copy / "a").write_bytes(b"b")
    changed()
    (copy / "a").rename(copy / "b")
    changed()
    (copy / "assets").mkdir(exist_ok=True)
    (copy / "b").rename(copy / "assets" / "b")
    changed()
    # The name of a file is told from its content.
    (copy / "assets" / "b").unlink()
    (copy / "ab").write_bytes(b"")
    changed()
    assert len(set(digests)) == 6


def test_links_inside_count_as_what_they_lead_to(copy):
    (copy / "file").write_bytes(b"content")
    before = saved_model_digest(copy)
    for name in ("one", "two"):
        (copy / name).mkdir()
        (copy / name / "file").write_bytes(b"content")
    expected = saved_model_digest(copy)
    shutil.rmtree(copy / "two")
    (copy / "two").symlink_to("one")
    (copy / "one" / "file").unlink()
    (copy / "one" / "file").symlink_to("../file")
    assert saved_model_digest(copy) == expected != before


@pytest.mark.parametrize("target", ["../outside", "../outside/file", "."])
def test_links_out_of_the_folder_and_in_circles_are_refused(copy, tmp_path, target, never_loaded):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_bytes(b"content")
    (copy / "link").symlink_to(target)
    assert "link" in refusal(copy)


def test_pipes_are_refused(copy, never_loaded):
    os.mkfifo(copy / "pipe")
    assert "neither a file nor a folder" in refusal(copy)


# --- Refused before anything is loaded --------------------------------------------------------


@pytest.mark.parametrize("kind", ["missing", "file", "empty"])
def test_no_saved_model(tmp_path, kind, never_loaded):
    path = tmp_path / kind
    if kind == "file":
        path.write_bytes(b"content")
    if kind == "empty":
        path.mkdir()
    text = refusal(path)
    assert str(path) in text and INCEPTION_URL in text and "--inception_path" in text


def test_another_digest_or_none(folder, never_loaded):
    for allow_unverified in (False, True):
        text = refusal(folder, digest="0" * 64, allow_unverified=allow_unverified)
        assert saved_model_digest(folder) in text and "0" * 64 in text
    text = refusal(folder, allow_unverified=False)
    assert f"--inception_digest={saved_model_digest(folder)}" in text
    assert "--allow_unverified" in text


# --- Refused after loading --------------------------------------------------------------------


def test_a_damaged_saved_model(copy):
    (copy / "saved_model.pb").write_bytes(b"no protocol buffer")
    assert "cannot load" in refusal(copy)


@pytest.mark.parametrize(
    ("name", "outputs", "text"),
    [
        ("serving_default", ("pool_3", "sums"), "no output logits, only pool_3, sums"),
        ("other", ("logits",), "no signature serving_default or default, only other"),
    ],
)
def test_outputs_or_signatures_of_other_names(tmp_path, name, outputs, text):
    assert text in refusal(save_signature(tmp_path / "model", name, names=outputs))


def test_outputs_without_features(tmp_path, rng):
    classifier = load(save_signature(tmp_path / "model", names=("logits",)))
    images = rng.random((2, SIZE, SIZE, 3))
    assert classifier.num_features is None
    np.testing.assert_allclose(classifier(images), expected_outputs(images)[0], atol=2e-5)
    with pytest.raises(UserError, match="no output pool_3"):
        classifier.logits_and_features(images)


def test_outputs_without_names_another_size_and_two_inputs(folder, tmp_path):
    specification = tf.TensorSpec([None, SIZE, SIZE, 3])
    network = tf.Module()
    network.__call__ = tf.function(lambda x: x[:, 0, 0], input_signature=[specification])
    tf.saved_model.save(network, str(tmp_path / "nameless"), signatures={})
    assert "no named outputs" in refusal(tmp_path / "nameless")
    assert "cannot be run on images 33x33x3" in refusal(folder, input_size=33)
    network = tf.Module()
    network.classify = tf.function(
        lambda first, second: {"logits": (first + second)[:, 0, 0]},
        input_signature=[specification] * 2,
    )
    tf.saved_model.save(network, str(tmp_path / "two"), signatures=network.classify)
    assert "has the inputs first, second" in refusal(tmp_path / "two")

"""One pass over samples: what is kept, in which order, and the cache of real features."""

from __future__ import annotations

import numpy as np
import pytest

from tests import tiny_training
from tfdm.errors import UserError
from tfdm.eval import FeatureMoments, features
from tfdm.eval.features import SamplePass, pass_over, real_features
from tfdm.eval.inputs import Inputs, RealFeatures
from tfdm.eval.sources import ImageSource, array_source, split_source

TRAIN = tiny_training.tiny_dataset().split("train")


class MeanClassifier:
    """Logits and features that can be computed by hand; counts the images that it saw."""

    name, digest, num_classes, num_features = "mean", "ab" * 32, 3, 2

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return expected_logits(images)

    def logits_and_features(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.seen += len(images)
        return expected_logits(images), expected_features(images)


def expected_features(images: np.ndarray) -> np.ndarray:
    flat = images.reshape(len(images), -1).astype(np.float32) / 255
    return np.stack([flat[:, ::2].mean(axis=1), flat[:, 1::2].mean(axis=1)], axis=1)


def expected_logits(images: np.ndarray) -> np.ndarray:
    return expected_features(images) @ np.array([[1, 2, 3], [3, 1, 0]], np.float32)


@pytest.fixture
def source():
    return split_source(tiny_training.tiny_dataset(), "train")


def _pass(source: ImageSource, chosen: int, seed: int = 0, wanted: bool = True) -> SamplePass:
    return pass_over(source, chosen, {"mean": (MeanClassifier(), wanted)}, seed, lambda *_: None)


def test_all_are_classified_some_are_kept(source, monkeypatch):
    monkeypatch.setattr(features, "BLOCK", 7)
    seen = _pass(source, 11)
    classified = seen.classified["mean"]
    np.testing.assert_allclose(classified.logits, expected_logits(TRAIN), rtol=1e-6)
    rows = expected_features(TRAIN).astype(np.float64)
    assert classified.moments is not None
    np.testing.assert_allclose(classified.moments.mean, rows.mean(axis=0), rtol=1e-6)
    covariance = np.cov(rows, rowvar=False)
    np.testing.assert_allclose(classified.moments.covariance, covariance, rtol=1e-5)
    # Every kept image is one of the samples, none twice, and its features stand beside it.
    places = [int(np.flatnonzero((TRAIN == image).all(axis=(1, 2, 3)))[0]) for image in seen.images]
    assert len(set(places)) == 11
    assert places != sorted(places)
    np.testing.assert_array_equal(classified.features, expected_features(seen.images))


def test_pixels_of_zero_and_one_are_warned_of(caplog):
    for most, warned in ((2, False), (1, True)):
        pixels = np.arange(64, dtype=np.uint8).reshape(1, 8, 8, 1) % (most + 1)
        pass_over(array_source(pixels), 1, {}, 0, lambda *_: None)
        assert ("all pixels are 0 or 1" in caplog.text) == warned


def test_the_seed_alone_decides(source, monkeypatch):
    first = _pass(source, 11)
    monkeypatch.setattr(features, "BLOCK", 3)
    second, other = _pass(source, 11), _pass(source, 11, seed=1)
    assert first.digest == second.digest == other.digest
    np.testing.assert_array_equal(first.images, second.images)
    assert not np.array_equal(first.images, other.images)


def test_fewer_kept_images_are_the_first_of_more(source):
    few, many = _pass(source, 5), _pass(source, 30)
    np.testing.assert_array_equal(few.images, many.images[:5])
    assert len(_pass(source, 1000).images) == 40


def test_pairs_are_of_equal_number(source, rng):
    reference = rng.normal(size=(30, 2)).astype(np.float32)
    seen = _pass(source, 20)

    def pairs(number: int, most: int) -> tuple[np.ndarray, np.ndarray]:
        rows = reference[:number]
        real = RealFeatures(rows, FeatureMoments.of(rows), rng.permutation(number))
        inputs = Inputs(seen.images, 0, seen.classified["mean"], real)
        found, generated = inputs.feature_pairs(most)
        np.testing.assert_array_equal(found, rows[real.order[: len(found)]])
        np.testing.assert_array_equal(generated, seen.classified["mean"].features[: len(found)])
        return found, generated

    for number, most, expected in ((30, 10, 10), (30, 1000, 20), (7, 1000, 7)):
        assert [len(rows) for rows in pairs(number, most)] == [expected] * 2


def test_without_features_logits_are_enough(source):
    classified = _pass(source, 3, wanted=False).classified["mean"]
    np.testing.assert_allclose(classified.logits, expected_logits(TRAIN), rtol=1e-6)
    assert classified.moments is classified.features is None


def test_real_features_are_computed_once(source, tmp_path):
    classifier = MeanClassifier()

    def read(digest: str = "train", seed: int = 0) -> RealFeatures:
        return real_features(source, digest, classifier, tmp_path, seed, lambda *_: None)

    first = read()
    assert classifier.seen == 40
    expected = expected_features(TRAIN)
    np.testing.assert_array_equal(first.features, expected)
    np.testing.assert_allclose(
        first.moments.covariance, np.cov(expected.astype(np.float64), rowvar=False), rtol=1e-5
    )
    assert sorted(first.order) == list(range(40))
    again = read(seed=1)
    np.testing.assert_array_equal(again.features, first.features)
    assert not np.array_equal(again.order, first.order)
    assert classifier.seen == 40
    # Other images or weights give other features, and so does another scale or size.
    read("test")
    assert classifier.seen == 80
    for name, value in (("digest", "cd" * 32), ("feature_scale", 2.0), ("resizer", "to 3x3")):
        setattr(classifier, name, value)
        before = classifier.seen
        read()
        assert classifier.seen == before + 40


@pytest.mark.parametrize("damage", ["cut", "no array", "changed"])
def test_a_damaged_cache_is_made_again(source, tmp_path, damage):
    real_features(source, "train", MeanClassifier(), tmp_path, 0, lambda *_: None)
    [path] = (tmp_path / "features").glob("*.npy")
    content = path.read_bytes()
    damaged = {"cut": content[:150], "no array": b"no array", "changed": content[:-1] + b"?"}
    path.write_bytes(damaged[damage])
    again = real_features(source, "train", MeanClassifier(), tmp_path, 0, lambda *_: None)
    np.testing.assert_array_equal(again.features, expected_features(TRAIN))


def test_a_cache_that_cannot_be_written_is_named(source, tmp_path):
    (tmp_path / "features").write_text("in the way")
    with pytest.raises(UserError, match="cannot write into .*features"):
        real_features(source, "train", MeanClassifier(), tmp_path, 0, lambda *_: None)

"""One pass over samples: what is kept, in which order, and the cache of real features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests import tiny_training
from tfdm.errors import UserError
from tfdm.eval import FeatureMoments
from tfdm.eval import features as evaluation_pass
from tfdm.eval.features import RealFeatures, SamplePass, pass_over, real_features
from tfdm.eval.sources import ImageSource, split_source


class MeanClassifier:
    """Logits and features that can be computed by hand; counts the images that it saw."""

    name, digest = "mean", "ab" * 32

    def __init__(self) -> None:
        self.seen = 0

    def logits_and_features(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.seen += len(images)
        return expected_logits(images), expected_features(images)


def expected_features(images: np.ndarray) -> np.ndarray:
    flat = images.reshape(len(images), -1).astype(np.float32) / 255
    return np.stack([flat[:, ::2].mean(axis=1), flat[:, 1::2].mean(axis=1)], axis=1)


def expected_logits(images: np.ndarray) -> np.ndarray:
    return expected_features(images) @ np.array([[1, 2, 3], [3, 1, 0]], np.float32)


@pytest.fixture
def source() -> ImageSource:
    return split_source(tiny_training.tiny_dataset(), "train")


def _real(features: np.ndarray, seed: int = 0) -> RealFeatures:
    order = np.random.default_rng(seed).permutation(len(features))
    return RealFeatures(features, FeatureMoments.of(features), order)


def _pass(source: ImageSource, reference: np.ndarray, chosen: int, seed: int = 0) -> SamplePass:
    real = {"mean": _real(reference, seed)}
    return pass_over(source, chosen, {"mean": MeanClassifier()}, real, seed, lambda *_: None)


def test_all_samples_are_classified_and_some_are_kept(
    source: ImageSource, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    images = tiny_training.tiny_dataset().splits["train"]
    reference = rng.normal(size=(9, 2)).astype(np.float32)
    monkeypatch.setattr(evaluation_pass, "BLOCK", 7)
    seen = _pass(source, reference, 11)
    classified = seen.classified["mean"]
    np.testing.assert_allclose(classified.logits, expected_logits(images), rtol=1e-6)
    features = expected_features(images).astype(np.float64)
    np.testing.assert_allclose(classified.moments.mean, features.mean(axis=0), rtol=1e-6)
    covariance = np.cov(features, rowvar=False)
    np.testing.assert_allclose(classified.moments.covariance, covariance, rtol=1e-5)
    # Every kept image is one of the samples, none twice, and its features stand beside it.
    places = [
        int(np.flatnonzero((images == image).all(axis=(1, 2, 3)))[0]) for image in seen.images
    ]
    assert len(set(places)) == 11
    assert places != sorted(places)
    np.testing.assert_array_equal(classified.features, expected_features(seen.images))


def test_what_is_kept_depends_on_the_seed_alone(
    source: ImageSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = np.zeros([4, 2], np.float32)
    first = _pass(source, reference, 11)
    monkeypatch.setattr(evaluation_pass, "BLOCK", 3)
    second, other = _pass(source, reference, 11), _pass(source, reference, 11, seed=1)
    assert first.digest == second.digest == other.digest
    np.testing.assert_array_equal(first.images, second.images)
    assert not np.array_equal(first.images, other.images)


def test_fewer_kept_images_are_the_first_of_more(source: ImageSource) -> None:
    reference = np.zeros([4, 2], np.float32)
    few, many = _pass(source, reference, 5), _pass(source, reference, 30)
    np.testing.assert_array_equal(few.images, many.images[:5])
    assert len(_pass(source, reference, 1000).images) == 40


def test_pairs_are_of_equal_number(source: ImageSource, rng: np.random.Generator) -> None:
    reference = rng.normal(size=(30, 2)).astype(np.float32)
    classified = _pass(source, reference, 20).classified["mean"]
    order = classified.real_features().order
    for most, number in ((10, 10), (1000, 20)):
        real, generated = classified.pairs(most)
        np.testing.assert_array_equal(real, reference[order[:number]])
        np.testing.assert_array_equal(generated, classified.features[:number])
    few = _pass(source, reference[:7], 20).classified["mean"]
    assert [len(rows) for rows in few.pairs(1000)] == [7, 7]


def test_without_real_features_logits_are_enough(source: ImageSource) -> None:
    class OnlyLogits:
        def __call__(self, images: np.ndarray) -> np.ndarray:
            return expected_logits(images)

    seen = pass_over(source, 3, {"mean": OnlyLogits()}, {}, 0, lambda *_: None)
    images = tiny_training.tiny_dataset().splits["train"]
    classified = seen.classified["mean"]
    np.testing.assert_allclose(classified.logits, expected_logits(images), rtol=1e-6)
    with pytest.raises(ValueError, match="no features of real images"):
        classified.pairs(5)


def test_real_features_are_computed_once(tmp_path: Path) -> None:
    dataset, classifier = tiny_training.tiny_dataset(), MeanClassifier()

    def read(split: str = "train", seed: int = 0) -> RealFeatures:
        return real_features(dataset, split, classifier, tmp_path, seed, lambda *_: None)

    first = read()
    assert classifier.seen == 40
    expected = expected_features(dataset.splits["train"])
    np.testing.assert_array_equal(first.features, expected)
    np.testing.assert_allclose(
        first.moments.covariance, np.cov(expected.astype(np.float64), rowvar=False), rtol=1e-5
    )
    assert sorted(first.order) == list(range(40))
    again = read(seed=1)
    np.testing.assert_array_equal(again.features, first.features)
    assert not np.array_equal(again.order, first.order)
    assert classifier.seen == 40
    assert len(read("test").features) == 12
    assert classifier.seen == 52
    # Other weights give other features, and so does another scale of the same ones.
    for name, value in (("digest", "cd" * 32), ("feature_scale", 2.0)):
        setattr(classifier, name, value)
        before = classifier.seen
        read()
        assert classifier.seen == before + 40


@pytest.mark.parametrize("damage", ["cut", "no array"])
def test_a_damaged_cache_is_computed_again(tmp_path: Path, damage: str) -> None:
    dataset, classifier = tiny_training.tiny_dataset(), MeanClassifier()
    real_features(dataset, "train", classifier, tmp_path, 0, lambda *_: None)
    [path] = (tmp_path / "features").iterdir()
    path.write_bytes(path.read_bytes()[:150] if damage == "cut" else b"no array")
    again = real_features(dataset, "train", classifier, tmp_path, 0, lambda *_: None)
    np.testing.assert_array_equal(again.features, expected_features(dataset.splits["train"]))


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "features").write_text("in the way")
    with pytest.raises(UserError, match="cannot write into .*features"):
        real_features(
            tiny_training.tiny_dataset(), "train", MeanClassifier(), tmp_path, 0, lambda *_: None
        )

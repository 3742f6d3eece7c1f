"""One pass over samples: what is kept, in which order, and the cache of real features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests import tiny_training
from tfdm.cli import evaluation_pass
from tfdm.cli.evaluation_pass import pass_over, reference_features
from tfdm.cli.evaluation_sources import ImageSource, split_source


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


def _pass(source: ImageSource, reference: np.ndarray, chosen: int, seed: int = 0):
    return pass_over(
        source, chosen, {"mean": MeanClassifier()}, {"mean": reference}, seed, lambda *_: None
    )


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
    np.testing.assert_allclose(
        classified.reference_moments.covariance, np.cov(reference, rowvar=False), rtol=1e-6
    )
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


def test_pairs_are_of_equal_number_where_there_are_enough(
    source: ImageSource, rng: np.random.Generator
) -> None:
    reference = rng.normal(size=(30, 2)).astype(np.float32)
    classified = _pass(source, reference, 20).classified["mean"]
    real, generated = classified.pairs(10)
    assert real.shape == generated.shape == (10, 2)
    np.testing.assert_array_equal(real, reference[classified.order[:10]])
    np.testing.assert_array_equal(generated, classified.features[:10])
    real, generated = classified.pairs(1000)
    assert len(real) == 30
    assert len(generated) == 20


def test_real_features_are_computed_once(tmp_path: Path) -> None:
    dataset, classifier = tiny_training.tiny_dataset(), MeanClassifier()

    def features(split: str = "train") -> np.ndarray:
        return reference_features(dataset, split, classifier, tmp_path, lambda *_: None)

    first = features()
    assert classifier.seen == 40
    np.testing.assert_array_equal(first, expected_features(dataset.splits["train"]))
    np.testing.assert_array_equal(features(), first)
    assert classifier.seen == 40
    assert len(features("test")) == 12
    assert classifier.seen == 52
    # Another classifier's features are other features.
    classifier.digest = "cd" * 32
    features()
    assert classifier.seen == 92


@pytest.mark.parametrize("damage", ["cut", "no array"])
def test_a_damaged_cache_is_computed_again(tmp_path: Path, damage: str) -> None:
    dataset, classifier = tiny_training.tiny_dataset(), MeanClassifier()
    reference_features(dataset, "train", classifier, tmp_path, lambda *_: None)
    [path] = (tmp_path / "features").iterdir()
    path.write_bytes(path.read_bytes()[:150] if damage == "cut" else b"no array")
    again = reference_features(dataset, "train", classifier, tmp_path, lambda *_: None)
    np.testing.assert_array_equal(again, expected_features(dataset.splits["train"]))

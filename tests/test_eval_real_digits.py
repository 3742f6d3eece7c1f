"""Real digits beside the same digits with noise: every measure of quality prefers the former."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from tfdm.datasets import load_dataset
from tfdm.eval import (
    frechet_distance,
    inception_score_from_logits,
    independent_wasserstein_critic,
    kernel_distance,
    load_classifier,
    ms_ssim_diversity,
    precision_recall,
)
from tfdm.eval.critic_config import CriticConfig

CRITIC = CriticConfig(steps=60, batch_size=32, num_seeds=1, width=0.25, learning_rate=1e-3)


@pytest.fixture(scope="module")
def measures() -> tuple[dict[str, Any], dict[str, Any]]:
    """The measures of 500 test digits, as they are and with noise, against others."""
    splits = load_dataset("color_mnist_5k").splits
    classifier = load_classifier("color_mnist")
    _, reference = classifier.logits_and_features(splits["train"][:500])
    clean = splits["test"][:500] / np.float32(255)
    noise = np.random.default_rng(5).normal(0.0, 0.2, clean.shape)
    return tuple(
        _measures(np.clip(images, 0, 1).astype(np.float32), reference, splits, classifier)
        for images in (clean, clean + noise)
    )


def _measures(images: Any, reference: Any, splits: Any, classifier: Any) -> dict[str, Any]:
    logits, features = classifier.logits_and_features(images)
    critic = independent_wasserstein_critic(
        splits["validation"], splits["train"][500:1000], images, CRITIC, seed=1
    )
    return {
        "score": inception_score_from_logits(logits, 1).mean,
        "frechet": frechet_distance(features, reference),
        "kernel": kernel_distance(features, reference).value,
        "diversity": ms_ssim_diversity(images, num_batches=4, batch_size=64).diversity,
        "critic": critic.value,
        **dataclasses.asdict(precision_recall(reference, features)),
    }


@pytest.mark.parametrize("higher", ["score", "precision", "recall"])
def test_quality_falls_with_noise(measures: Any, higher: str) -> None:
    clean, noised = measures
    assert clean[higher] > 1.02 * noised[higher]


@pytest.mark.parametrize("lower", ["frechet", "kernel", "critic"])
def test_distances_grow_with_noise(measures: Any, lower: str) -> None:
    clean, noised = measures
    assert noised[lower] > 2 * abs(clean[lower])


def test_noise_raises_diversity(measures: Any) -> None:
    clean, noised = measures
    assert noised["diversity"] > clean["diversity"]

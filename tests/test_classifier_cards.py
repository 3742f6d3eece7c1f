"""How good the classifiers of the package are, by their cards, and how good they are to be."""

from __future__ import annotations

import pytest

from tfdm.eval.classifiers.shipped import NAMES, load_classifier

# The largest errors on the official test images that are asked for.
WANTED = {
    "cifar10": {"cifar10": 0.055},
    "color_mnist": {"color_mnist": 0.02, "grey digits": 0.01},
}


@pytest.mark.parametrize("name", NAMES)
def test_the_classifier_is_as_good_as_wanted(name: str) -> None:
    card = load_classifier(name).card
    for images, bound in WANTED[name].items():
        assert 0 < card["test_error"][images] <= bound, images
    assert 8.5 < card["inception_score_of_test_images"]["mean"] < 10


@pytest.mark.parametrize("name", NAMES)
def test_the_card_tells_of_error_and_score(name: str) -> None:
    card = load_classifier(name).card
    assert card["test_error"].keys() == WANTED[name].keys()
    # What is shipped does not get worse unseen.
    assert all(0 < error <= 0.06 for error in card["test_error"].values())
    # A label smoothing of 0.1 would cap the score near 6.1; ten classes cap it at 10.
    score = card["inception_score_of_test_images"]
    assert 6.1 < score["mean"] < 10
    assert 0 < score["std"] < 0.5
    assert (score["num_samples"], score["num_splits"]) == (10_000, 10)
    assert not any("smooth" in field for field in card["recipe"])

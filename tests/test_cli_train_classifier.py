"""`tfdm-train-classifier`: its files, going on after a stop, its help, and what it refuses."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfdm.cli import train_classifier
from tfdm.eval.classifiers.config import RECIPES, ClassifierConfig
from tfdm.eval.classifiers.shipped import load_classifier
from tfdm.experiments import train_classifier as experiments
from tfdm.experiments.options import TrainClassifierConfig
from tfdm.experiments.train_classifier import LabelledImages
from tfdm.fields import shown_value

SMALL = (
    "--dataset=color_mnist", "--epochs=2", "--batch_size=8", "--width1=4", "--width2=8",
    "--width3=8", "--precision=float32", "--learning_rate=0.05",
)  # fmt: skip


@pytest.fixture
def data(monkeypatch, rng):
    """A tiny data set in the place of all others."""
    images = {name: rng.integers(0, 256, (20, 28, 28, 3), np.uint8) for name in ("a", "b")}
    tiny = LabelledImages(
        train=rng.integers(0, 256, (24, 28, 28, 3), np.uint8),
        tests={"color_mnist": images["a"], "grey digits": images["b"]},
        labels={"train": np.arange(24) % 10, "test": np.arange(20) % 10},
        num_validation=10,
        digest="5" * 64,
    )
    monkeypatch.setattr(experiments, "read_data", lambda *_: tiny)
    monkeypatch.setattr(experiments, "_STEPS_A_SAVE", 2)
    return tiny


def _run(folder: Path, *arguments: str) -> int:
    given = dict(argument.split("=") for argument in (*SMALL, *arguments))
    flags = [f"{name}={value}" for name, value in given.items()]
    return train_classifier.main([*flags, f"--output_dir={folder}"])


def test_weights_and_card_are_a_classifier(data, tmp_path, capsys):
    folder = tmp_path / "out"
    assert _run(folder) == 0
    classifier = load_classifier("color_mnist", folder)
    card = json.loads((folder / "color_mnist.json").read_text())
    assert classifier.card == card
    content = (folder / "color_mnist.npz").read_bytes()
    assert card["sha256"] == hashlib.sha256(content).hexdigest()
    assert card["dataset_digest"] == "5" * 64
    assert card["image_shape"] == [28, 28, 3]
    expected = {"epochs": 2, "batch_size": 8, "width3": 8, "learning_rate": 0.05, "paint": True}
    assert expected.items() <= card["recipe"].items()
    assert card["recipe"].keys() == vars(RECIPES["color_mnist"]).keys()
    assert card["num_test"] == 20
    labels = data.labels["test"]
    logits = {name: classifier(images).astype(np.float64) for name, images in data.tests.items()}
    errors = {name: float(np.mean(x.argmax(axis=1) != labels)) for name, x in logits.items()}
    assert card["test_error"] == pytest.approx(errors)
    first = logits["color_mnist"]
    features = classifier.logits_and_features(data.tests["color_mnist"])[1]
    assert np.mean(features**2) == pytest.approx(1, rel=1e-4)

    def cross_entropy(temperature: float, part: slice) -> float:
        odds = np.exp(first[part] / temperature)
        hits = odds[np.arange(len(odds)), labels[part]] / odds.sum(axis=1)
        return float(-np.mean(np.log(hits)))

    entropy, calibrated = card["test_cross_entropy"], card["test_cross_entropy_calibrated"]
    assert entropy == pytest.approx(cross_entropy(1.0, slice(10, None)), rel=1e-5)
    temperature = card["temperature"]
    assert calibrated == pytest.approx(cross_entropy(temperature, slice(10, None)), rel=1e-5)
    # It minimises the cross entropy of the validation images, which come first.
    least = cross_entropy(temperature, slice(10))
    for other in np.clip([0.9 * temperature, temperature / 0.9], 0.01, 100):
        assert cross_entropy(other, slice(10)) >= least - 1e-9
    output = capsys.readouterr().out
    shown = ", ".join(f"{name} {100 * error:.2f} %" for name, error in errors.items())
    assert output == f"test error: {shown}\n{folder / 'color_mnist.npz'}\n"
    # Nothing is left to do, and nothing changes.
    assert _run(folder) == 0
    assert (folder / "color_mnist.npz").read_bytes() == content


def test_another_recipe_in_the_folder_is_refused(data, tmp_path, error_line):
    folder = tmp_path / "out"
    assert _run(folder) == 0
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert _run(folder, "--width3=9", "--seed=4") == 2
    line = error_line()
    assert "another configuration" in line
    assert "width3: 8 -> 9" in line and "seed: 0 -> 4" in line
    assert before == {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_folder_of_something_else_is_left_alone(data, tmp_path, error_line):
    (tmp_path / "letter.txt").write_text("dear")
    assert _run(tmp_path) == 2
    assert "holds 'letter.txt' but no run" in error_line()
    assert [p.name for p in tmp_path.iterdir()] == ["letter.txt"]


def test_a_diverging_training_is_one_line(data, tmp_path, error_line):
    assert _run(tmp_path / "out", "--learning_rate=1e30") == 3
    assert "training diverged: " in error_line()
    assert not (tmp_path / "out" / "color_mnist.npz").exists()


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--batch_size=49", "--batch_size=49 is more than 2 x 24 images"),
        ("--cutout=29", "--cutout=29 is larger than the images of 28x28"),
        ("--translate=28", "--translate=28 shifts images of 28x28 out of sight"),
        ("--small_side=29", "--small_side=29 is larger than the images of 28x28"),
    ],
)
def test_a_recipe_that_does_not_fit_is_one_line(argument, message, data, tmp_path, error_line):
    assert _run(tmp_path / "out", "--small_share=0.5", argument) == 2
    assert error_line() == f"error: {message}: choose a smaller value"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--small_side=22"], "--small_side: small_side is 22, expected at least 23"),
        (["--dataset=cifar"], "did you mean cifar10"),
        (["--label_smoothing=0.1"], "unknown flag --label_smoothing"),
        # The first one in the order of the help, whichever came first.
        (["--seed=-1", "--width1=0", "--epochs=0"], "epochs is 0"),
    ],
)
def test_bad_flags_end_in_one_line(arguments, message, error_line):
    assert train_classifier.main(arguments) == 2
    assert message in error_line()


def test_fields_that_are_not_given_are_those_of_the_data_set():
    config = TrainClassifierConfig.for_dataset("color_mnist", {"epochs": 3}, seed=2)
    changed = {"epochs": 3, "seed": 2}
    assert vars(config.part(ClassifierConfig)) == {**vars(RECIPES["color_mnist"]), **changed}
    assert TrainClassifierConfig.for_dataset("cifar10").part(ClassifierConfig) == RECIPES["cifar10"]
    # A whole group is taken as it is.
    assert TrainClassifierConfig.for_dataset("cifar10", config) == config
    with pytest.raises(ValueError, match="unknown dataset 'cifar': did you mean cifar10"):
        TrainClassifierConfig.for_dataset("cifar")


def test_help_shows_both_recipes(capsys):
    assert train_classifier.main(["--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    digits = vars(RECIPES["color_mnist"])
    for field, value in vars(RECIPES["cifar10"]).items():
        described = text.split(f"--{field}")[1].split(" --")[0]
        both = shown_value(value)
        if value != digits[field]:
            both = f"{both} (cifar10), {shown_value(digits[field])} (color"
        assert f"[default {both}" in described, field
    assert "--paint=true|false" in text


def test_without_a_folder_nothing_is_written(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fields: dict[str, Any] = dict(flag.removeprefix("--").split("=") for flag in SMALL[1:])
    fields = {n: type(getattr(RECIPES["color_mnist"], n))(v) for n, v in fields.items()}
    done = experiments.train_classifier("color_mnist", fields, progress=False)
    assert done.files == () and list(tmp_path.iterdir()) == []
    assert done.test_error == done.card["test_error"]
    assert done.classifier.digest == done.card["sha256"]

"""`tfdm-evaluate` repeated in a folder: what is kept, what is measured anew, what is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from tests import tiny_training
from tfdm.cli import evaluate
from tfdm.datasets import ImageDataset
from tfdm.errors import DivergedError
from tfdm.eval.classifiers.network import image_classifier, whiten
from tfdm.eval.classifiers.shipped import weights_bytes
from tfdm.eval.metrics import METRICS

DATASET = "--dataset=color_mnist_5k"
SCORE = ["--metrics=inception_score", "--inception_score.num_splits=2"]
CHEAP = ["--wasserstein_critic.steps=2", "--wasserstein_critic.num_seeds=2"]
CHEAP += ["--wasserstein_critic.width=0.0625", "--wasserstein_critic.batch_size=4"]
FEATURES = ["frechet_distance", "kernel_distance", "precision_recall"]


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> ImageDataset:
    """Random bytes of 28x28 in the place of all data."""
    dataset = tiny_training.tiny_dataset()
    monkeypatch.setattr(
        "tfdm.experiments.evaluation_inputs.load_dataset", lambda name, **_: dataset
    )
    return dataset


@pytest.fixture
def images(tmp_path: Path, rng: np.random.Generator) -> Path:
    path = tmp_path / "mine.npz"
    np.savez(path, images=rng.integers(0, 256, [20, 28, 28, 1], dtype=np.uint8))
    return path


def _read(images: Path) -> dict[str, Any]:
    return json.loads((Path(f"{images}.evaluation") / "evaluation.json").read_text())


def _error(capsys: pytest.CaptureFixture[str]) -> str:
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    return line


def _network(folder: Path, outputs: tuple[str, ...]) -> Path:
    """A SavedModel with some of the outputs of the Inception network."""

    class Network(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 299, 299, 3])])
        def __call__(self, images):
            mean = tf.reduce_mean(images, axis=[1, 2])
            return {name: mean for name in outputs}

    tf.saved_model.save(Network(), str(folder))
    return folder


def test_what_a_network_measured_stays_without_it(images: Path, tmp_path: Path) -> None:
    network = _network(tmp_path / "network", ("logits", "pool_3"))
    arguments = [f"--images={images}", "--dataset=celeb_a", *CHEAP]
    named = [f"--inception_path={network}", "--allow_unverified"]
    assert evaluate.main([*arguments, *named]) == 0
    first = _read(images)["metrics"]
    assert all(first[name]["features"] == "inception" for name in FEATURES)
    assert first["frechet_distance"]["num_features"] == 3
    assert evaluate.main(arguments) == 0
    again = _read(images)["metrics"]
    for name in ("inception_score", *FEATURES):
        assert "reason" not in again[name]
        assert again[name] == first[name]


def test_a_network_without_features_leaves_the_other_measures(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = _network(tmp_path / "network", ("logits",))
    arguments = [f"--images={images}", "--dataset=celeb_a", f"--inception_path={network}"]
    arguments += ["--allow_unverified"]
    assert evaluate.main([*arguments, *CHEAP]) == 0
    metrics = _read(images)["metrics"]
    assert metrics["inception_score"]["mean"] >= 1
    for name in FEATURES:
        assert metrics[name]["reason"] == "the network of inception gives no features"
    assert evaluate.main([*arguments, "--metrics=frechet_distance"]) == 2
    assert "pool_3" in _error(capsys)


def test_a_record_of_an_older_format_is_measured_again(images: Path) -> None:
    arguments = [f"--images={images}", DATASET, *SCORE]
    assert evaluate.main(arguments) == 0
    content = _read(images)
    path = Path(f"{images}.evaluation") / "evaluation.json"
    mean = content["metrics"]["inception_score"]["mean"]
    for changes, kept in (({}, True), ({"format": 1}, False)):
        record = {**content["metrics"]["inception_score"], **changes, "mean": -1.0}
        path.write_text(json.dumps({**content, "metrics": {"inception_score": record}}))
        assert evaluate.main(arguments) == 0
        assert _read(images)["metrics"]["inception_score"]["mean"] == (-1.0 if kept else mean)


def test_another_temperature_or_scale_is_another_measure(
    images: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    network = image_classifier((4, 4, 6), seed=3)
    whiten(network, rng.random((10, 24, 24, 3), np.float32))
    weights = weights_bytes(network)
    card = {
        "sha256": hashlib.sha256(weights).hexdigest(),
        "image_shape": [28, 28, 3],
        "recipe": {"width1": 4, "width2": 4, "width3": 6},
    }
    (tmp_path / "color_mnist.npz").write_bytes(weights)
    arguments = [f"--images={images}", DATASET, f"--classifier={tmp_path}", SCORE[1]]
    arguments += ["--metrics=inception_score,frechet_distance", f"--cache_dir={tmp_path / 'cache'}"]
    found = []
    for temperature, scale in ((1.0, 1.0), (0.001, 2.0)):
        scales = {"temperature": temperature, "feature_scale": scale}
        (tmp_path / "color_mnist.json").write_text(json.dumps({**card, **scales}))
        assert evaluate.main(arguments) == 0
        metrics = _read(images)["metrics"]
        found.append(metrics["frechet_distance"]["value"])
        calibrated = metrics["inception_score"]["mean_calibrated"]
        assert (calibrated == metrics["inception_score"]["mean"]) == (temperature == 1.0)
    assert found[1] == pytest.approx(found[0] / 4, rel=1e-4)


def test_a_critic_that_diverges_leaves_the_measures_behind_it(
    images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def diverge(inputs: Any, config: Any) -> dict[str, Any]:
        raise DivergedError(2, "the critic's score")

    metric = dataclasses.replace(METRICS["wasserstein_critic"], run=diverge)
    monkeypatch.setitem(METRICS, "wasserstein_critic", metric)
    arguments = [f"--images={images}", DATASET, "--inception_score.num_splits=2"]
    assert evaluate.main(arguments) == 0
    metrics = _read(images)["metrics"]
    assert "not finite" in metrics["wasserstein_critic"]["reason"]
    assert metrics["precision_recall"]["neighbours"] == 3
    again = [f"--images={images}", DATASET, "--metrics=wasserstein_critic"]
    assert evaluate.main(again) == 3
    assert "not finite" in _error(capsys)


def test_what_makes_samples_others_is_named(
    images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = f"--output_dir={images}.evaluation"
    arguments = [f"--images={images}", DATASET, folder, *SCORE]
    assert evaluate.main(arguments) == 0
    for change, words in (
        ("--num_samples=10", "(num_samples 20 -> 10)"),
        ("--seed=3", "(seed 0 -> 3)"),
        ("--noise=0.1", "(noise_scale none -> 0.1)"),
    ):
        assert evaluate.main([*arguments, change]) == 2
        assert words in _error(capsys)
    np.savez(images, images=np.zeros([20, 28, 28, 1], np.uint8))
    assert evaluate.main(arguments) == 2
    assert "(their pixels differ)" in _error(capsys)


def test_pictures_of_an_evaluation_are_kept_out_of_the_samples(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index, image in enumerate(np.load(images)["images"]):
        PIL.Image.fromarray(image[..., 0]).save(folder / f"{index}.png")
    arguments = [DATASET, *SCORE]
    inside = f"--output_dir={folder / 'out'}"
    assert evaluate.main([f"--images={folder}", *arguments, inside]) == 2
    assert "lies among the images" in _error(capsys)
    monkeypatch.chdir(folder)
    assert evaluate.main(["--images=.", *arguments]) == 2
    assert "lies among the images" in _error(capsys)
    assert evaluate.main(["--images=.", *arguments, "--output_dir=../out"]) == 0


def test_a_copied_training_image_stands_beside_its_original(
    images: Path, tiny: ImageDataset, tmp_path: Path
) -> None:
    train = tiny.split("train")
    np.savez(images, images=train[:20])
    assert evaluate.main([f"--images={images}", DATASET, *SCORE]) == 0
    path = Path(f"{images}.evaluation") / "evaluation_nearest.png"
    with PIL.Image.open(path) as picture:
        sheet = np.asarray(picture.convert("L"))
    for row in range(12):
        places = [
            (slice(2 + 30 * row, 30 + 30 * row), slice(2 + 30 * c, 30 + 30 * c)) for c in (0, 1)
        ]
        sample, nearest = (sheet[place] for place in places)
        np.testing.assert_array_equal(sample, nearest)
        assert any((sample == image[..., 0]).all() for image in train[:20])


def test_a_page_is_of_one_version_of_the_data(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate.main([f"--images={images}", DATASET, *SCORE]) == 0
    content = _read(images)
    for change in ({"dataset_digest": "f" * 64}, {"image_shape": [14, 14, 3]}):
        other = tmp_path / next(iter(change))
        other.mkdir()
        (other / "evaluation.json").write_text(json.dumps({**content, **change}))
        compared = f"--compare={images}.evaluation,{other}"
        assert evaluate.main([compared, f"--output_dir={tmp_path / 'page'}"]) == 2
        assert "2 versions of tiny" in _error(capsys)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--metrics=inception_score", "--inception_digest=ab"], "without --inception_path"),
        (["--metrics=inception_score", "--allow_unverified"], "without --inception_path"),
        (["--metrics=ms_ssim", "--reference=test"], "no measure here compares features"),
    ],
)
def test_a_flag_without_effect_is_refused(
    images: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate.main([f"--images={images}", DATASET, *flags]) == 2
    assert message in _error(capsys)

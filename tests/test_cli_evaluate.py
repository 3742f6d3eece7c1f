"""`tfdm-evaluate` on runs, files and real images: what it writes, keeps, compares and refuses."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from tests import tiny_training
from tfdm.cli import evaluate
from tfdm.datasets import ImageDataset
from tfdm.eval import (
    frechet_distance,
    inception_score_from_logits,
    load_classifier,
    ms_ssim_diversity,
)
from tfdm.eval.classifiers.network import image_classifier
from tfdm.eval.classifiers.shipped import weights_bytes
from tfdm.eval.metrics import METRICS
from tfdm.experiments.config import RunConfig
from tfdm.experiments.evaluation_inputs import critic_images
from tfdm.experiments.train import train
from tfdm.models.config import DCGANConfig

DATASET = "--dataset=color_mnist_5k"
FEW = ["--inception_score.num_splits=2", "--ms_ssim.num_batches=1", "--ms_ssim.batch_size=4"]
CHEAP = ["--wasserstein_critic.steps=2", "--wasserstein_critic.num_seeds=2"]
CHEAP += ["--wasserstein_critic.width=0.0625", "--wasserstein_critic.batch_size=4"]


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> ImageDataset:
    """Random bytes of 28x28 in the place of all data."""
    dataset = tiny_training.tiny_dataset()
    monkeypatch.setattr("tfdm.experiments.train.load_dataset", lambda name, **_: dataset)
    monkeypatch.setattr(
        "tfdm.experiments.evaluation_inputs.load_dataset", lambda name, **_: dataset
    )
    return dataset


@pytest.fixture
def images(tmp_path: Path, rng: np.random.Generator) -> Path:
    path = tmp_path / "mine.npz"
    np.savez(path, images=rng.integers(0, 256, [20, 28, 28, 1], dtype=np.uint8))
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    config = RunConfig(
        model="dcgan",
        dataset="color_mnist_5k",
        steps=2,
        batch_size=8,
        hyperparameters=DCGANConfig(latent_dim=3, width=1 / 16),
    )
    train(config, tmp_path / "run")
    return tmp_path / "run"


def _read(folder: Path) -> dict:
    return json.loads((folder / "evaluation.json").read_text())


def _error(capsys: pytest.CaptureFixture[str]) -> str:
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    return line


def test_a_run_has_every_measure(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [f"--run={run}", "--num_samples=30", "--seed=2", *FEW, *CHEAP]
    assert evaluate.main(arguments) == 0
    content = _read(run)
    assert list(content["metrics"]) == list(METRICS)
    assert content["num_samples"] == 30
    assert content["source"]["steps"] == 2
    assert content["source"]["batch_norm"] == "moving averages"
    score = content["metrics"]["inception_score"]
    assert 1.0 <= score["mean"] <= 10.0
    assert (score["classifier"], score["num_splits"]) == ("color_mnist", 2)
    assert score["classifier_digest"] == load_classifier("color_mnist").digest
    critic = content["metrics"]["wasserstein_critic"]
    assert len(critic["per_seed"]) == 2
    assert critic["value"] == pytest.approx(np.mean(critic["per_seed"]))
    assert content["metrics"]["frechet_distance"]["features"] == "color_mnist"
    assert content["metrics"]["frechet_distance"]["reference"] == "train"
    assert not (run / ".critic").exists()
    with PIL.Image.open(run / "evaluation_nearest.png") as sheet:
        assert sheet.size == (8 * 30 + 2, 12 * 30 + 2)
    assert (run / "evaluation.md").read_text() in capsys.readouterr().out


def test_the_numbers_are_those_of_the_library(images: Path, tiny: ImageDataset) -> None:
    names = "--metrics=inception_score,frechet_distance,ms_ssim"
    assert evaluate.main([f"--images={images}", DATASET, names, *FEW, "--seed=5"]) == 0
    metrics = _read(Path(f"{images}.evaluation"))["metrics"]
    samples, classifier = np.load(images)["images"], load_classifier("color_mnist")
    logits, features = classifier.logits_and_features(samples)
    _, real = classifier.logits_and_features(tiny.split("train"))
    score = inception_score_from_logits(logits, 2, seed=5)
    assert metrics["inception_score"]["mean"] == pytest.approx(score.mean, rel=1e-6)
    assert metrics["inception_score"]["std"] == pytest.approx(score.std, rel=1e-5, abs=1e-9)
    distance = frechet_distance(features, real)
    assert metrics["frechet_distance"]["value"] == pytest.approx(distance, rel=1e-5)
    # The images of the diversity are the first of a seeded order, as those of every measure.
    order = np.random.default_rng([5, 8, 1]).permutation(20)[:4]
    diversity = ms_ssim_diversity(samples[order], num_batches=1, batch_size=4).diversity
    assert metrics["ms_ssim"]["diversity"] == pytest.approx(diversity, rel=1e-9)


def test_a_number_does_not_depend_on_what_else_is_measured(images: Path, tmp_path: Path) -> None:
    few, arguments = [*FEW[1:], *CHEAP], [f"--images={images}", DATASET]
    found = []
    for extra in ("", ",kernel_distance,inception_score"):
        folder = tmp_path / f"of{len(found)}"
        names = f"--metrics=ms_ssim,wasserstein_critic{extra}"
        more = [FEW[0], "--kernel_distance.num_images=19"] if extra else []
        assert evaluate.main([*arguments, names, *few, *more, f"--output_dir={folder}"]) == 0
        metrics = _read(folder)["metrics"]
        found.append((metrics["ms_ssim"]["diversity"], metrics["wasserstein_critic"]["per_seed"]))
    assert found[0] == found[1]


def test_a_folder_of_pictures_is_the_same_as_an_array(images: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index, image in enumerate(np.load(images)["images"]):
        PIL.Image.fromarray(image[..., 0]).save(folder / f"{index:03d}.png")
    for what in (images, folder):
        assert evaluate.main([f"--images={what}", DATASET, "--metrics=frechet_distance"]) == 0
    first, second = (_read(Path(f"{what}.evaluation")) for what in (images, folder))
    assert first["samples_digest"] == second["samples_digest"]
    values = [content["metrics"]["frechet_distance"]["value"] for content in (first, second)]
    assert values[0] == values[1]


def test_real_images_are_measured_with_noise(tmp_path: Path) -> None:
    values = {}
    for noise in (0.0, 0.1, 0.3):
        folder = tmp_path / f"noise{noise}"
        arguments = ["--images=test", DATASET, "--metrics=frechet_distance", f"--noise={noise}"]
        assert evaluate.main([*arguments, f"--output_dir={folder}"]) == 0
        content = _read(folder)
        assert content["source"]["split"] == "test"
        assert content["source"].get("noise_scale", 0.0) == noise
        values[noise] = content["metrics"]["frechet_distance"]["value"]
    assert len(set(values.values())) == 3


def test_a_run_with_noise_has_a_folder_of_its_own(run: Path) -> None:
    measure = [f"--run={run}", "--num_samples=20", "--metrics=ms_ssim", *FEW[1:]]
    assert evaluate.main(measure) == 0
    assert evaluate.main([*measure, "--noise=0.1"]) == 0
    noised = Path(f"{run}-noise0.1.evaluation")
    values = [_read(folder)["metrics"]["ms_ssim"]["diversity"] for folder in (run, noised)]
    assert values[0] != values[1]


def test_measures_of_the_same_samples_are_kept(images: Path) -> None:
    one = [f"--images={images}", DATASET]
    assert evaluate.main([*one, "--metrics=ms_ssim", *FEW[1:]]) == 0
    folder = Path(f"{images}.evaluation")
    first = _read(folder)["metrics"]["ms_ssim"]
    assert evaluate.main([*one, "--metrics=inception_score", FEW[0]]) == 0
    metrics = _read(folder)["metrics"]
    assert list(metrics) == ["ms_ssim", "inception_score"]
    assert metrics["ms_ssim"] == first
    # Other fields are another measure, the same fields are not measured again.
    both = ["--metrics=ms_ssim,inception_score", *FEW, "--inception_score.num_splits=3"]
    assert evaluate.main([*one, *both[:1], *FEW[1:], both[-1]]) == 0
    assert _read(folder)["metrics"]["ms_ssim"] == first
    assert _read(folder)["metrics"]["inception_score"]["num_splits"] == 3


def test_images_that_were_moved_are_the_same_images(images: Path, tmp_path: Path) -> None:
    folder = f"--output_dir={tmp_path / 'out'}"
    arguments = [DATASET, folder]
    assert evaluate.main([f"--images={images}", "--metrics=frechet_distance", *arguments]) == 0
    moved = images.rename(tmp_path / "mine too.npz")
    assert evaluate.main([f"--images={moved}", "--metrics=ms_ssim", *FEW[1:], *arguments]) == 0
    assert list(_read(tmp_path / "out")["metrics"]) == ["frechet_distance", "ms_ssim"]


def test_other_samples_are_not_mixed_in(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = [f"--images={images}", DATASET, "--metrics=ms_ssim", *FEW[1:]]
    assert evaluate.main(one) == 0
    before = (Path(f"{images}.evaluation") / "evaluation.json").read_bytes()
    assert evaluate.main([*one, "--num_samples=10"]) == 2
    assert "is about other samples" in _error(capsys)
    # The file of the same name and number, with other pixels.
    np.savez(images, images=np.zeros([20, 28, 28, 1], np.uint8))
    assert evaluate.main(one) == 2
    assert "is about other samples" in _error(capsys)
    assert (Path(f"{images}.evaluation") / "evaluation.json").read_bytes() == before


def test_evaluations_are_compared_on_a_page(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measure = ["--metrics=frechet_distance"]
    assert evaluate.main([f"--run={run}", "--num_samples=30", *measure]) == 0
    real = tmp_path / "real"
    assert evaluate.main(["--images=test", DATASET, *measure, f"--output_dir={real}"]) == 0
    capsys.readouterr()
    page = tmp_path / "page"
    assert evaluate.main([f"--compare={run},{real}", f"--output_dir={page}"]) == 0
    table = (page / "evaluations.md").read_text()
    assert table in capsys.readouterr().out
    assert [line.split(" |")[0] for line in table.splitlines()[2:4]] == ["| dcgan", "| tiny, test"]
    assert (page / "evaluations.png").read_bytes().startswith(b"\x89PNG")
    rows = json.loads((page / "evaluations.json").read_text())
    assert rows["dcgan"]["metrics"] == _read(run)["metrics"]


def _saved_model(folder: Path) -> Path:
    class Network(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 299, 299, 3])])
        def __call__(self, images):
            mean = tf.reduce_mean(images, axis=[1, 2])
            return {"logits": 3.0 * mean, "pool_3": mean}

    tf.saved_model.save(Network(), str(folder))
    return folder


def test_a_named_saved_model_measures_beside_the_own_classifier(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = _saved_model(tmp_path / "network")
    arguments = [f"--images={images}", DATASET, "--metrics=inception_score", FEW[0]]
    arguments += [f"--inception_path={network}"]
    assert evaluate.main(arguments) == 2
    assert "--allow_unverified" in _error(capsys)
    assert evaluate.main([*arguments, "--inception_digest=00"]) == 2
    assert "digest" in _error(capsys)
    assert not Path(f"{images}.evaluation").exists()
    assert evaluate.main([*arguments, "--allow_unverified"]) == 0
    content = _read(Path(f"{images}.evaluation"))
    assert content["metrics"]["inception_score:inception"]["classifier"] == "inception"
    assert content["metrics"]["inception_score"]["classifier"] == "color_mnist"
    assert content["classifiers"]["inception"]["verified"] is False
    assert "299" in content["classifiers"]["inception"]["resizer"]


def test_a_classifier_of_ones_own_takes_the_place_of_the_packages(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = weights_bytes(image_classifier((4, 4, 6), seed=3))
    card = {
        "sha256": hashlib.sha256(weights).hexdigest(),
        "image_shape": [28, 28, 3],
        "recipe": {"width1": 4, "width2": 4, "width3": 6},
        "temperature": 1.5,
        "feature_scale": 2.0,
    }
    (tmp_path / "color_mnist.npz").write_bytes(weights)
    (tmp_path / "color_mnist.json").write_text(json.dumps(card))
    arguments = [f"--images={images}", DATASET, "--metrics=inception_score,frechet_distance"]
    assert evaluate.main([*arguments, FEW[0], f"--classifier={tmp_path}"]) == 0
    content = _read(Path(f"{images}.evaluation"))
    assert content["metrics"]["inception_score"]["classifier_digest"] == card["sha256"]
    assert content["classifiers"]["color_mnist"]["temperature"] == 1.5
    assert content["metrics"]["frechet_distance"]["num_features"] == 6
    own = content["metrics"]["inception_score"]["mean"]
    assert evaluate.main([*arguments, FEW[0]]) == 0
    assert _read(Path(f"{images}.evaluation"))["metrics"]["inception_score"]["mean"] != own
    empty = tmp_path / "empty"
    assert evaluate.main([*arguments, f"--classifier={empty}"]) == 2
    assert "name a folder that tfdm-train-classifier finished" in _error(capsys)
    other = [f"--images={images}", "--dataset=celeb_a", "--metrics=inception_score"]
    assert evaluate.main([*other, f"--classifier={tmp_path}"]) == 2
    assert "none is made for celeb_a" in _error(capsys)


def test_without_a_classifier_what_needs_none_is_measured(
    images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = [f"--images={images}", "--dataset=celeb_a"]
    assert evaluate.main([*other, "--metrics=frechet_distance"]) == 2
    line = _error(capsys)
    assert "https://tfhub.dev" in line
    assert "--inception_path" in line
    assert evaluate.main([*other, *FEW[1:], *CHEAP]) == 0
    metrics = _read(Path(f"{images}.evaluation"))["metrics"]
    measured = [name for name, record in metrics.items() if "reason" not in record]
    assert measured == ["ms_ssim", "wasserstein_critic"]
    assert "--inception_path" in metrics["frechet_distance"]["reason"]


def test_a_measure_that_does_not_fit_leaves_the_others(
    images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate.main([f"--images={images}", DATASET, "--num_samples=12", *CHEAP]) == 0
    metrics = _read(Path(f"{images}.evaluation"))["metrics"]
    assert "expected at least 64" in metrics["ms_ssim"]["reason"]
    assert metrics["inception_score"]["num_splits"] == 10
    assert "expected at least 64" in capsys.readouterr().out
    again = [f"--images={images}", DATASET, "--num_samples=12", "--metrics=ms_ssim"]
    assert evaluate.main(again) == 2
    assert "see the fields of ms_ssim in --help" in _error(capsys)


@pytest.mark.parametrize(
    ("split", "real", "held_out", "training"),
    [
        (None, "validation", "test", "train"),
        ("train", "validation", "test", None),
        ("validation", "train", "test", None),
        ("test", "validation", "train", None),
    ],
)
def test_a_critic_never_sees_what_is_evaluated_as_real(
    tiny: ImageDataset, split: str | None, real: str, held_out: str, training: str | None
) -> None:
    images = critic_images(tiny, split)
    assert list(images.splits.values()) == [real, held_out, training]
    found = (images.real, images.held_out, images.training)
    expected = [None if name is None else tiny.split(name) for name in (real, held_out, training)]
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give one of --run=DIR, --images=WHAT and --compare"),
        (["--run=a", "--images=b"], "give one of --run=DIR"),
        (["--run=nowhere"], "nowhere"),
        (["--images=nowhere.npz", DATASET], "nowhere.npz does not exist"),
        (["--images=test"], "--dataset is missing"),
        (["--images=test", "--dataset=cifar"], "did you mean cifar10"),
        (["--images=x", DATASET, "--metrics=fid"], "unknown metric 'fid'"),
        (["--images=x", DATASET, "--metrics=ms_ssim", "--kernel_distance.num_images=9"],
         "add kernel_distance to --metrics"),
        (["--images=x", DATASET, "--num_samples=1"], "at least 2"),
        (["--images=x", DATASET, "--noise=-1"], "at least 0"),
        (["--images=x", DATASET, "--reference=tset"], "did you mean test"),
        (["--images=x", DATASET, "--allow_unverified=yes"], "takes no value"),
        (["--images=test", DATASET, "--metrics=inception_score"], "10 splits"),
        (["--images=test", DATASET, "--num_samples=13"], "13"),
        (["--compare=a"], "--output_dir is missing"),
        (["--compare=a", "--output_dir=b", "--seed=1"], "--seed has no effect"),
        (["--compare=nowhere", "--output_dir=b"], "nowhere holds no evaluation.json"),
        (["--images=train", DATASET], "would be compared with itself: give --reference=validation"),
        (["--images=x", DATASET, "--metrics=ms_ssim", "--inception_path=y"], "has no effect"),
        (["--images=x", DATASET, "--metrics=ms_ssim", "--classifier=y"], "--classifier has no"),
        (["--run=a", "--dataset=cifar10"], "--dataset goes with --images"),
    ],
)  # fmt: skip
def test_bad_input_ends_in_one_line(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tiny: ImageDataset,
) -> None:
    monkeypatch.chdir(tmp_path)
    small = {name: images[:5] for name, images in tiny.splits.items()}
    if "10 splits" in message:
        dataset = ImageDataset("tiny", small, "0" * 64, {})
        monkeypatch.setattr(
            "tfdm.experiments.evaluation_inputs.load_dataset", lambda name, **_: dataset
        )
    assert evaluate.main(arguments) == 2
    assert message in _error(capsys)


def test_bad_images_end_in_one_line(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for array, message in (
        (np.full([4, 28, 28, 1], np.nan), "nan"),
        (np.full([4, 28, 28, 1], 2.0), "[0, 1]"),
        (np.zeros([4, 32, 32, 3], np.uint8), "32"),
        (np.zeros([4, 28], np.uint8), "shape"),
    ):
        np.savez(images, images=array)
        assert evaluate.main([f"--images={images}", DATASET]) == 2
        assert message in _error(capsys)
        assert not Path(f"{images}.evaluation").exists()


def test_a_damaged_evaluation_is_not_overwritten(
    images: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = Path(f"{images}.evaluation")
    folder.mkdir()
    (folder / "evaluation.json").write_text("{")
    assert evaluate.main([f"--images={images}", DATASET, "--metrics=frechet_distance"]) == 2
    assert "is damaged" in _error(capsys)
    assert evaluate.main([f"--compare={folder}", f"--output_dir={tmp_path / 'page'}"]) == 2
    assert "is damaged" in _error(capsys)
    shutil.rmtree(folder)
    assert evaluate.main([f"--images={images}", DATASET, "--metrics=frechet_distance"]) == 0

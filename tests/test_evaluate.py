"""`evaluate`: what it finds, writes, keeps and refuses, for samples of every kind."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import PIL.Image
import pytest

from tests.tiny_evaluation import (
    DATA,
    TINY,
    content,
    measure,
    stub_run,
    write_classifier,
    write_pictures,
    write_saved_model,
)
from tfdm.datasets.dataset import ImageDataset
from tfdm.errors import DivergedError, UserError
from tfdm.eval import (
    frechet_distance,
    inception_score_from_logits,
    load_classifier,
    ms_ssim_diversity,
    wasserstein_critic,
)
from tfdm.eval.metrics import METRICS
from tfdm.experiments.evaluate import evaluate
from tfdm.seeds import stream

GREY = np.full([4, 28, 28, 1], 99, np.uint8)
FEATURES = ("frechet_distance", "kernel_distance", "precision_recall")


# --- What is found ----------------------------------------------------------------------------


def test_a_run_has_every_metric(tmp_path):
    run = stub_run(tmp_path / "run", TINY)
    folder = tmp_path / "out"
    found = measure(run, num_samples=30, seed=2, classifier="color_mnist", output_dir=str(folder))
    assert list(found.metrics) == list(METRICS)
    assert (found.num_samples, found.image_shape, found.dataset) == (30, (28, 28, 1), "tiny")
    assert found.source["steps"] == 2
    score = found["inception_score"]
    assert 1.0 <= score.mean <= 10.0
    assert (score.classifier, score.num_splits) == ("color_mnist", 2)
    assert score.classifier_digest == load_classifier("color_mnist").digest
    critic = found["wasserstein_critic"]
    assert critic.value == pytest.approx(np.mean(critic.per_seed))
    assert found["frechet_distance"].reference == "train"
    assert [found[name].features for name in FEATURES] == ["color_mnist"] * 3
    with pytest.raises(UserError, match="data_dir has no effect"):
        measure(run, "ms_ssim", data_dir="data")
    # The folder holds the same.
    assert content(folder) == json.loads(json.dumps(found.to_dict()))
    assert (folder / "evaluation.md").read_text() == found.table() == str(found)
    assert not (folder / ".critic").exists()
    with PIL.Image.open(folder / "evaluation_nearest.png") as sheet:
        assert sheet.size == (3 * (8 * 30 + 2), 3 * (12 * 30 + 2))


def test_nothing_is_written_without_a_folder(images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    measure(images, "ms_ssim", "wasserstein_critic", dataset=TINY)
    assert list(tmp_path.iterdir()) == []


def test_the_numbers_are_those_of_the_library(images):
    found = measure(images, "inception_score", "frechet_distance", "ms_ssim", seed=5, **DATA)
    classifier = load_classifier("color_mnist")
    logits, features = classifier.logits_and_features(images)
    _, real = classifier.logits_and_features(TINY.split("train"))
    score = inception_score_from_logits(logits, 2, seed=5)
    assert found["inception_score"].mean == pytest.approx(score.mean, rel=1e-6)
    assert found["inception_score"].std == pytest.approx(score.std, rel=1e-5, abs=1e-9)
    distance = frechet_distance(features, real)
    assert found["frechet_distance"].value == pytest.approx(distance, rel=1e-5)
    # The images of the diversity are the first of a seeded order, as those of every metric.
    order = stream(5, "evaluate/choice").permutation(20)[:4]
    diversity = ms_ssim_diversity(images[order], num_batches=1, batch_size=4).diversity
    assert found["ms_ssim"].diversity == pytest.approx(diversity, rel=1e-9)


def test_a_number_does_not_depend_on_what_else_is_measured(images):
    few = ("ms_ssim", "wasserstein_critic")
    first = measure(images, *few, **{**DATA, "classifier": None})
    more = {"kernel_distance": {"num_images": 19}}
    second = measure(images, *few, "kernel_distance", "inception_score", fields=more, **DATA)
    assert first["ms_ssim"].diversity == second["ms_ssim"].diversity
    assert first["wasserstein_critic"].per_seed == second["wasserstein_critic"].per_seed


def test_arrays_files_and_folders_are_one(images, file, tmp_path):
    folder = write_pictures(tmp_path / "pictures", images)
    (folder / "notes.txt").touch()
    kinds = [images, images / np.float32(255), file, str(folder)]
    found = [measure(kind, "frechet_distance", **DATA) for kind in kinds]
    assert len({one.samples_digest for one in found}) == 1
    assert len({one["frechet_distance"].value for one in found}) == 1
    assert [one.source["available"] for one in found] == [20] * 4
    assert found[-1].source["passed_over"] == 1


def test_two_sets_are_compared(images, tmp_path, rng):
    other = rng.integers(0, 256, [15, 28, 28, 1], dtype=np.uint8)
    folders = [write_pictures(tmp_path / n, x) for n, x in (("a", images), ("b", other))]
    found = measure(folders[0], reference=folders[1], classifier="color_mnist")
    features = [load_classifier("color_mnist").logits_and_features(x)[1] for x in (images, other)]
    assert found["frechet_distance"].value == pytest.approx(frechet_distance(*features), rel=1e-5)
    assert found["precision_recall"].num_real == 15
    assert found["ms_ssim"].diversity > 0
    assert found["wasserstein_critic"].reason == "needs a data set: name one with --dataset"
    arrays = measure(images, "frechet_distance", reference=other, classifier="color_mnist")
    assert arrays["frechet_distance"].value == found["frechet_distance"].value
    with pytest.raises(AttributeError, match="has no 'value': needs a data set"):
        _ = found["wasserstein_critic"].value


def test_images_are_not_compared_with_themselves(images, tmp_path):
    folder = write_pictures(tmp_path / "a", images)
    train = TINY.split("train")
    for samples, options in (
        (images, {"reference": images, "num_samples": 10}),
        (images, {"reference": images.copy()}),
        (images, {"reference": folder, "noise": 0.1}),
        (folder, {"reference": str(folder / ".." / "a"), "num_samples": 10}),
        (train, {"dataset": TINY}),
        ("train", {"dataset": TINY, "reference": np.array(train)}),
    ):
        with pytest.raises(UserError, match="would be compared with itself"):
            measure(samples, "frechet_distance", classifier="color_mnist", **options)


def test_other_sizes_are_scaled(images, tmp_path, rng):
    large = rng.integers(0, 256, [12, 40, 30, 3], dtype=np.uint8)
    with pytest.raises(UserError, match="30.*takes 28x28: --resize scales them"):
        measure(large, "inception_score", classifier="color_mnist")
    with pytest.raises(UserError, match="expected 28x28x1"):
        measure(large[..., :1], **DATA)
    pairs = {"reference": images, "classifier": "color_mnist", "resize": True}
    found = measure(large, "frechet_distance", **pairs)
    assert found.image_shape == (28, 28, 3)
    assert found.source["resized"] == "bilinear to 28x28, antialiased"
    assert "images scaled bilinear to 28x28" in " ".join(found.table().split())
    folder = write_pictures(tmp_path / "mixed", large)
    assert measure(folder, "frechet_distance", **pairs).samples_digest == found.samples_digest
    # Beside a data set samples become its size, and the classifier's only for the classifier.
    data = {"dataset": TINY, "classifier": "cifar10", "resize": True}
    found = measure(large[..., :1], "frechet_distance", **data)
    assert found.image_shape == (28, 28, 1)
    assert found.classifiers["cifar10"]["resizer"] == "bilinear to 32x32, antialiased"
    with pytest.raises(UserError, match="are 28x28, the classifier cifar10 takes 32x32"):
        measure(images, "frechet_distance", dataset=TINY, classifier="cifar10")


def test_a_run_without_its_data_has_what_needs_none(tmp_path):
    run = stub_run(tmp_path, None)
    run = dataclasses.replace(run, config=dataclasses.replace(run.config, dataset="mine"))
    found = measure(run, num_samples=20, classifier="color_mnist")
    measured = [name for name, record in found.metrics.items() if "reason" not in record]
    assert measured == ["inception_score", "ms_ssim"]
    for name in ("wasserstein_critic", "frechet_distance"):
        assert "tfdm.load_run(.., dataset=images)" in found[name].reason
    assert measure(run, "ms_ssim", num_samples=20, dataset=TINY).dataset == "tiny"
    other = dataclasses.replace(TINY, digest="f" * 64)
    with pytest.raises(UserError, match="its digest differs"):
        measure(run, "ms_ssim", dataset=other)


@pytest.mark.parametrize(
    ("samples", "splits"),
    [
        (TINY.split("test"), ["validation", "test", "train"]),
        ("train", ["validation", "test", None]),
        ("validation", ["train", "test", None]),
        ("test", ["validation", "train", None]),
    ],
)
def test_a_critic_never_sees_what_is_evaluated_as_real(samples, splits, monkeypatch):
    seen: list[Any] = []
    critic = wasserstein_critic.independent_wasserstein_critic

    def spy(real: Any, held_out: Any, *rest: Any, **options: Any) -> Any:
        seen.extend([real, held_out, options["training_images"]])
        return critic(real, held_out, *rest, **options)

    monkeypatch.setattr(wasserstein_critic, "independent_wasserstein_critic", spy)
    record = measure(samples, "wasserstein_critic", dataset=TINY)["wasserstein_critic"]
    assert [record.real_split, record.held_out_split, record.training_split] == splits
    for images, name in zip(seen, splits, strict=True):
        np.testing.assert_array_equal(images, None if name is None else TINY.split(name))


def test_a_copied_training_image_stands_beside_its_original(tmp_path):
    train = TINY.split("train")
    measure(train[:20], "ms_ssim", dataset=TINY, output_dir=str(tmp_path))
    with PIL.Image.open(tmp_path / "evaluation_nearest.png") as picture:
        sheet = np.asarray(picture.convert("L"))[::3, ::3]  # It is enlarged three times.
    for top in range(2, 12 * 30, 30):
        sample, nearest = (sheet[top : top + 28, left : left + 28] for left in (2, 32))
        np.testing.assert_array_equal(sample, nearest)
        assert any((sample == image[..., 0]).all() for image in train[:20])


# --- Classifiers ------------------------------------------------------------------------------


def test_a_saved_model_measures_beside_the_other(images, tmp_path):
    network = str(write_saved_model(tmp_path / "network"))
    one = {**DATA, "inception_path": network}
    with pytest.raises(UserError, match="--allow_unverified"):
        measure(images, "inception_score", **one)
    with pytest.raises(UserError, match="digest"):
        measure(images, "inception_score", inception_digest="00", **one)
    found = measure(images, "inception_score", allow_unverified=True, **one)
    assert found["inception_score:inception"].classifier == "inception"
    assert found["inception_score"].classifier == "color_mnist"
    assert found.classifiers["inception"]["verified"] is False
    assert "299" in found["inception_score:inception"].resizer


def test_what_a_network_measured_stays_without_it(images, tmp_path):
    network = str(write_saved_model(tmp_path / "network"))
    options = {"dataset": TINY, "output_dir": str(tmp_path / "out")}
    first = measure(images, inception_path=network, allow_unverified=True, **options)
    assert first["frechet_distance"].num_features == 3
    again = measure(images, **options)
    for name in ("inception_score", *FEATURES):
        assert "reason" not in again[name]
        assert again[name] == first[name]


def test_a_network_without_features_leaves_metrics(images, tmp_path):
    network = str(write_saved_model(tmp_path / "network", ("logits",)))
    options = {"dataset": TINY, "inception_path": network, "allow_unverified": True}
    found = measure(images, **options)
    assert found["inception_score"].mean >= 1
    for name in FEATURES:
        assert found[name].reason.startswith("needs features: the network of inception")
    with pytest.raises(UserError, match="frechet_distance needs features"):
        measure(images, "frechet_distance", **options)


def test_another_classifier_is_another_measurement(images, tmp_path):
    own, found = tmp_path / "own", []
    options = {"dataset": TINY, "classifier": str(own), "output_dir": str(tmp_path / "out")}
    for temperature, scale in ((1.0, 1.0), (0.001, 2.0)):
        card = write_classifier(own, temperature=temperature, feature_scale=scale)
        found.append(measure(images, "inception_score", "frechet_distance", **options))
        score = found[-1]["inception_score"]
        assert (score.classifier, score.classifier_digest) == ("tiny", card["sha256"])
        assert (score.mean_calibrated == score.mean) == (temperature == 1.0)
        assert found[-1]["frechet_distance"].num_features == 6
    values = [one["frechet_distance"].value for one in found]
    assert values[1] == pytest.approx(values[0] / 4, rel=1e-4)
    options["classifier"] = "color_mnist"
    other = measure(images, "inception_score", **options)["inception_score"]
    assert other.mean != found[-1]["inception_score"].mean
    write_classifier(own, "color_mnist")
    options["classifier"] = str(own)
    with pytest.raises(UserError, match="holds 2 classifiers, expected one"):
        measure(images, "inception_score", **options)
    # Of several, the one of the data set's name counts.
    digits = {"dataset": dataclasses.replace(TINY, name="color_mnist"), "classifier": str(own)}
    score = measure(images, "inception_score", **digits)["inception_score"]
    assert (score.classifier, score.classifier_digest) == ("color_mnist", card["sha256"])


def test_without_a_classifier_what_needs_none_is_measured(images):
    found = measure(images, dataset=TINY)
    measured = [name for name, record in found.metrics.items() if "reason" not in record]
    assert measured == ["ms_ssim", "wasserstein_critic"]
    with pytest.raises(UserError, match=r"https://tfhub\.dev.*--inception_path"):
        measure(images, "frechet_distance", dataset=TINY)


# --- What does not fit ------------------------------------------------------------------------


def test_a_metric_that_does_not_fit_leaves_the_others(images):
    large = {"ms_ssim": {"batch_size": 64}}
    found = measure(images, fields=large, **DATA)
    assert "expected at least 64" in found["ms_ssim"].reason
    assert "expected at least 64" in " ".join(found.table().split())
    assert found["precision_recall"].neighbours == 3
    with pytest.raises(UserError, match="ms_ssim: .*expected at least 64"):
        measure(images, "ms_ssim", fields=large, dataset=TINY)


def test_a_diverged_critic_leaves_metrics(images, monkeypatch):
    def diverge(*_: Any) -> dict[str, Any]:
        raise DivergedError(2, "the critic's score")

    monkeypatch.setattr("tfdm.eval.wasserstein_critic.measure", diverge)
    found = measure(images, **DATA)
    assert "not finite" in found["wasserstein_critic"].reason
    assert found["precision_recall"].neighbours == 3
    with pytest.raises(DivergedError):
        measure(images, "wasserstein_critic", dataset=TINY)


@pytest.mark.parametrize(
    ("samples", "options", "message"),
    [
        ("nowhere.npz", {}, "nowhere.npz does not exist"),
        ("test", {"dataset": None}, "test is a split: name its data set with --dataset"),
        ("test", {"dataset": "cifar"}, "did you mean cifar10"),
        ("test", {"num_samples": 13}, "13 were asked for"),
        ("test", {"noise": -1.0}, "expected at least 0"),
        ("test", {"metrics": ("fid",)}, "expected one of inception_score"),
        ("test", {"fields": {"frechet": {}}}, "unknown metric 'frechet': did you mean frechet_d"),
        ("test", {"metrics": ("ms_ssim",), "fields": {"kernel_distance": {}}}, "have no effect"),
        ("test", {"no_option": 3}, "has no field 'no_option'"),
        ("test", {"metrics": ("inception_score",), "classifier": "color_mnist"}, "10 splits"),
        ("test", {"reference": "test"}, "would be compared with itself: choose another"),
        ("train", {}, "would be compared with itself: choose another --reference, as validation"),
        ("test", {"reference": "nowhere"}, "nowhere does not exist"),
        ("test", {"classifier": "nowhere"}, "unknown classifier 'nowhere'"),
        ("test", {"inception_digest": "ab"}, "has no effect without inception_path"),
        ("test", {"allow_unverified": True}, "has no effect without inception_path"),
        ("test", {"metrics": ("ms_ssim",), "inception_path": "y"}, "inception_path has no effect"),
        ("test", {"metrics": ("ms_ssim",), "classifier": "cifar10"}, "classifier has no effect"),
        ("test", {"metrics": ("ms_ssim",), "reference": "test"}, "reference has no effect"),
        ("test", {"metrics": ("ms_ssim",), "reference": GREY}, "reference has no effect"),
        ("test", {"image_size": 77}, "image_size has no effect"),
        ("test", {"data_dir": "x"}, "data_dir has no effect"),
        ("test", {"metrics": ("ms_ssim",), "cache_dir": "x"}, "cache_dir has no effect"),
        (GREY, {"dataset": None, "reference": GREY[1:], "crop": 20}, "crop has no effect"),
        (np.full([4, 28, 28, 1], np.nan), {}, "not finite"),
        (np.full([4, 28, 28, 1], 2.0), {}, r"expected \[0, 1\]"),
    ],
)  # fmt: skip
def test_bad_input_ends_in_one_line(samples, options, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    splits = {name: images[:9] for name, images in TINY.splits.items()}
    arguments = {"dataset": ImageDataset("tiny", splits, "0" * 64, {}), **options}
    with pytest.raises((UserError, ValueError), match=message) as raised:
        evaluate(samples, progress=False, **arguments)
    assert "\n" not in str(raised.value)


def test_a_word_that_is_a_split_and_a_folder_is_refused(images, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path / "test", images)
    for options in ({"samples": "test"}, {"samples": images, "reference": "test"}):
        with pytest.raises(UserError, match=r"test is a split and a folder: write \./test"):
            measure(options.pop("samples"), "frechet_distance", **DATA, **options)
    # A folder that nobody named is in nobody's way.
    (tmp_path / "train").mkdir()
    found = measure("./test", "frechet_distance", **DATA)
    assert "split" not in found.source
    assert found["frechet_distance"].reference == "train"


def test_pictures_of_an_evaluation_are_kept_out_of_the_samples(images, tmp_path, monkeypatch):
    folder = write_pictures(tmp_path / "pictures", images)
    with pytest.raises(UserError, match="is inside the folder of images"):
        measure(folder, "ms_ssim", output_dir=str(folder / "out"))
    monkeypatch.chdir(folder)
    with pytest.raises(UserError, match="is inside the folder of images"):
        measure(".", "ms_ssim", output_dir="out")
    measure(".", "ms_ssim", output_dir="../out")

"""`tfdm-evaluate`: from flags to the function's options, folders, the page, and one-line errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests import tiny_training
from tests.tiny_evaluation import FIELDS
from tfdm.cli import evaluate
from tfdm.eval.metrics import METRICS
from tfdm.experiments.options import EvaluateConfig, default_output_dir

DATASET = "--dataset=color_mnist_5k"
FEW = [f"--ms_ssim.{name}={value}" for name, value in FIELDS["ms_ssim"].items()]


@pytest.fixture(autouse=True)
def tiny(monkeypatch, tmp_path):
    """Random bytes of 28x28 in the place of all data; an empty folder to work in."""
    monkeypatch.setattr(
        "tfdm.experiments.evaluation_inputs.open_dataset",
        lambda name, **_: tiny_training.tiny_dataset(),
    )
    monkeypatch.chdir(tmp_path)


def test_flags_are_the_options_of_the_function(rng, capsys):
    np.savez("mine.npz", images=rng.integers(0, 256, [20, 28, 28, 1], dtype=np.uint8))
    arguments = ["--images=mine.npz", DATASET, "--metrics=ms_ssim", *FEW, "--seed=3"]
    assert evaluate.main(arguments) == 0
    folder = Path("mine.npz.evaluation")
    content = json.loads((folder / "evaluation.json").read_text())
    assert content["metrics"]["ms_ssim"]["config"] == FIELDS["ms_ssim"]
    assert (content["seed"], content["num_samples"]) == (3, 20)
    output = capsys.readouterr().out
    assert (folder / "evaluation.md").read_text() in output
    assert str(folder / "evaluation.json") in output
    assert evaluate.main([f"--compare={folder}", "--output_dir=page"]) == 0
    assert Path("page/evaluations.md").read_text() in capsys.readouterr().out


@pytest.mark.parametrize(
    ("run", "images", "noise", "folder"),
    [
        ("runs/a", None, 0.0, "runs/a"),
        ("runs/a/", None, 0.1, "runs/a-noise0.1.evaluation"),
        (None, "mine.npz", 0.0, "mine.npz.evaluation"),
        (None, "pictures/", 0.2, "pictures-noise0.2.evaluation"),
        (None, "test", 0.0, "runs/cifar10-test"),
        (None, "test", 0.1, "runs/cifar10-test-noise0.1"),
        (None, "./test", 0.0, "test.evaluation"),
    ],
)
def test_where_the_files_go(run, images, noise, folder):
    config = EvaluateConfig(dataset="cifar10", noise=noise)
    assert default_output_dir(config, run=run, images=images) == Path(folder)


def test_the_help_lists_every_metric(capsys):
    assert evaluate.main(["--help"]) == 0
    text = capsys.readouterr().out
    for metric in METRICS.values():
        assert metric.summary in " ".join(text.split())
    assert "--kernel_distance.max_block_size=INT" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give one of --run=DIR, --images=WHAT and --compare"),
        (["--run=a", "--images=b"], "give one of --run=DIR"),
        (["--run=nowhere"], "nowhere does not exist: give the --output_dir of a training run"),
        (["--run=test"], "test does not exist: did you mean test0?"),
        (["--images=x", DATASET, "--metrics=ms_ssim", "--kernel_distance.num_images=9"],
         "add kernel_distance to --metrics"),
        (["--compare=a"], "--output_dir is missing"),
        (["--compare=a", "--output_dir=b", "--seed=1"], "--seed has no effect"),
    ],
)  # fmt: skip
def test_bad_input_ends_in_one_line(arguments, message, error_line):
    Path("test0").mkdir()
    Path("test0/config.json").write_text("{}")
    assert evaluate.main(arguments) == 2
    assert message in error_line()

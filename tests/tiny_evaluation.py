"""What evaluations of tiny images share: few pairs, cheap critics, classifiers, pictures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import tensorflow as tf

from tests import tiny_training
from tfdm.datasets.dataset import ImageDataset
from tfdm.eval.classifiers.network import image_classifier, whiten
from tfdm.eval.classifiers.shipped import weights_bytes
from tfdm.eval.metrics import METRICS
from tfdm.eval.records import Evaluation
from tfdm.experiments.config import RunConfig
from tfdm.experiments.evaluate import evaluate
from tfdm.experiments.load import Run
from tfdm.models.config import DCGANConfig
from tfdm.runs import RunFolder

FIELDS: dict[str, dict[str, Any]] = {
    "inception_score": {"num_splits": 2},
    "ms_ssim": {"num_batches": 1, "batch_size": 4},
    "wasserstein_critic": {"steps": 2, "num_seeds": 2, "width": 1 / 16, "batch_size": 4},
}


TINY = tiny_training.tiny_dataset()
# The data set has no classifier of its own.
DATA: dict[str, Any] = {"dataset": TINY, "classifier": "color_mnist"}


def measure(samples: Any, *metrics: str, fields: Any = None, **options: Any) -> Evaluation:
    """`evaluate` without bars, with the fields above unless others are given."""
    chosen = {name: FIELDS[name] for name in metrics or METRICS if name in FIELDS}
    fields = {**chosen, **(fields or {})}
    return evaluate(samples, metrics=metrics, fields=fields, progress=False, **options)


def content(folder: Path) -> dict[str, Any]:
    """What `evaluate` wrote."""
    return json.loads((folder / "evaluation.json").read_text())


def write_pictures(folder: Path, images: np.ndarray) -> Path:
    """A PNG for each image [n, H, W, C]."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(images):
        picture = PIL.Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
        picture.save(folder / f"{index:03d}.png")
    return folder


def write_classifier(folder: Path, name: str = "tiny", **card: Any) -> dict[str, Any]:
    """The files of a small untrained classifier of 28x28 images; returns its card."""
    network = image_classifier((4, 4, 6), seed=3)
    whiten(network, np.random.default_rng(0).random((10, 24, 24, 3), np.float32))
    content = weights_bytes(network)
    card = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "image_shape": [28, 28, 3],
        "recipe": {"width1": 4, "width2": 4, "width3": 6},
        "temperature": 1.5,
        "feature_scale": 2.0,
        **card,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.npz").write_bytes(content)
    (folder / f"{name}.json").write_text(json.dumps(card))
    return card


def write_saved_model(folder: Path, outputs: Sequence[str] = ("logits", "pool_3")) -> Path:
    """A SavedModel with the inputs of the Inception network and some of its outputs."""

    class Network(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 299, 299, 3])])
        def __call__(self, images):
            mean = tf.reduce_mean(images, axis=[1, 2])
            return {name: 3.0 * mean if name == "logits" else mean for name in outputs}

    tf.saved_model.save(Network(), str(folder))
    return folder


class StubModel:
    """Samples of 28x28 that depend on the seed."""

    image_shape = (28, 28, 1)

    def generate(self, number: int, seed: int) -> np.ndarray:
        return np.random.default_rng(seed).random((number, *self.image_shape), np.float32)


def stub_run(folder: Path, data: ImageDataset | None) -> Run:
    """A run of the stub that was trained on the tiny data."""
    config = RunConfig(model="dcgan", hyperparameters=DCGANConfig())
    recorded = {"dataset_digest": TINY.digest, "image_shape": [28, 28, 1]}
    return Run(StubModel(), 2, config, recorded, RunFolder(folder), data)

"""A model and a data set so small that a whole training run takes a second."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdm.datasets import ImageDataset, train_batches
from tfdm.experiments.config import RunConfig
from tfdm.experiments.train import TrainingResult, train_run
from tfdm.models import registry
from tfdm.models.config import AAEConfig
from tfdm.training.callbacks import RawLogs
from tfdm.training.inference import InferenceModel
from tfdm.training.noise import StepNoise

IMAGE_SHAPE = (28, 28, 1)
BATCH_SIZE = 8


class TinyAutoencoder(InferenceModel):
    """Two players, each one dense layer: an encoder and a generator; noise enters the loss."""

    config_class = AAEConfig
    # The step, counted from 1, whose loss is NaN; 0 for none.
    diverges_at = 0

    def build_networks(self) -> None:
        def dense(units: int, seed: int, **options: Any) -> keras.layers.Dense:
            initializer = keras.initializers.RandomNormal(0.0, 0.05, seed=self.seed + seed)
            return keras.layers.Dense(units, kernel_initializer=initializer, **options)

        self.encoder = keras.Sequential(
            [
                keras.Input(IMAGE_SHAPE),
                keras.layers.Flatten(),
                dense(self.latent_dim, 1, name="codes"),
            ]
        )
        self.generator = keras.Sequential(
            [
                keras.Input([self.latent_dim]),
                dense(int(np.prod(IMAGE_SHAPE)), 2, activation="tanh", name="pixels"),
                keras.layers.Reshape(IMAGE_SHAPE),
            ]
        )
        self.add_player("encoder", [self.encoder], 1e-3)
        self.add_player("generator", [self.generator], 1e-3)

    def player_losses(
        self, images: tf.Tensor, noise: StepNoise, training: bool
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        codes = self.encoder(images) + noise.normal("codes", [self.latent_dim])
        error = tf.reduce_mean(tf.square(self.generator(codes) - images))
        bad = tf.where(self.step.value + 1 == self.diverges_at, np.float32("nan"), 0.0)
        return {"encoder": error, "generator": error + bad}, {"error": error}


class DivergingAutoencoder(TinyAutoencoder):
    """Its generator's loss is NaN at step 7."""

    diverges_at = 7


def register(monkeypatch: Any, model_class: type = TinyAutoencoder) -> None:
    """Makes the tiny model known as "tiny" while the test runs."""
    entry = registry.ModelEntry("tiny", model_class.__name__, AAEConfig, "tiny", model_class)
    monkeypatch.setitem(registry.MODELS, "tiny", entry)


def tiny_config(**changes: Any) -> RunConfig:
    """A run of ten steps of the tiny model, which must be registered."""
    fields = {
        "model": "tiny", "dataset": "tiny", "steps": 10, "batch_size": BATCH_SIZE, "log_every": 2,
        "sample_every": 5, "checkpoint_every": 4, "hyperparameters": AAEConfig(latent_dim=3),
    }  # fmt: skip
    return RunConfig(**{**fields, **changes})


def run(folder: Any, **changes: Any) -> TrainingResult:
    """Trains the run of `tiny_config` on the tiny data, without a progress bar."""
    return train_run(tiny_config(output_dir=str(folder), **changes), tiny_dataset(), progress=False)


def tiny_model(seed: int = 0, **config: Any) -> TinyAutoencoder:
    """The model of `tiny_config`."""
    hyperparameters = dataclasses.replace(AAEConfig(latent_dim=3), **config)
    return TinyAutoencoder(hyperparameters, IMAGE_SHAPE, seed)


def tiny_dataset() -> ImageDataset:
    """Random bytes: 40 images to train on, 12 to validate, 12 to test."""
    generator = np.random.default_rng(0)
    splits = {
        name: generator.integers(0, 256, (size, *IMAGE_SHAPE), dtype=np.uint8)
        for name, size in (("train", 40), ("validation", 12), ("test", 12))
    }
    return ImageDataset("tiny", splits, "0" * 64, {})


def tiny_batches(start: int, number: int) -> tf.data.Dataset:
    """The batches of steps `start` to `start + number - 1`, as `train` feeds them."""
    return train_batches(
        tiny_dataset().splits["train"],
        batch_size=BATCH_SIZE,
        seed=0,
        start_step=start,
        num_steps=number,
    )


def fit(model: Any, start: int, number: int, callbacks: Any = (), **options: Any) -> None:
    """Trains a model for some steps, as `train` does."""
    model.compile(**options)
    raw = RawLogs(list(callbacks), add_history=True, model=model)
    model.fit(tiny_batches(start, number), verbose=0, shuffle=False, callbacks=raw)

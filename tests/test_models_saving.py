"""Every model is saved and loaded as a plain Keras model, with all that training needs."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.model_cases import (
    IMAGE_SHAPE,
    all_variables,
    assert_same,
    small_batches,
    small_images,
    small_model,
    values,
)
from tfdm.models.registry import MODELS

every_model = pytest.mark.parametrize("name", sorted(MODELS))


@every_model
def test_saved_model_is_loaded_with_its_state_and_goes_on(name, tmp_path: Path, rng):
    """Weights, step and optimisers: the next step is the one the saved model would have made."""
    model = small_model(name)
    model.train_step(tf.constant(small_batches(model, 1)[0]))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    assert type(loaded) is type(model) and loaded.config == model.config
    assert_same(values(all_variables(loaded)), values(all_variables(model)))
    codes = tf.constant(rng.normal(size=[2, model.latent_dim]), tf.float32)
    np.testing.assert_array_equal(loaded.generate(codes), model.generate(codes))
    if model.has_encoder:
        images = small_images(2)
        np.testing.assert_array_equal(loaded.encode(images), model.encode(images))

    model.save_weights(tmp_path / "model.weights.h5")
    other = small_model(name, seed=9)
    other.load_weights(tmp_path / "model.weights.h5")
    assert_same(values(all_variables(other)), values(all_variables(model)))

    same_seed = small_model(name)
    for variable, value in zip(all_variables(same_seed), all_variables(model), strict=True):
        variable.assign(value.numpy())
    batch = tf.constant(small_batches(model, 1, seed=7)[0])
    for one in (loaded, same_seed):
        one.train_step(batch)
    assert_same(values(all_variables(loaded)), values(all_variables(same_seed)))
    assert any(
        np.any(a.numpy() != b.numpy())
        for a, b in zip(loaded.trainable_variables, model.trainable_variables, strict=True)
    )


def test_precision_and_the_options_of_compile_are_kept_and_xla_is_off(tmp_path: Path):
    model = small_model("aae", dtype="mixed_bfloat16")
    model.compile()
    assert model.jit_compile is False
    model.compile(steps_per_execution=2, jit_compile=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.compiled and loaded.steps_per_execution == 2 and loaded.jit_compile
    assert loaded.dtype_policy.name == "mixed_bfloat16"


def test_bad_arguments_are_refused():
    model_class = MODELS["vae"].load()
    for arguments, message in (
        ({"image_shape": (30, 30, 3)}, r"image_shape is \(30, 30, 3\)"),
        ({"image_shape": (28, 0, 3)}, r"image_shape is \(28, 0, 3\)"),
        ({"latentdim": 3}, "no field 'latentdim': did you mean latent_dim"),
        ({"config": {"beta": -1.0}}, "beta is -1.0"),
    ):
        with pytest.raises(ValueError, match=message):
            model_class(**arguments)
    assert model_class({"latent_dim": 3, "width": 1 / 16}).config.latent_dim == 3


@every_model
def test_images_of_the_wrong_shape_are_refused(name):
    model = small_model(name)
    with pytest.raises(ValueError, match=r"images have shape .*28, 27, 3.*expected"):
        model.train_step(tf.zeros([2, 28, 27, 3]))
    with pytest.raises(ValueError, match=r"images have shape .*expected"):
        model.train_step(tf.zeros([2, model.batches_per_step + 1, *IMAGE_SHAPE]))

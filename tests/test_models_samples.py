"""Samples, codes and reconstructions of every model, batch norm in inference mode."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.model_cases import (
    IMAGE_SHAPE,
    LATENT_DIM,
    assert_same,
    small_images,
    small_model,
    stir,
    values,
)
from tfdm.models.registry import MODELS

every_model = pytest.mark.parametrize("name", sorted(MODELS))


def assert_images(images: tf.Tensor, number: int) -> None:
    assert images.shape == [number, *IMAGE_SHAPE] and images.dtype == tf.float32
    assert np.min(images) >= 0.0 and np.max(images) <= 1.0
    assert np.std(images) > 0.0


@functools.cache
def stirred(name: str) -> Any:
    """A model whose weights and moving averages are not special; not to be changed."""
    model = small_model(name)
    stir(model, np.random.default_rng(1))
    return model


@every_model
def test_samples_are_a_function_of_codes_or_seed(name):
    model = stirred(name)
    samples = model.generate(5, seed=1)
    assert_images(samples, 5)
    np.testing.assert_array_equal(samples, model.generate(np.int64(5), seed=1))
    assert np.any(samples != model.generate(5, seed=2))
    codes = model.sample_codes(5, seed=1)
    assert codes.shape == [5, model.latent_dim] and codes.dtype == tf.float32
    np.testing.assert_array_equal(samples, model.generate(codes))
    np.testing.assert_array_equal(samples, model.decode(codes))
    np.testing.assert_array_equal(samples, model(codes))
    np.testing.assert_allclose(samples, model.generate(codes.numpy().astype(np.float64)), atol=1e-5)
    # Inference mode: an image does not depend on what it is made with.
    np.testing.assert_allclose(model.decode(codes[:1]), samples[:1], atol=1e-5)


@every_model
def test_predict_and_summary_are_those_of_a_plain_keras_model(name):
    model, lines = stirred(name), []
    codes = model.sample_codes(3).numpy()
    np.testing.assert_allclose(model.predict(codes, verbose=0), model.decode(codes), atol=1e-5)
    model.summary(print_fn=lambda line, **_: lines.append(line))
    assert "generator" in "\n".join(lines)
    assert model.count_params() == sum(int(np.prod(v.shape)) for v in model.weights)


@every_model
def test_only_a_model_that_infers_has_an_encoder_and_reconstructs(name):
    model, images = stirred(name), small_images(3)
    assert model.has_encoder == hasattr(model, "encode") == hasattr(model, "encoder")
    if model.has_encoder:
        assert model.encode(images).shape == [3, model.latent_dim]
        assert_images(model.reconstruct(images), 3)
        assert hasattr(model.posterior(images), "log_prob") == (name in ("ali", "draw", "vae"))


@pytest.fixture(scope="module", params=["deterministic", "gaussian", "implicit"])
def inferring(request: pytest.FixtureRequest) -> Any:
    """A model with each kind of encoder."""
    model = small_model("aae_plus_plus", encoder=request.param)
    stir(model, np.random.default_rng(0))
    return model


def test_codes_and_reconstructions(inferring):
    model, images = inferring, small_images(4)
    codes = model.encode(images, seed=1)
    assert codes.shape == [4, LATENT_DIM] and codes.dtype == tf.float32
    np.testing.assert_array_equal(codes, model.encode(images, seed=1))
    is_random = model.encoder_kind != "deterministic"
    assert bool(np.any(codes != model.encode(images, seed=2))) == is_random
    np.testing.assert_allclose(codes, model.encode(images / np.float32(255), seed=1), atol=1e-4)
    reconstructions = model.reconstruct(images, seed=1)
    assert_images(reconstructions, 4)
    np.testing.assert_array_equal(reconstructions, model.decode(codes))


def test_encode_draws_from_the_posterior(inferring):
    model, images = inferring, small_images(4)
    posterior = model.posterior(images)
    np.testing.assert_array_equal(posterior.sample(seed=1), model.encode(images, seed=1))
    assert posterior.sample([2], seed=1).shape == [2, 4, LATENT_DIM]
    assert hasattr(posterior, "log_prob") == (model.encoder_kind == "gaussian")
    if model.encoder_kind != "gaussian":
        return
    outputs = model.encoder(images / np.float32(127.5) - 1.0, training=False)
    np.testing.assert_allclose(posterior.loc, outputs[:, :LATENT_DIM], atol=1e-4)
    copies = np.repeat(images[:1], 4000, axis=0)
    codes = model.encode(copies, seed=3).numpy().astype(np.float64)
    scale = posterior.scale[0].numpy()
    error = scale / np.sqrt(len(codes))
    assert np.all(np.abs(codes.mean(0) - posterior.loc[0]) < 5 * error)
    assert np.all(np.abs(codes.std(0) - scale) < 5 * error)


def test_encoding_is_in_inference_mode(inferring):
    """The code of an image does not depend on the images beside it."""
    model, images = inferring, small_images(4)
    if model.encoder_kind == "deterministic":
        np.testing.assert_allclose(model.encode(images)[:1], model.encode(images[:1]), atol=1e-4)
    before = values(model.variables)
    model.encode(images)
    model.reconstruct(images)
    model.generate(2)
    assert_same(before, values(model.variables))

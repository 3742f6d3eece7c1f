"""Networks of one's own in the place of a model's, for images of any shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.model_cases import (
    BATCH_SIZE,
    LATENT_DIM,
    all_variables,
    assert_same,
    small_batches,
    small_images,
    small_model,
    values,
)
from tfdm.experiments.export import export_model
from tfdm.models.registry import MODELS
from tfdm.models.vae import VAE
from tfdm.training.networks import copy_network

SHAPE = (6, 10, 2)


@keras.saving.register_keras_serializable(package="tests")
class OwnNetwork(keras.Model):
    """Inputs of any shapes -> [B, *gives]; subclassed, so that Keras does not know its layers."""

    def __init__(self, gives: list[int], activation: str = "linear", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.gives, self.activation = tuple(gives), activation
        self.hidden = keras.layers.Dense(8, "tanh", kernel_initializer=self._initial(1))
        self.norm = keras.layers.BatchNormalization()
        self.outputs_ = keras.layers.Dense(
            int(np.prod(gives)), activation, kernel_initializer=self._initial(2)
        )

    def call(self, inputs: Any, training: bool = False) -> tf.Tensor:
        inputs = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        flat = [keras.ops.reshape(x, [-1, int(np.prod(x.shape[1:]))]) for x in inputs]
        hidden = self.norm(self.hidden(keras.ops.concatenate(flat, 1)), training=training)
        return keras.ops.reshape(self.outputs_(hidden), [-1, *self.gives])

    def get_config(self) -> dict[str, Any]:
        config = {"gives": list(self.gives), "activation": self.activation}
        return {**super().get_config(), **config}

    @staticmethod
    def _initial(seed: int) -> keras.initializers.Initializer:
        return keras.initializers.GlorotUniform(seed=seed)


def dense(units: int) -> keras.layers.Dense:
    return keras.layers.Dense(units, kernel_initializer=keras.initializers.GlorotUniform(seed=1))


def own_networks(name: str, shape: tuple[int, int, int] = SHAPE) -> dict[str, Any]:
    """A network of one's own for every place of a model."""
    is_linear, is_gaussian = name in ("avb", "vae"), name in ("ali", "vae")
    networks = {
        "generator": OwnNetwork(shape, "linear" if is_linear else "tanh", name="generator"),
        "encoder": OwnNetwork([LATENT_DIM * (1 + is_gaussian)], name="encoder"),
        # [B, 1] instead of [B].
        "discriminator": OwnNetwork([1], name="discriminator"),
        "adversary": OwnNetwork([1], name="adversary"),
        "critic": OwnNetwork([1], name="critic"),
    }
    model = small_model(name)
    return {place: net for place, net in networks.items() if place in model._network_names}


# The cells of DRAW are no networks from images or codes to an output.
NAMES = sorted(set(MODELS) - {"draw"})


@pytest.mark.parametrize(("name", "shape"), [*((n, SHAPE) for n in NAMES), ("aae_gan", (1, 1, 7))])
def test_own_networks_train_are_saved_and_exported(name, shape, tmp_path: Path):
    given = own_networks(name, shape)
    model = small_model(name, image_shape=shape, networks=given, ema_decay=0.5)
    assert model.generator is given["generator"] and dict(model.networks) == given
    before = values(model.trainable_variables)
    batches = small_batches(model, 2)
    model.compile()
    dataset = tf.data.Dataset.from_tensor_slices(batches[0]).batch(BATCH_SIZE, drop_remainder=True)
    logs = model.fit(dataset, verbose=0).history
    assert all(np.isfinite(value) for [value] in logs.values())
    changed = [
        np.any(a != b) for a, b in zip(before, values(model.trainable_variables), strict=True)
    ]
    # A constant added to all scores of a critic moves nothing.
    assert np.mean(changed) > 0.8
    images = model.generate(3, seed=1)
    assert images.shape == [3, *shape] and np.min(images) >= 0.0 and np.max(images) <= 1.0
    assert model.sampler is not model.generator

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    assert_same(values(all_variables(loaded)), values(all_variables(model)))
    np.testing.assert_array_equal(loaded.generate(3, seed=1), images)
    for one in (loaded, model):
        one.train_step(tf.constant(batches[1]))
    assert_same(values(all_variables(loaded)), values(all_variables(model)))

    export_model(model, tmp_path)
    generator = tf.saved_model.load(tmp_path / "generator").signatures["serving_default"]
    noise = tf.ones([2, LATENT_DIM])
    np.testing.assert_allclose(generator(z=noise)["images"], model.generate(noise), atol=1e-6)
    if model.has_encoder:
        assert model.reconstruct(small_images(2, shape)).shape == [2, *shape]


def test_own_networks_of_the_wrong_kind_are_refused():
    def model(**networks: Any) -> Any:
        return VAE(latent_dim=4, image_shape=SHAPE, networks=networks)

    encoder = OwnNetwork([8])
    for wrong, message in (
        ({"encoder": OwnNetwork([4])}, r"network 'encoder' gives \[B, 4\], expected \[B, 8\]"),
        ({"encoder": lambda images: images}, "network 'encoder' is .*expected a Keras model"),
        ({"encoder": keras.Sequential([keras.Input([3]), dense(8)])},
         r"network 'encoder' does not take \[B, 6, 10, 2\]"),
        ({"encoder": encoder, "generator": OwnNetwork([6, 10, 3])},
         r"network 'generator' gives \[B, 6, 10, 3\], expected \[B, 6, 10, 2\]"),
        ({"encoder": encoder, "generator": OwnNetwork(SHAPE), "decoder": encoder},
         "VAE has no network 'decoder': did you mean encoder"),
        ({"encoder": encoder}, r"image_shape is \(6, 10, 2\).*networks of one's own"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            model(**wrong)
    # A network that knows neither height nor width fits any.
    inputs = keras.Input([None, None, 2])
    pooled = keras.Model(inputs, dense(8)(keras.layers.GlobalAveragePooling2D()(inputs)))
    assert model(encoder=pooled, generator=OwnNetwork(SHAPE)).encode(small_images(2, SHAPE)).shape


@pytest.mark.parametrize(
    "network",
    [
        OwnNetwork([3]),
        keras.Sequential([keras.Input([4]), dense(3), keras.layers.Dropout(0.1, seed=1)]),
        keras.Sequential([dense(3)]),
        dense(3),
    ],
    ids=["subclassed", "sequential", "unbuilt", "layer"],
)
def test_any_network_is_copied(network):
    codes = tf.ones([2, 4])
    expected = network(codes)
    copy = copy_network(network, [(4,)])
    np.testing.assert_array_equal(copy(codes), expected)
    copy.weights[0].assign(copy.weights[0] + 1.0)
    np.testing.assert_array_equal(network(codes), expected)
    assert np.any(copy(codes) != expected)


@pytest.mark.parametrize(
    ("shape", "is_own"), [((32, 32, 3), False), ((28, 28, 3), True), ((28, 28, 3), False)]
)
def test_a_dropout_without_effect_is_refused(shape, is_own):
    networks = own_networks("dcgan", shape) if is_own else None
    options: dict[str, Any] = {"image_shape": shape, "networks": networks, "width": 1 / 16}
    assert small_model("dcgan", **options).has_dropout == (shape[0] == 28 and not is_own)
    if shape[0] == 28 and not is_own:
        small_model("dcgan", dropout_rate=0.5, **options)
    else:
        with pytest.raises(ValueError, match="no layer for .* images has dropout"):
            small_model("dcgan", dropout_rate=0.5, **options)

"""The stock methods and callbacks of Keras on a model with several players."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.model_cases import assert_same, small_images, small_model, two_replicas, values
from tests.tiny_training import IMAGE_SHAPE, DivergingAutoencoder, tiny_model
from tfdm.errors import DivergedError
from tfdm.models.config import AAEConfig
from tfdm.models.registry import MODELS
from tfdm.training.noise import ROW_STEP


def images(number: int = 16) -> np.ndarray:
    return small_images(number, IMAGE_SHAPE)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_evaluate_gives_all_terms_again_and_moves_nothing(name):
    model = small_model(name)
    model.compile()
    before = values(model.variables)
    first = model.evaluate(small_images(8), batch_size=4, verbose=0, return_dict=True)
    again = model.evaluate(small_images(8), batch_size=4, verbose=0, return_dict=True)
    assert first == again and {f"{p.name}_loss" for p in model.players} <= set(first)
    assert_same(values(model.variables), before)


@pytest.mark.parametrize("steps", [1, 2])
def test_history_holds_means_of_the_epoch_and_of_held_out_images(steps):
    seen = []
    model = tiny_model()
    model.compile()
    record = keras.callbacks.LambdaCallback(on_train_batch_end=lambda _, logs: seen.append(logs))
    model.fit(images(), batch_size=4, shuffle=False, verbose=0, callbacks=[record])
    model = tiny_model()
    model.compile(steps_per_execution=steps)
    held_out = images(24)[16:]
    history = model.fit(
        images(), batch_size=4, shuffle=False, verbose=0, validation_data=(held_out, None)
    ).history
    mean = np.mean([logs["error"] for logs in seen])
    assert len(seen) == 4 and history["error"] == [pytest.approx(mean, rel=1e-6)]
    expected = model.evaluate(held_out, batch_size=4, verbose=0, return_dict=True)
    assert history["val_error"] == [pytest.approx(expected["error"], rel=1e-6)]


def test_fit_stops_at_a_loss_that_is_not_finite():
    model = DivergingAutoencoder(AAEConfig(latent_dim=3), IMAGE_SHAPE, 0)
    model.compile()
    with pytest.raises(DivergedError, match="generator_loss is not finite at step 7"):
        model.fit(images(40), batch_size=4, verbose=0)


def test_callbacks_scale_the_rates_of_all_players():
    model = tiny_model()
    model.optimizers["generator"].learning_rate = 4e-3
    model.compile()
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2.0)
    model.fit(images(), batch_size=8, epochs=2, verbose=0, callbacks=[schedule])
    rates = [float(o.learning_rate.numpy()) for o in model.optimizers.values()]
    assert rates == pytest.approx([2.5e-4, 1e-3])


@pytest.mark.parametrize("name", ["optimizer", "loss", "metrics"])
def test_compile_refuses_what_the_players_have(name):
    with pytest.raises(ValueError, match=f"compile takes no {name}"):
        tiny_model().compile(**{name: "adam"})


def test_batches_with_labels_train_as_images_do():
    x, labels = images(), np.arange(16)
    expected = tiny_model()
    expected.compile()
    expected.fit(x, batch_size=4, shuffle=False, verbose=0)
    for data in ({"image": x, "label": labels}, (x, labels)):
        model = tiny_model()
        model.compile()
        model.fit(tf.data.Dataset.from_tensor_slices(data).batch(4), verbose=0)
        assert_same(values(model.variables), values(expected.variables))


@pytest.mark.parametrize(
    "wrong, message",
    [
        (np.full([4, *IMAGE_SHAPE], 200.0, np.float32), r"float32 in \[200, 200\], expected uint8"),
        (np.full([4, *IMAGE_SHAPE], -1.0, np.float32), r"float32 in \[-1, -1\], expected uint8"),
        (np.zeros([4, 28, 28], np.uint8), r"images have shape \(.*, 28, 28\), expected \[B, 28"),
    ],
)
def test_images_of_another_range_or_rank_are_refused(wrong, message):
    model = tiny_model()
    model.compile()
    on_images = (model.encode, model.posterior, model.reconstruct)
    on_batches = (model.train_on_batch, model.test_on_batch)
    for use in (model.fit, model.evaluate, *on_images, *on_batches):
        with pytest.raises(ValueError, match=message):
            use(wrong)
    labelled = tf.data.Dataset.from_tensor_slices({"image": wrong, "label": np.zeros(4)})
    for data in (labelled.batch(2), ((part,) for part in (wrong, wrong))):
        with pytest.raises(ValueError, match=message):
            model.fit(data, verbose=0)
    with pytest.raises(ValueError, match=message):
        model.fit(images(), validation_data=(wrong, None))
    assert int(model.step.numpy()) == 0


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "mixed_float16"])
def test_other_precisions_are_refused(dtype):
    with pytest.raises(ValueError, match=f"dtype is {dtype}, expected float32"):
        small_model("vae", dtype=dtype)


def test_many_samples_are_those_of_smaller_calls():
    model = tiny_model()
    codes = model.sample_codes(1100)
    many = model.decode(codes).numpy()
    np.testing.assert_allclose(many[600:], model.decode(codes[600:]), atol=1e-6)
    assert model.generate(1100).shape == (1100, *IMAGE_SHAPE)


def test_codes_of_many_images_are_those_of_one_call(monkeypatch):
    model = small_model("vae")
    x = small_images(2 * ROW_STEP + 3)
    whole = model.encode(x, seed=3).numpy()
    monkeypatch.setattr("tfdm.training.model.BLOCK", ROW_STEP)
    np.testing.assert_allclose(model.encode(x, seed=3), whole, atol=1e-6)


@pytest.mark.parametrize("number, size, rows", [(11, 8, 3), (7, 4, 3), (10, 5, 5)])
def test_batches_that_replicas_cannot_share_are_refused_before_a_step(number, size, rows):
    with two_replicas().scope():
        model = tiny_model()
    model.compile()
    with pytest.raises(ValueError, match=f"have a batch of {rows}, expected a multiple of 2"):
        model.fit(images(number), batch_size=size, verbose=0)
    assert int(model.step.numpy()) == 0


def test_a_data_set_with_batches_that_replicas_cannot_share_is_refused():
    with two_replicas().scope():
        model = tiny_model()
    model.compile()
    data = tf.data.Dataset.from_tensor_slices(images(11))
    with pytest.raises(ValueError, match="an unknown number of images, .* drop_remainder=True"):
        model.fit(data.batch(8), verbose=0)
    with pytest.raises(ValueError, match="batches have 5 images, expected a multiple of 2"):
        model.fit(data.batch(5, drop_remainder=True), verbose=0)
    with pytest.raises(ValueError, match="have a batch of 3"):
        model.evaluate(images(11), batch_size=8, verbose=0)


def test_the_history_counts_every_image_once():
    seen = []
    model = tiny_model()
    model.compile()
    record = keras.callbacks.LambdaCallback(on_train_batch_end=lambda _, logs: seen.append(logs))
    history = model.fit(
        images(12), batch_size=8, shuffle=False, verbose=0, callbacks=[record]
    ).history
    first, second = (logs["error"] for logs in seen)
    assert history["error"] == [pytest.approx((8 * first + 4 * second) / 12, rel=1e-6)]


def test_export_of_keras_maps_codes_to_images(tmp_path):
    model = small_model("vae")
    model.export(tmp_path / "model", verbose=False)
    codes = model.sample_codes(2)
    loaded = tf.saved_model.load(tmp_path / "model")
    np.testing.assert_allclose(loaded.serve(codes), model.decode(codes), atol=1e-6)

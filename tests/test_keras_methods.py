"""Every public method of `keras.Model` and every stock callback works or refuses in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.model_cases import (
    LATENT_DIM,
    assert_same,
    small_images,
    small_model,
    two_replicas,
    values,
)
from tests.test_training_keras import images
from tests.tiny_training import tiny_model

CODES = np.zeros([2, LATENT_DIM], np.float32)
SHAPE = (None, LATENT_DIM)

# What a method is called with; a method that is not here needs no argument.
CALLS = {
    "add_loss": lambda model: model.add_loss(1.0),
    "build": lambda model: model.build(SHAPE),
    "build_from_config": lambda model: model.build_from_config({"input_shape": SHAPE}),
    "call": lambda model: model.call(CODES),
    "compile_from_config": lambda model: model.compile_from_config(model.get_compile_config()),
    "compiled_loss": lambda model: model.compiled_loss(CODES, CODES),
    "compute_mask": lambda model: model.compute_mask(CODES, None),
    "compute_metrics": lambda model: model.compute_metrics(CODES, None, None),
    "compute_output_shape": lambda model: model.compute_output_shape(SHAPE),
    "compute_output_spec": lambda model: model.compute_output_spec(keras.KerasTensor(SHAPE)),
    "evaluate": lambda model: model.evaluate(small_images(4), verbose=0),
    "fit": lambda model: model.fit(small_images(4), verbose=0),
    "from_config": lambda model: type(model).from_config(model.get_config()),
    "get_layer": lambda model: model.get_layer("encoder"),
    "load_own_variables": lambda model: model.load_own_variables(own_variables(model)),
    "predict": lambda model: model.predict(CODES, verbose=0),
    "predict_on_batch": lambda model: model.predict_on_batch(CODES),
    "predict_step": lambda model: model.predict_step(tf.constant(CODES)),
    "quantize": lambda model: model.quantize("int8"),
    "quantized_call": lambda model: model.quantized_call(CODES),
    "rematerialized_call": lambda model: model.rematerialized_call(model.call)(CODES),
    "save_own_variables": lambda model: model.save_own_variables({}),
    "set_state_tree": lambda model: model.set_state_tree(model.get_state_tree()),
    "set_weights": lambda model: model.set_weights(model.get_weights()),
    "stateless_call": lambda model: model.stateless_call(
        [v.value for v in model.trainable_variables],
        [v.value for v in model.non_trainable_variables],
        CODES,
    ),
    "summary": lambda model: model.summary(print_fn=lambda *_, **__: None),
    "symbolic_call": lambda model: model.symbolic_call(keras.KerasTensor(SHAPE)),
    "test_on_batch": lambda model: model.test_on_batch(small_images(4)),
    "test_step": lambda model: model.test_step(tf.constant(small_images(4))),
    "train_on_batch": lambda model: model.train_on_batch(small_images(4)),
    "train_step": lambda model: model.train_step(tf.constant(small_images(4))),
}  # fmt: skip
FILES = {"export": "export", "save": "model.keras", "save_weights": "w.weights.h5"}
# They are for a constructor.
NOT_CALLED = {"add_variable", "add_weight"}
REFUSED = {
    "add_loss",
    "add_metric",
    "compiled_loss",
    "compute_loss",
    "distribute_reduction_method",
    "input",
    "output",
    "quantize",
    "quantized_build",
    "quantized_call",
    "stateless_compute_loss",
}


def own_variables(model):
    store = {}
    model.save_own_variables(store)
    return store


def test_every_public_name_of_a_keras_model_works_or_refuses_in_one_line(tmp_path):
    model = small_model("vae")
    model.compile()
    model.save_weights(tmp_path / "w.weights.h5")
    refused = {}
    names = {name for name in dir(keras.Model) if not name.startswith("_")}
    for name in sorted(names - NOT_CALLED):
        try:
            attribute = getattr(model, name)
            if name in CALLS:
                CALLS[name](model)
            elif name in FILES:
                attribute(tmp_path / FILES[name])
            elif name == "load_weights":
                attribute(tmp_path / FILES["save_weights"])
            elif callable(attribute) and name != "distribute_strategy":
                attribute()
        except (AttributeError, NotImplementedError, ValueError, TypeError) as error:
            refused[name] = str(error)
    assert set(refused) == REFUSED, refused
    assert all("\n" not in message for message in refused.values()), refused


def test_images_in_place_of_codes_are_refused():
    with pytest.raises(ValueError, match=r"expected ndim=2, found ndim=4.*\(2, 28, 28, 3\)"):
        small_model("vae")(small_images(2))


@pytest.mark.parametrize("weights", ["sample_weight", "class_weight"])
def test_weights_are_refused(weights):
    model = tiny_model()
    model.compile()
    with pytest.raises(ValueError, match=f"{weights} is given, but the players' losses have none"):
        model.fit(images(), np.zeros(16), **{weights: np.ones(16)})
    pairs = tf.data.Dataset.from_tensors((images(), np.zeros(16), np.ones(16)))
    with pytest.raises(ValueError, match="a batch has weights"):
        model.fit(pairs)


CALLBACKS = {
    "BackupAndRestore": lambda folder: keras.callbacks.BackupAndRestore(folder),
    "CSVLogger": lambda folder: keras.callbacks.CSVLogger(folder / "log.csv"),
    "EarlyStopping": lambda folder: keras.callbacks.EarlyStopping(
        "val_error", mode="min", patience=0, restore_best_weights=True
    ),
    "ModelCheckpoint": lambda folder: keras.callbacks.ModelCheckpoint(
        folder / "best.weights.h5", "val_error", 0, True, True, "min"
    ),
    "LearningRateScheduler": lambda folder: keras.callbacks.LearningRateScheduler(
        lambda epoch, rate: rate / 2.0
    ),
    "OrbaxCheckpoint": lambda folder: keras.callbacks.OrbaxCheckpoint(folder),
    "ReduceLROnPlateau": lambda folder: keras.callbacks.ReduceLROnPlateau(
        "val_error", 0.5, patience=1, mode="min", min_delta=1e3
    ),
    "RemoteMonitor": lambda folder: keras.callbacks.RemoteMonitor("http://127.0.0.1:9"),
    "TensorBoard": lambda folder: keras.callbacks.TensorBoard(
        folder, histogram_freq=1, update_freq=1, write_steps_per_second=True
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Could not reach RemoteMonitor")
def test_every_stock_callback_works_or_refuses_in_one_line(tmp_path):
    refused = {}
    names = {name for name in dir(keras.callbacks) if name[0].isupper()}
    for name in sorted(names - {"CallbackList"}):  # which is no callback
        kind, folder = getattr(keras.callbacks, name), tmp_path / name
        folder.mkdir()
        model = tiny_model()
        model.compile()
        try:
            callback = CALLBACKS[name](folder) if name in CALLBACKS else kind()
            model.fit(
                images(), batch_size=8, epochs=3, validation_split=0.5, verbose=0,
                callbacks=[callback],
            )  # fmt: skip
        except (ValueError, ImportError) as error:
            refused[name] = str(error)
        rates = [float(o.learning_rate.numpy()) for o in model.optimizers.values()]
        factor = {"LearningRateScheduler": 0.125, "ReduceLROnPlateau": 0.25}.get(name, 1.0)
        assert rates == pytest.approx([1e-3 * factor] * 2), name
    assert set(refused) <= {"OrbaxCheckpoint", "SwapEMAWeights"}, refused
    assert "SwapEMAWeights" in refused
    assert all("\n" not in message for message in refused.values())


def test_a_saved_model_is_loaded_after_nothing_but_import_tfdm(tmp_path):
    """In both orders of the imports, in a fresh process."""
    model = small_model("aae_gan")
    model.save(tmp_path / "model.keras")
    expected = model.decode(CODES).numpy()
    for first, second in (("tfdm", "keras"), ("keras", "tfdm")):
        code = (
            f"import sys, {first}\n"
            f"assert {first != 'tfdm'} or not {{'keras', 'tensorflow'}} & set(sys.modules)\n"
            f"import numpy as np, {second}\n"
            f"model = keras.models.load_model({str(tmp_path / 'model.keras')!r})\n"
            f"np.save({str(tmp_path / first)!r}, model.decode(np.zeros([2, 4], np.float32)))\n"
        )
        root = Path(__file__).parents[1]
        subprocess.run([sys.executable, "-c", code], cwd=root, check=True, timeout=200)
        np.testing.assert_allclose(np.load(tmp_path / f"{first}.npy"), expected, atol=1e-6)


def test_a_replica_that_evaluates_gives_the_numbers_of_one_device():
    with two_replicas().scope():
        mirrored = small_model("aae_plus_plus", image_shape=(16, 16, 3))
        mirrored.compile()
    single = small_model("aae_plus_plus", image_shape=(16, 16, 3))
    single.compile()
    x, before = small_images(12, (16, 16, 3)), values(mirrored.variables)
    found, expected = (
        model.evaluate(x, batch_size=8, verbose=0, return_dict=True) for model in (mirrored, single)
    )
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert_same(values(mirrored.variables), before)

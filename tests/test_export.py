"""SavedModels: loaded by a process that has neither this package nor Keras."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf

from tests.tiny_training import IMAGE_SHAPE, tiny_model
from tfdm.distributions.posteriors import ImplicitPosterior
from tfdm.experiments.export import export_model, exported_folders, is_exported
from tfdm.models.dcgan import DCGAN
from tfdm.models.vae import VAE

STRANGER = textwrap.dedent(
    """
    import sys

    import numpy as np
    import tensorflow as tf

    FOREIGN = ("tfdm", "keras", "tf_keras", "tensorflow_probability")

    class Refuse:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in FOREIGN:
                raise ImportError(f"this process has no {name}")

    # TensorFlow cannot be imported without Keras; from here on there is none.
    for name in [name for name in sys.modules if name.split(".")[0] in FOREIGN]:
        del sys.modules[name]
    sys.meta_path.insert(0, Refuse())

    folder, inputs, outputs = sys.argv[1:]
    signature = tf.saved_model.load(folder).signatures["serving_default"]
    with np.load(inputs) as given:
        results = signature(**{name: tf.constant(given[name]) for name in given.files})
    np.savez(outputs, **{name: value.numpy() for name, value in results.items()})
    """
)


def call_as_stranger(tmp_path, folder, **inputs):
    """Calls `serving_default` in a process that refuses to import what made the model."""
    np.savez(tmp_path / "inputs.npz", **inputs)
    script = tmp_path / "stranger.py"
    script.write_text(STRANGER)
    arguments = [str(folder), str(tmp_path / "inputs.npz"), str(tmp_path / "outputs.npz")]
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "outputs.npz") as results:
        return {name: results[name] for name in results.files}


def signature_of(folder, name="serving_default"):
    return tf.saved_model.load(str(folder)).signatures[name]


def spec_of(specs):
    return {name: (spec.shape.as_list(), spec.dtype) for name, spec in specs.items()}


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    model = VAE({"width": 0.25, "latent_dim": 7})
    folder = tmp_path_factory.mktemp("vae")
    export_model(model, folder)
    return model, folder


def test_a_stranger_makes_the_images_that_the_model_makes(vae, tmp_path, rng):
    model, folder = vae
    codes = rng.normal(size=(5, 7)).astype(np.float32)
    results = call_as_stranger(tmp_path, folder / "generator", z=codes)
    assert list(results) == ["images"]
    images = results["images"]
    assert images.shape == (5, 28, 28, 3) and images.dtype == np.float32
    assert images.min() >= 0.0 and images.max() <= 1.0 and images.std() > 0.0
    np.testing.assert_allclose(images, model.generate(codes), atol=1e-6)


def test_a_stranger_infers_the_posterior_that_the_model_infers(vae, tmp_path, rng):
    model, folder = vae
    images = rng.random((3, 28, 28, 3), np.float32)
    results = call_as_stranger(tmp_path, folder / "encoder", images=images)
    posterior = model.posterior(images)
    assert sorted(results) == ["loc", "scale", "z"]
    np.testing.assert_allclose(results["loc"], posterior.loc, atol=1e-6)
    np.testing.assert_allclose(results["scale"], posterior.scale, atol=1e-6)
    np.testing.assert_array_equal(results["z"], results["loc"])
    assert results["scale"].min() > 0.0


def test_inputs_and_outputs_are_named_and_of_any_batch_size(vae):
    _, folder = vae
    generator, encoder = signature_of(folder / "generator"), signature_of(folder / "encoder")
    codes, images = ([None, 7], tf.float32), ([None, 28, 28, 3], tf.float32)
    assert spec_of(generator.structured_input_signature[1]) == {"z": codes}
    assert spec_of(generator.structured_outputs) == {"images": images}
    assert spec_of(encoder.structured_input_signature[1]) == {"images": images}
    assert spec_of(encoder.structured_outputs) == {"z": codes, "loc": codes, "scale": codes}
    for number in (0, 1, 9):
        assert generator(z=tf.zeros([number, 7]))["images"].shape[0] == number
    decode = signature_of(folder / "generator", "decode")
    assert spec_of(decode.structured_input_signature[1]) == {"codes": codes}
    made = [decode(codes=tf.ones([2, 7])), generator(z=tf.ones([2, 7]))]
    np.testing.assert_array_equal(*[images["images"] for images in made])


def test_a_row_does_not_depend_on_its_batch(vae, rng):
    """Batch norm is in inference mode."""
    generator = signature_of(vae[1] / "generator")
    codes = rng.normal(size=(6, 7)).astype(np.float32)
    whole = generator(z=tf.constant(codes))["images"]
    np.testing.assert_allclose(generator(z=tf.constant(codes[:1]))["images"], whole[:1], atol=1e-6)


def test_only_the_networks_that_are_used_travel(vae):
    """Neither the other network nor optimisers: as many variables as the network has."""
    model, folder = vae
    for name, network in (("generator", model.generator), ("encoder", model.encoder)):
        saved = tf.train.list_variables(str(folder / name / "variables" / "variables"))
        weights = [shape for key, shape in saved if key.startswith("networks/")]
        assert sorted(map(tuple, weights)) == sorted(tuple(w.shape) for w in network.weights)


def test_a_model_that_does_not_infer_has_no_encoder(tmp_path):
    model = DCGAN({"width": 0.125, "latent_dim": 4})
    written = export_model(model, tmp_path)
    assert written == exported_folders(False, tmp_path) == [tmp_path / "generator"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["generator"]
    assert is_exported(tmp_path / "generator") and not is_exported(tmp_path / "encoder")


def test_a_moving_average_is_what_is_exported(tmp_path, rng):
    model = DCGAN({"width": 0.125, "latent_dim": 4, "ema_decay": 0.9})
    for weight in model.generator_average.weights:
        weight.assign(weight * 0.5)
    export_model(model, tmp_path)
    codes = rng.normal(size=(3, 4)).astype(np.float32)
    images = signature_of(tmp_path / "generator")(z=tf.constant(codes))["images"]
    np.testing.assert_allclose(images, model.generate(codes), atol=1e-6)
    live = model.to_unit_range(model.generator(codes, training=False))
    assert np.abs(images - live).max() > 1e-4


def test_a_deterministic_encoder_gives_its_code(tmp_path, rng):
    model = tiny_model(encoder="deterministic")
    assert export_model(model, tmp_path) == exported_folders(True, tmp_path)
    images = rng.random((4, *IMAGE_SHAPE), np.float32)
    results = signature_of(tmp_path / "encoder")(images=tf.constant(images))
    assert list(results) == ["z"]
    np.testing.assert_allclose(results["z"], model.encode(images), atol=1e-6)


def test_an_implicit_encoder_gives_a_fresh_sample_at_every_call(tmp_path, monkeypatch, rng):
    """Here q(z|x) is N(f(x), 1): the samples scatter around f(x)."""

    def infer(self, images, training):
        centre = self.encoder(images, training=training)
        return ImplicitPosterior(lambda noise: centre + noise, tf.shape(images)[0], 3)

    monkeypatch.setattr(type(tiny_model()), "infer", infer)
    model = tiny_model(encoder="implicit")
    export_model(model, tmp_path)
    encode = signature_of(tmp_path / "encoder")
    images = np.repeat(rng.random((1, *IMAGE_SHAPE), np.float32), 4000, axis=0)
    first, second = (encode(images=tf.constant(images))["z"].numpy() for _ in range(2))
    assert np.abs(first - second).max() > 0.1
    centre = model.encoder(images[:1] * 2.0 - 1.0).numpy()
    noise = np.concatenate([first, second]) - centre
    standard_error = 1.0 / np.sqrt(len(noise))
    np.testing.assert_allclose(noise.mean(axis=0), 0.0, atol=5.0 * standard_error)
    np.testing.assert_allclose(noise.std(axis=0), 1.0, atol=5.0 * standard_error)


def test_an_export_replaces_the_one_before(tmp_path):
    export_model(tiny_model(seed=1), tmp_path)
    model = tiny_model(seed=2)
    export_model(model, tmp_path)
    codes = np.eye(3, dtype=np.float32)
    images = signature_of(tmp_path / "generator")(z=tf.constant(codes))["images"]
    np.testing.assert_allclose(images, model.generate(codes), atol=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["encoder", "generator"]

"""The training of the classifiers: schedule, network, whitening, the step, averages, resuming."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfdm.datasets.order import batch_indices
from tfdm.eval.classifiers import training as classifier_training
from tfdm.eval.classifiers.config import MINIMUM_SIDE, ClassifierConfig
from tfdm.eval.classifiers.network import PartialIdentity, image_classifier, whiten
from tfdm.eval.classifiers.training import ClassifierTraining, OneCycle, smaller
from tfdm.runs import CheckpointStore
from tfdm.training.loop import run_resumable
from tfdm.training.state import capture_state

WIDTHS = (4, 8, 8)
TINY = {
    "width1": 4, "width2": 8, "width3": 8, "batch_size": 8, "epochs": 2, "average_epochs": 0,
    "small_share": 0.0, "small_side": 24, "cutout": 0, "translate": 0, "flip": False,
    "precision": "float32", "learning_rate": 0.1,
}  # fmt: skip


def _config(**changes: Any) -> ClassifierConfig:
    return ClassifierConfig(**{**TINY, **changes})


def _data(rng: np.random.Generator, number: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    images = rng.integers(0, 256, (number, side, side, 3), dtype=np.uint8)
    return images, rng.integers(0, 10, number)


def _run(training: ClassifierTraining, **options: Any) -> None:
    run_resumable(training, training.num_steps, **options)


def _skip_steps(training: ClassifierTraining) -> list[np.ndarray]:
    """Lets the training do nothing but hand over its batches, which the result lists."""
    batches: list[np.ndarray] = []

    def step(images: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
        batches.append(images)
        return 0.0, 0.0

    training._train_step = step
    return batches


def _rate(step: int, peak: float, steps: int, warm_up: float) -> float:
    """The middle of the step on the lines (0, peak / 5), (warm_up, peak), (1, 0)."""
    return float(np.interp((step + 0.5) / steps, [0, warm_up, 1], [0.2 * peak, peak, 0]))


@pytest.mark.parametrize(("steps", "warm_up"), [(100, 0.23), (7, 0.5), (1, 0.23)])
def test_the_rate_rises_and_falls_in_lines(steps, warm_up):
    schedule = OneCycle(0.42, steps, warm_up)
    rates = [float(schedule(step)) for step in range(steps)]
    expected = [_rate(step, 0.42, steps, warm_up) for step in range(steps)]
    np.testing.assert_allclose(rates, expected, rtol=1e-5)
    # Half a step before the first, at the turn, and half a step after the last.
    ends = [float(schedule(at)) for at in (-0.5, warm_up * steps - 0.5, steps - 0.5)]
    np.testing.assert_allclose(ends, [0.084, 0.42, 0], rtol=1e-5, atol=1e-7)


def test_a_cycle_may_only_fall_or_only_rise():
    falling, rising = OneCycle(1.0, 10, 0.0), OneCycle(1.0, 10, 1.0)
    steps = np.arange(10)
    np.testing.assert_allclose(falling(steps), 1 - (steps + 0.5) / 10, rtol=1e-5)
    np.testing.assert_allclose(rising(steps), 0.2 + 0.8 * (steps + 0.5) / 10, rtol=1e-5)


def test_whitening_by_an_independent_computation(rng):
    # Directions of variances around the epsilon of 5e-4, some of them nearly empty.
    scales = np.array([0.05, 0.02, 0.002])
    images = np.clip(0.5 + scales * rng.standard_normal((40, 12, 12, 3)), 0, 1)
    images[:, 1:] = (images[:, 1:] + images[:, :-1]) / 2
    images = images.astype(np.float32)
    network = image_classifier(WIDTHS)
    whiten(network, images)
    responses = network.get_layer("whitening")(images).numpy().astype(np.float64)
    np.testing.assert_allclose(responses[..., 12:], -responses[..., :12], atol=1e-4)
    rows = responses[..., :12].reshape(-1, 12)

    patches = np.array(
        [
            image[row : row + 2, column : column + 2].ravel()
            for image in images.astype(np.float64)
            for row, column in itertools.product(range(11), range(11))
        ]
    )
    centred = patches - patches.mean(axis=0)
    singular = np.linalg.svd(centred, compute_uv=False)[::-1]
    variances = singular**2 / (len(patches) - 1)
    assert variances.min() < 5e-4 < variances.max()
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-4)
    expected = np.diag(variances / (variances + 5e-4))
    np.testing.assert_allclose(np.cov(rows, rowvar=False), expected, atol=2e-4)
    # The responses are turned patches: their Gram matrix in the whitened metric is the patches'.
    covariance = np.cov(patches, rowvar=False)
    metric = np.linalg.inv(covariance + 5e-4 * np.eye(12))
    some = slice(0, None, 97)
    np.testing.assert_allclose(
        rows[some] @ rows[some].T, centred[some] @ metric @ centred[some].T, atol=2e-3
    )


@pytest.mark.parametrize(("inputs", "outputs"), [(4, 6), (6, 4), (5, 5)])
def test_first_maps_pass_inputs(inputs, outputs, rng, seed):
    kernel = np.array(PartialIdentity(seed)((3, 3, inputs, outputs)))
    assert kernel.dtype == np.float32
    images = rng.standard_normal((2, 7, 7, inputs)).astype(np.float32)
    passed = min(inputs, outputs)
    maps = tf.nn.conv2d(images, kernel, 1, "SAME").numpy()
    np.testing.assert_array_equal(maps[..., :passed], images[..., :passed])
    again = PartialIdentity(seed)((3, 3, inputs, outputs))
    np.testing.assert_array_equal(again, kernel)


def test_the_other_maps_are_drawn_uniformly(seed):
    drawn = np.array(PartialIdentity(seed)((3, 3, 8, 108)))[..., 8:].astype(np.float64)
    bound = 72**-0.5
    assert 0.99 * bound < np.abs(drawn).max() <= bound * (1 + 1e-6)
    assert abs(drawn.mean()) < 4 * bound / np.sqrt(3 * drawn.size)
    # The variance of u^2 for u uniform in [-1, 1] is 1/5 - 1/9.
    error = bound**2 * np.sqrt((1 / 5 - 1 / 9) / drawn.size)
    assert abs(np.mean(drawn**2) - bound**2 / 3) < 4 * error
    other = np.array(PartialIdentity(seed + 1)((3, 3, 8, 108)))
    assert not np.isclose(other[..., 8:], drawn).all(axis=(0, 1, 2)).any()


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_the_network_takes_any_side(dtype, rng, seed):
    network = image_classifier(WIDTHS, num_classes=10, seed=seed, dtype=dtype)
    whiten(network, rng.random((20, 24, 24, 3), np.float32))
    for side in (MINIMUM_SIDE, 24, 28, 32):
        images = rng.random((3, side, side, 3), np.float32)
        logits, features = network(images, training=False)
        assert logits.shape == (3, 10) and features.shape == (3, WIDTHS[-1])
        assert logits.dtype == features.dtype == tf.float32
        assert np.isfinite(logits).all() and np.isfinite(features).all()
        assert (np.std(logits, axis=0) > 0).all()
        head = network.get_layer("head").kernel.numpy()
        np.testing.assert_allclose(logits, features.numpy() @ head / 9, rtol=1e-4, atol=1e-5)
    compute = "float32" if dtype == "float32" else "bfloat16"
    assert network.get_layer("block1_conv0").compute_dtype == compute
    assert {variable.dtype for variable in network.variables} == {"float32"}


def test_weights_are_a_function_of_the_seed(seed):
    first, same, other = (image_classifier(WIDTHS, seed=s) for s in (seed, seed, seed + 1))
    drawn = [layer for layer in first.layers if layer.name.endswith(("conv0", "conv1", "head"))]
    assert len(drawn) == 7
    for layer in drawn:
        kernel, others = layer.kernel.numpy(), other.get_layer(layer.name).kernel.numpy()
        np.testing.assert_array_equal(same.get_layer(layer.name).kernel, kernel)
        # A convolution with no more outputs than inputs passes its inputs and draws nothing.
        is_drawn = layer.name == "head" or kernel.shape[-1] > kernel.shape[-2]
        assert (others != kernel).any() == is_drawn, layer.name


def test_gains_and_whitening_are_not_trained(rng, seed):
    training = ClassifierTraining(*_data(rng, 16, 24), _config(epochs=1, seed=seed))
    before = {variable.path: variable.numpy() for variable in training.variables}
    _run(training)
    changed = {
        variable.path: bool((variable.numpy() != before[variable.path]).any())
        for variable in training.variables
    }
    assert len(changed) == 2 + 6 + 6 * 4 + 1
    for path, is_changed in changed.items():
        layer, name = path.split("/")[-2:]
        trained = name == "beta" or (name == "kernel" and layer != "whitening")
        assert is_changed == (trained or name.startswith("moving_")), path
    for index in range(6):
        gain = training.network.get_layer(f"block{index // 2}_norm{index % 2}").gamma
        np.testing.assert_array_equal(gain, 1)


def test_steps_are_those_of_sgd_with_nesterov_and_decay(rng, seed):
    config = _config(epochs=2, seed=seed, weight_decay=0.3, momentum=0.8, bias_rate=5.0)
    training = ClassifierTraining(*_data(rng, 12, 24), config)
    assert training.num_steps == 3
    trained = {v.path.split("/", 1)[-1]: v for v in training.network.trainable_variables}
    weights = {name: v.numpy().astype(np.float64) for name, v in trained.items()}
    velocity = {name: np.zeros_like(array) for name, array in weights.items()}
    step, take = 0, training._train_step
    reported: list[tuple[float, float]] = []
    computed: list[tuple[float, float]] = []

    def follow(images: np.ndarray, labels: np.ndarray) -> Any:
        nonlocal step
        with tf.GradientTape() as tape:
            logits = training.network(images, training=True)[0]
            hits = tf.reduce_sum(tf.one_hot(labels, 10) * tf.nn.log_softmax(logits), axis=1)
            loss = -tf.reduce_mean(hits)
        gradients = tape.gradient(loss, [v.value for v in trained.values()])
        computed.append((float(loss), float(np.mean(np.argmax(logits, axis=1) == labels))))
        for name, gradient in zip(trained, gradients, strict=True):
            is_bias = name.endswith("beta")
            rate = _rate(step, 0.1 * (5 if is_bias else 1), 3, config.warm_up)
            gradient, old = gradient.numpy().astype(np.float64), weights[name]
            velocity[name] = 0.8 * velocity[name] - rate * gradient
            decayed = old if is_bias else old * (1 - 0.3 * rate)
            weights[name] = decayed + 0.8 * velocity[name] - rate * gradient
        step += 1
        return take(images, labels)

    training._train_step = follow
    _run(training, progress=lambda *report: reported.append(tuple(report[2].values())))
    assert step == 3
    np.testing.assert_allclose(reported, computed, rtol=1e-4)
    for name, variable in trained.items():
        np.testing.assert_allclose(
            variable.numpy(), weights[name], rtol=1e-3, atol=1e-4, err_msg=name
        )


def test_first_steps_see_small_images(rng, monkeypatch):
    images, labels = _data(rng, 20, 32)
    config = _config(epochs=4, small_share=0.6, translate=4, cutout=8, flip=True)
    training = ClassifierTraining(images, labels, config)
    assert training.num_steps == 10
    batches = _skip_steps(training)
    asked: list[dict[str, Any]] = []
    augment = classifier_training.augment

    def spy(*arguments: Any, **options: Any) -> np.ndarray:
        asked.append(options)
        return augment(*arguments, **options)

    monkeypatch.setattr(classifier_training, "augment", spy)
    _run(training)
    assert [batch.shape for batch in batches] == 6 * [(8, 24, 24, 3)] + 4 * [(8, 32, 32, 3)]
    assert [options["translate"] for options in asked] == 6 * [3] + 4 * [4]
    assert [options["cutout"] for options in asked] == 6 * [6] + 4 * [8]
    assert [options["step"] for options in asked] == list(range(10))
    for batch, side in zip(batches, 6 * [6] + 4 * [8], strict=True):
        # Sums over a square: mid-grey elsewhere has probability nil.
        assert ((batch == 0.5).all(axis=-1).sum(axis=(1, 2)) == side**2).all()


def test_batches_are_in_the_order_of_the_seed(rng, seed):
    images, labels = _data(rng, 16, 28)
    training = ClassifierTraining(images, labels, _config(small_share=0.5, seed=seed))
    seen: list[np.ndarray] = []
    batches = _skip_steps(training)
    step = training._train_step
    training._train_step = lambda x, y: (seen.append(y), step(x, y))[1]
    _run(training)
    assert len(batches) == 4
    for epoch, source in enumerate([smaller(images, 24), images]):
        both = np.concatenate(batches[2 * epoch : 2 * epoch + 2])
        classes = np.concatenate(seen[2 * epoch : 2 * epoch + 2])
        plain = (source / np.float32(255)).astype(np.float32)
        matches = (both[:, None] == plain[None]).all(axis=(2, 3, 4))
        order = matches.argmax(axis=1)
        assert sorted(order) == list(range(16))
        np.testing.assert_array_equal(classes, labels[order])


def test_smaller_images_are_bilinear_and_antialiased(rng):
    images = rng.integers(0, 256, (7, 32, 32, 3), dtype=np.uint8)
    images[0] = 255
    result = smaller(images, 24, block=3)
    assert result.dtype == np.uint8 and result.shape == (7, 24, 24, 3)
    assert (result[0] == 255).all()
    expected = [
        np.asarray(Image.fromarray(image).resize((24, 24), Image.Resampling.BILINEAR))
        for image in images
    ]
    # Pillow rounds after each axis.
    assert np.abs(result.astype(int) - np.array(expected)).max() <= 1


def test_images_without_labels_are_refused(rng):
    images, labels = _data(rng, 16, 24)
    with pytest.raises(ValueError, match="16 images have 15 labels"):
        ClassifierTraining(images, labels[1:], _config())


# --- Averages ----------------------------------------------------------------------------------


def _training(rng_seed: int, **changes: object) -> ClassifierTraining:
    """Twenty images in batches of five, with averages over the last epoch."""
    fields = {"batch_size": 5, "epochs": 3, "average_epochs": 1, "average_rate": 0.3}
    fields |= {"translate": 2, "flip": True, "learning_rate": 0.05, **changes}
    return ClassifierTraining(*_data(np.random.default_rng(rng_seed), 20, 24), _config(**fields))


def test_the_rate_stays_at_its_floor():
    falling, floored = OneCycle(2.0, 100, 0.2), OneCycle(2.0, 100, 0.2, floor=0.25)
    rates = np.array([[float(rate(step)) for step in range(130)] for rate in (falling, floored)])
    np.testing.assert_allclose(rates[1, :80], rates[0, :80])
    np.testing.assert_allclose(rates[1, 80:], 0.5)
    assert rates[0, 80] < 0.5 < rates[0, 79]
    assert rates[0, 100:].max() == 0.0


@pytest.mark.parametrize(("epochs", "share"), [(3, 0.3), (52, 0.05), (5, 1.0)])
def test_averaging_starts_with_the_floor(epochs, share):
    training = _training(0, epochs=epochs, average_rate=share)
    schedule = OneCycle(1.0, training.cycle_steps, training.config.warm_up)
    start = training.average_start
    assert float(schedule(start)) <= share + 1e-6
    assert float(schedule(start - 1)) > share or start == round(
        training.cycle_steps * training.config.warm_up
    )
    assert training.num_steps == start + 4  # One epoch of 20 images in batches of 5.


def test_without_averaging_the_cycle_goes_to_its_end():
    training = _training(0, average_epochs=0)
    assert training.average_start == training.num_steps == training.cycle_steps == 12
    assert training.finish() is training.network


def test_averages_are_the_mean_over_the_last_steps(seed):
    training = _training(seed)
    trained = training._kernels + training._biases
    seen: list[list[np.ndarray]] = []
    run_resumable(
        training,
        training.num_steps,
        progress=lambda *_: seen.append([variable.numpy().copy() for variable in trained]),
    )
    last = seen[training.average_start :]
    assert len(last) == 4
    expected = [np.mean(values, axis=0) for values in zip(*last, strict=True)]
    assert any(
        np.abs(e - values).max() > 1e-4 for e, values in zip(expected, last[-1], strict=True)
    )
    network = training.finish()
    for variable, value in zip(trained, expected, strict=True):
        np.testing.assert_allclose(variable.numpy(), value, rtol=1e-4, atol=1e-6)
    # The first moments are those of the first convolution over further batches.
    layers = ("whitening", "block0_conv0")
    means, variances = [], []
    for step in range(training.num_steps, training.num_steps + 40):
        batch = training._batch(batch_indices(20, 5, training.config.seed, step), step)
        hidden = np.maximum(np.asarray(network.get_layer(layers[0])(batch)), 0)
        outputs = np.asarray(network.get_layer(layers[1])(hidden), np.float64)
        number, height, width, maps = outputs.shape
        height, width = height // 2, width // 2
        cells = outputs[:, : 2 * height, : 2 * width].reshape(number, height, 2, width, 2, maps)
        pooled = cells.max(axis=(2, 4))
        means.append(pooled.mean(axis=(0, 1, 2)))
        variances.append(pooled.var(axis=(0, 1, 2)))
    norm = network.get_layer("block0_norm0")
    np.testing.assert_allclose(norm.moving_mean.numpy(), np.mean(means, axis=0), atol=1e-4)
    np.testing.assert_allclose(norm.moving_variance.numpy(), np.mean(variances, axis=0), rtol=1e-3)
    assert norm.momentum == 0.8


def test_a_training_stopped_among_averages_goes_on(seed, tmp_path):
    changes = {"precision": "mixed_bfloat16", "small_share": 0.5, "small_side": 23, "cutout": 4}
    whole = _training(seed, **changes)
    run_resumable(whole, whole.num_steps)
    stop_at = whole.average_start + 2

    def stop(step: int, *_: object) -> None:
        if step == stop_at + 1:
            raise KeyboardInterrupt

    store = CheckpointStore(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        options = {"store": store, "steps_a_save": stop_at, "progress": stop}
        run_resumable(_training(seed, **changes), whole.num_steps, **options)
    assert store.steps() == [stop_at]
    resumed = _training(seed, **changes)
    run_resumable(resumed, whole.num_steps, store=store)
    for training in (whole, resumed):
        training.finish()
    state, expected = capture_state(resumed), capture_state(whole)
    assert state.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(state[name], array, err_msg=name)

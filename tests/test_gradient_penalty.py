"""The gradient penalty against closed forms, its gradients and its refusals."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdm.gradient_penalty import gradient_penalty

SHAPE = (4, 3, 2, 2)
RNG = np.random.default_rng(0)
REAL = RNG.normal(size=SHAPE)
FAKE = RNG.normal(size=SHAPE)
WEIGHTS = np.array([0.0, 0.25, 0.6, 1.0])


def flat(images):
    return tf.reshape(images, [-1, 12])


@pytest.mark.parametrize("length", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("columns", [False, True])
def test_linear_critic_pays_its_distance_from_unit_norm(length, columns):
    """lambda (||w|| - 1)^2, and its gradient 2 lambda (||w|| - 1) w / ||w||."""
    direction = RNG.normal(size=12)
    vector = length * direction / np.linalg.norm(direction)
    variable = tf.Variable(vector)

    def critic(images):
        scores = tf.linalg.matvec(flat(images), variable) + 3.0
        return scores[:, None] if columns else scores

    with tf.GradientTape() as tape:
        penalties = gradient_penalty(critic, *map(tf.constant, (REAL, FAKE, WEIGHTS)))
        loss = 10.0 * tf.reduce_mean(penalties)
    gradient = tape.gradient(loss, variable)
    assert penalties.shape == [4] and penalties.dtype == tf.float64
    np.testing.assert_allclose(penalties, np.full(4, (length - 1) ** 2), rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(loss, 10.0 * (length - 1) ** 2, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(
        gradient, 20.0 * (length - 1) * vector / length, rtol=1e-9, atol=1e-12
    )


def test_quadratic_critic_shows_the_interpolates():
    """The critic ||x||^2 / 2 has gradient x: the penalty tells the norm of the interpolate."""
    penalties = gradient_penalty(
        lambda images: 0.5 * tf.reduce_sum(tf.square(flat(images)), axis=1),
        *map(tf.constant, (REAL, FAKE, WEIGHTS)),
    )
    alpha = WEIGHTS[:, None, None, None]
    norms = np.linalg.norm((alpha * REAL + (1 - alpha) * FAKE).reshape(4, 12), axis=1)
    np.testing.assert_allclose(penalties, (norms - 1) ** 2, rtol=1e-12)
    # Weight 1 is real, weight 0 is fake.
    assert float(penalties[3]) == pytest.approx((np.linalg.norm(REAL[3]) - 1) ** 2)
    assert float(penalties[0]) == pytest.approx((np.linalg.norm(FAKE[0]) - 1) ** 2)


@pytest.mark.parametrize("jit_compile", [None, True])
def test_one_dead_example_does_not_poison_the_batch(jit_compile):
    """The critic c * relu(x1) has slope zero in the first example and c in the second."""
    variable = tf.Variable(2.0, dtype=tf.float64)
    real = tf.constant([[-1.0, 0.5], [1.0, 0.5]], tf.float64)

    def penalised():
        with tf.GradientTape() as tape:
            penalties = gradient_penalty(
                lambda images: variable * tf.nn.relu(images[:, 0]), real, real, tf.ones([2])
            )
            loss = tf.reduce_sum(penalties)
        return penalties, tape.gradient(loss, variable)

    if jit_compile is not None:
        penalised = tf.function(penalised, jit_compile=jit_compile)
    penalties, gradient = penalised()
    np.testing.assert_allclose(penalties, [1.0, 1.0])
    assert float(gradient) == pytest.approx(2.0)  # 2 (c - 1), of the one that is alive


def test_maker_of_the_fakes_gets_no_gradient():
    fake, scale = tf.Variable(FAKE), tf.Variable(1.5, dtype=tf.float64)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(
            gradient_penalty(
                lambda images: scale * tf.reduce_sum(flat(images) ** 3, axis=1),
                tf.constant(REAL),
                fake,
                tf.constant(WEIGHTS),
            )
        )
    fake_gradient, scale_gradient = tape.gradient(loss, [fake, scale])
    assert fake_gradient is None
    assert float(scale_gradient) != 0.0


def test_bfloat16_convolutional_critic_gives_float32_penalties_near_the_float32_ones():
    images = tf.random.stateless_uniform([2, 5, 8, 8, 3], [0, 1])

    def penalties_and_gradient(policy):
        seeded = {"dtype": policy, "kernel_initializer": keras.initializers.GlorotUniform(seed=0)}
        critic = keras.Sequential(
            [
                keras.layers.Input([8, 8, 3]),
                keras.layers.Conv2D(4, 4, strides=2, **seeded),
                keras.layers.LeakyReLU(0.2, dtype=policy),
                keras.layers.Flatten(dtype=policy),
                keras.layers.Dense(1, **seeded),
            ]
        )

        @tf.function(jit_compile=True)
        def compute():
            with tf.GradientTape() as tape:
                penalties = gradient_penalty(critic, images[0], images[1], images[0, :, 0, 0, 0])
                loss = tf.reduce_mean(penalties)
            return penalties, tape.gradient(loss, critic.layers[0].kernel.value)

        return compute()

    exact, exact_gradient = penalties_and_gradient("float32")
    penalties, gradient = penalties_and_gradient("mixed_bfloat16")
    assert penalties.dtype == tf.float32 and penalties.shape == [5]
    np.testing.assert_allclose(penalties, exact, rtol=0.05)
    difference = np.linalg.norm(gradient - exact_gradient)
    assert difference < 0.05 * np.linalg.norm(exact_gradient)


def linear(images):
    return tf.reduce_sum(flat(images), axis=1)


@pytest.mark.parametrize(
    ("critic", "real", "fake", "weights", "message"),
    [
        (linear, REAL, FAKE[:1], WEIGHTS, r"fake has shape \[1, 3, 2, 2\], expected \[4, 3"),
        (linear, REAL, FAKE, WEIGHTS[:, None, None, None], r"\[4, 1, 1, 1\], expected \[B\]"),
        (linear, REAL, FAKE, WEIGHTS[:1], r"weights have shape \[1\], expected \[4\]"),
        (linear, REAL[:, 0, 0, 0], FAKE[:, 0, 0, 0], WEIGHTS, "rank 2 or more"),
        (flat, REAL, FAKE, WEIGHTS, r"scores have shape \[4, 12\], expected \[B\] or \[B, 1\]"),
        (tf.reduce_sum, REAL, FAKE, WEIGHTS, r"scores have shape \[\]"),
        (lambda images: tf.ones([4]), REAL, FAKE, WEIGHTS, "do not depend on the input"),
    ],
)
def test_shapes_that_would_broadcast_are_refused(critic, real, fake, weights, message):
    with pytest.raises(ValueError, match=message):
        gradient_penalty(critic, *map(tf.constant, (real, fake, weights)))

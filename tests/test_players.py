"""Players: each moves its own variables down its own loss, all from the same point."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.model_cases import two_replicas
from tfdm.training.players import Player, player_gradients, update_players

RATE = 0.1


def scalar_player(name: str, value: float, **options: object) -> Player:
    """A player whose only variable is one number."""
    network = keras.layers.Dense(
        1, use_bias=False, kernel_initializer=keras.initializers.Constant(value), **options
    )
    network.build([None, 1])
    optimizer = keras.optimizers.SGD(RATE)
    optimizer.build(network.trainable_variables)
    return Player(name, (network,), optimizer)


def number(player: Player) -> tf.Tensor:
    return tf.reshape(player.variables[0].value, [])


def test_every_player_moves_down_its_own_loss_from_the_same_point():
    """The game a b against -a b + b^2: an update of one before the other would show."""
    first, second = scalar_player("first", 2.0), scalar_player("second", 3.0)
    with tf.GradientTape(persistent=True) as tape:
        product = number(first) * number(second)
        losses = {"first": product, "second": number(second) ** 2 - product}
    update_players(tape, [first, second], losses)
    np.testing.assert_allclose(number(first), 2.0 - RATE * 3.0, rtol=1e-6)
    np.testing.assert_allclose(number(second), 3.0 - RATE * (2 * 3.0 - 2.0), rtol=1e-6)


def test_players_that_are_not_named_stay():
    first, second = scalar_player("first", 2.0), scalar_player("second", 3.0)
    with tf.GradientTape(persistent=True) as tape:
        losses = {"first": number(first) * number(second), "second": number(second)}
    update_players(tape, [second], losses)
    assert float(number(first)) == 2.0
    assert int(first.optimizer.iterations.numpy()) == 0
    np.testing.assert_allclose(number(second), 3.0 - RATE, rtol=1e-6)
    assert int(second.optimizer.iterations.numpy()) == 1


def test_gradients_are_by_player_in_the_order_of_its_variables():
    layers = [
        keras.layers.Dense(units, kernel_initializer=keras.initializers.RandomNormal(seed=units))
        for units in (3, 1)
    ]
    network = keras.Sequential([keras.Input([2]), *layers])
    other = keras.Sequential([keras.Input([2]), keras.layers.BatchNormalization()])
    player = Player("both", (network, other), keras.optimizers.SGD())
    names = [variable.path.split("/")[-1] for variable in player.variables]
    # What batch norm counts is no player's.
    assert names == ["kernel", "bias", "kernel", "bias", "gamma", "beta"]
    inputs = tf.constant([[1.0, -2.0], [0.5, 3.0]])
    with tf.GradientTape(persistent=True) as tape:
        loss = tf.reduce_mean(network(other(inputs, training=True)) ** 2)
    expected = tape.gradient(loss, [v.value for v in player.variables])
    gradients = player_gradients(tape, [player], {"both": loss, "somebody": loss})
    assert list(gradients) == ["both"]
    for gradient, value in zip(gradients["both"], expected, strict=True):
        np.testing.assert_allclose(gradient, value, rtol=1e-6)


def test_a_loss_that_misses_a_variable_or_is_of_each_example_is_refused():
    first, second = scalar_player("first", 2.0), scalar_player("second", 3.0)
    with tf.GradientTape(persistent=True) as tape:
        losses = {"first": number(second), "second": number(second)}
        # A forgotten mean would multiply the step by the batch size without a word.
        of_examples = tf.ones([4]) * number(first)
    with pytest.raises(ValueError, match="the loss of first does not reach .*kernel"):
        update_players(tape, [first, second], losses)
    assert float(number(second)) == 3.0
    with pytest.raises(ValueError, match=r"first.*\[?4"):
        player_gradients(tape, [first], {"first": of_examples})


def test_losses_are_divided_by_the_number_of_replicas():
    strategy = two_replicas()
    with strategy.scope():
        player = scalar_player("first", 2.0)

    def step() -> tf.Tensor:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        with tf.GradientTape(persistent=True) as tape:
            # Slopes 1 and 5 on the two replicas: 3 over the global batch.
            loss = (1.0 + 4.0 * tf.cast(replica, tf.float32)) * number(player)
        gradients = player_gradients(tape, [player], {"first": loss})
        update_players(tape, [player], {"first": loss})
        return tf.reshape(gradients["first"][0], [])

    shares = strategy.experimental_local_results(strategy.run(tf.function(step)))
    np.testing.assert_allclose(shares, [0.5, 2.5], rtol=1e-6)
    kernel = player.variables[0].value
    for value in strategy.experimental_local_results(kernel):
        np.testing.assert_allclose(value, [[2.0 - RATE * 3.0]], rtol=1e-6)

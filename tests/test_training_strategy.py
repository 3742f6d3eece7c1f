"""Strategies: which there are, who gets which rows, and that replicas change nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

from tests.tiny_training import tiny_batches
from tfdm.errors import UserError
from tfdm.training.strategy import Workers, check_batch_size, describe, make_strategy


def test_names_devices_and_words_of_a_strategy():
    for name in ("auto", "cpu"):
        assert make_strategy(name) is tf.distribute.get_strategy()
    assert make_strategy("mirrored").num_replicas_in_sync == 2
    assert describe(make_strategy("cpu")) == "CPU"
    assert describe(tf.distribute.OneDeviceStrategy("CPU:1")) == "CPU"
    assert describe(make_strategy("mirrored")) == "2 replicas on CPU"


@pytest.mark.parametrize(
    ("name", "tf_config", "message"),
    [
        ("mirrord", None, "unknown strategy 'mirrord': did you mean mirrored"),
        ("multi_worker", None, "TF_CONFIG"),
        ("multi_worker", "{", "TF_CONFIG cannot be read"),
        ("multi_worker", "[]", "TF_CONFIG cannot be read"),
        ("multi_worker", {"cluster": {"worker": ["a:1"]}}, "TF_CONFIG cannot be read"),
        ("multi_worker", {"task": {"type": "ps", "index": 0}}, "type 'ps'"),
        ("multi_worker", {"task": {"type": "worker", "index": 2}}, "index 2 among 2 workers"),
        ("tpu", None, "no TPU was found"),
    ],
)
def test_a_strategy_that_cannot_be_had_is_one_line(monkeypatch, name, tf_config, message):
    monkeypatch.delenv("TPU_NAME", raising=False)
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if isinstance(tf_config, dict):
        tf_config = json.dumps({"cluster": {"worker": ["a:1", "b:1"]}} | tf_config)
    if tf_config is not None:
        monkeypatch.setenv("TF_CONFIG", tf_config)
    with pytest.raises(UserError, match=message) as caught:
        make_strategy(name)
    assert "\n" not in str(caught.value)


def test_the_batch_must_split_evenly():
    strategy = make_strategy("mirrored")
    check_batch_size(strategy, 6)
    with pytest.raises(UserError, match="batch_size 7 cannot be split over 2 replicas"):
        check_batch_size(strategy, 7)


def test_replica_r_holds_the_rth_block_of_rows():
    strategy = make_strategy("mirrored")
    [whole] = tiny_batches(3, 1)
    [batch] = strategy.experimental_distribute_dataset(tiny_batches(3, 1))
    shares = strategy.experimental_local_results(batch)
    np.testing.assert_array_equal(shares[0], whole[:4])
    np.testing.assert_array_equal(shares[1], whole[4:])


def test_alone_a_worker_answers_itself():
    workers = Workers(tf.distribute.get_strategy())
    assert workers.number == 1 and workers.is_chief
    assert workers.maximum(7) == 7
    arrays = {"a": np.array([-0.0, 1.0]), "b": np.array(3)}
    received = workers.from_chief(arrays)
    assert received.keys() == arrays.keys()
    np.testing.assert_array_equal(np.signbit(received["a"]), [True, False])


def test_a_second_mirrored_strategy_in_one_process_trains() -> None:
    """Two models under two calls of `make_strategy`, as a notebook may have them."""
    for size in (2, 1):
        strategy = make_strategy("mirrored")
        assert strategy.num_replicas_in_sync == 2
        with strategy.scope():
            variable = tf.Variable(0.0, aggregation=tf.VariableAggregation.SUM)

        @tf.function
        def step(strategy=strategy, variable=variable, size=size) -> None:
            def add() -> None:
                context = tf.distribute.get_replica_context()
                value = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.ones([size]))
                variable.assign_add(tf.reduce_sum(value))

            strategy.run(add)

        step()
        # Each replica adds the sum over both.
        assert float(variable.numpy()) == 4.0 * size

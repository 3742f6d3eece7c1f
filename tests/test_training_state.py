"""The state of a model as arrays: whole, exact, and refused where it does not fit."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.tiny_training import fit, tiny_model
from tfdm.training.state import capture_state, first_non_finite, restore_state


@pytest.fixture(scope="module")
def trained():
    """A state after three steps."""
    model = tiny_model()
    fit(model, 0, 3)
    return capture_state(model)


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype, name
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_holds_every_variable_of_the_model_and_of_each_optimiser():
    model = tiny_model()
    state = capture_state(model)
    count = len(model.variables) + sum(len(o.variables) for o in model.optimizers.values())
    assert len(state) == count
    assert {name.split("/")[1] for name in state if name.startswith("optimizers/")} == {
        "encoder",
        "generator",
    }
    [step] = [array for name, array in state.items() if name.endswith("/step")]
    assert step.dtype == np.int64 and step.shape == ()


def test_comes_back_bit_for_bit(trained):
    model = tiny_model(seed=5)
    restore_state(model, trained)
    assert_same(capture_state(model), trained)


def test_a_state_is_a_copy(trained):
    model = tiny_model()
    state = capture_state(model)
    before = {name: array.copy() for name, array in state.items()}
    restore_state(model, trained)
    assert_same(state, before)


def test_works_under_a_strategy_with_two_replicas(trained):
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        model = tiny_model(seed=5)
    restore_state(model, trained)
    assert_same(capture_state(model), trained)


def _changed(state, **changes):
    """The state with arrays replaced, or dropped where the new one is `None`."""
    return {k: v for k, v in {**state, **changes}.items() if v is not None}


@pytest.mark.parametrize("case", ["missing", "unknown", "shape", "dtype"])
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(trained, case):
    last = list(trained)[-1]
    bad, message = {
        "missing": (_changed(trained, **{last: None}), f"lacks {last} and has nothing"),
        "unknown": (_changed(trained, other=np.zeros(1)), "lacks nothing and has other"),
        "shape": (_changed(trained, **{last: np.zeros([7], np.float32)}), r"shape \(7,\)"),
        "dtype": (
            _changed(trained, **{last: trained[last].astype(np.float64)}),
            "float64, expected float32",
        ),
    }[case]
    model = tiny_model()
    before = capture_state(model)
    with pytest.raises(ValueError, match=message):
        restore_state(model, bad)
    assert_same(capture_state(model), before)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_names_the_first_array_that_is_not_finite(value):
    good = np.zeros([2, 2], np.float32)
    bad = good.copy()
    bad[1, 0] = value
    assert first_non_finite({"count": np.array(3), "a": good, "b": bad, "c": bad}) == "b"
    assert first_non_finite({"count": np.array(3), "flag": np.array(True), "a": good}) is None

"""Weights of Keras's format: read as they were written, or refused."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from tests.tiny_training import tiny_model
from tfdm.experiments.weights import WEIGHTS_NAME, read_weights, write_weights
from tfdm.runs.sums import SUMS_NAME
from tfdm.training.state import capture_state


def networks(model):
    state = capture_state(model)
    return {name: array for name, array in state.items() if name.startswith("model/")}


def test_weights_go_round_and_a_changed_bit_is_noticed(tmp_path):
    model, other = tiny_model(seed=1), tiny_model(seed=2)
    write_weights(model, tmp_path)
    read_weights(other, tmp_path)
    for name, array in networks(model).items():
        np.testing.assert_array_equal(networks(other)[name], array, err_msg=name)
    path = tmp_path / WEIGHTS_NAME
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="does not have the SHA-256 digest"):
        read_weights(other, tmp_path)


def test_without_a_digest_what_keras_passes_over_is_noticed(tmp_path):
    model, path, refused = tiny_model(seed=1), tmp_path / WEIGHTS_NAME, 0
    write_weights(model, tmp_path)
    (tmp_path / SUMS_NAME).unlink()
    content = path.read_bytes()
    groups: list[str] = []
    with h5py.File(path) as file:
        file.visit(groups.append)
    for group in groups:
        path.write_bytes(content)
        with h5py.File(path, "r+") as file:
            del file[group]
        other = tiny_model(seed=2)
        try:
            read_weights(other, tmp_path)
        except ValueError:
            refused += 1
            continue
        for name, array in networks(model).items():  # A group of an optimiser is not missed.
            np.testing.assert_array_equal(networks(other)[name], array, err_msg=group)
    assert refused >= 4

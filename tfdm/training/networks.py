"""Networks that a caller made: checked and copied.

Shapes are those of one example, without the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

Shape = tuple[int, ...]


def checked_network(
    name: str, network: Any, takes: Sequence[Shape], gives: Shape
) -> keras.layers.Layer:
    """Returns a network of the given shapes, built; one of logits may give [B, 1] instead of [B].

    `ValueError` where it is no Keras layer, or its shapes are others.
    """
    if not isinstance(network, keras.layers.Layer):
        raise ValueError(f"network {name!r} is {network!r}, expected a Keras model or layer")
    found = _output_shape(name, network, takes)
    if found == (1,) and gives == ():
        inputs = _inputs(takes)
        logits = keras.layers.Reshape([], dtype="float32")(network(inputs))
        return keras.Model(inputs, logits, name=name)
    if found != gives:
        raise ValueError(f"network {name!r} gives {_batch(found)}, expected {_batch(gives)}")
    return network


def copy_network(network: keras.layers.Layer, takes: Sequence[Shape]) -> keras.layers.Layer:
    """Returns a copy, of layers or subclassed, with variables of its own and the same values."""
    if isinstance(network, keras.Sequential) or getattr(network, "inputs", None):
        copy = keras.models.clone_model(network)
    else:
        copy = type(network).from_config(network.get_config())
    if not copy.built:
        copy(_inputs(takes))
    copy.set_weights(network.get_weights())
    return copy


def _output_shape(name: str, network: keras.layers.Layer, takes: Sequence[Shape]) -> Shape:
    known = [tuple(x.shape[1:]) for x in getattr(network, "inputs", None) or ()]
    # A network may take more, such as a mask of dropout.
    if known[: len(takes)] == list(takes):
        return tuple(network.outputs[0].shape[1:])
    try:
        output = network(_inputs(takes))
    except (TypeError, ValueError) as error:
        expected = " and ".join(_batch(shape) for shape in takes)
        raise ValueError(f"network {name!r} does not take {expected}: {error}") from error
    if not hasattr(output, "shape"):
        raise ValueError(f"network {name!r} gives {type(output).__name__}, expected one tensor")
    return tuple(output.shape[1:])


def _inputs(takes: Sequence[Shape]) -> Any:
    inputs = [keras.Input(shape) for shape in takes]
    return inputs if len(inputs) > 1 else inputs[0]


def _batch(shape: Shape) -> str:
    return f"[{', '.join(['B', *map(str, shape)])}]"

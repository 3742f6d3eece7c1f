"""How TensorFlow is asked to make graphs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import tensorflow as tf


@contextlib.contextmanager
def repeatable_graphs() -> Iterator[None]:
    """Lets two processes make the same graph of one function, down to the order of its sums.

    With TensorFlow's arithmetic optimiser, some losses of the same step differed in their last bit
    from one process to the next; without it they do not.
    """
    options = tf.config.optimizer.get_experimental_options()
    before = {"arithmetic_optimization": options.get("arithmetic_optimization", True)}
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options(before)

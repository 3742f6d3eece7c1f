"""The order in which training reads its examples: a pure function of (seed, step)."""

from __future__ import annotations

import functools

import numpy as np

from tfdm.seeds import stream


def batch_indices(num_examples: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    """Returns which of N examples the batch of a step, counted from 0, holds.

    The epochs, each an independent permutation of all examples, are laid end to end and cut
    into batches; a batch may straddle epochs and may be larger than one. Nothing is carried
    from step to step, so a resumed run reads what the uninterrupted one would have read.

    Returns:
      int64 [B] in [0, N). At position p = step * B + i stands element p mod N of the
      permutation that (seed, epoch = p // N) seeds. `ValueError` refuses numbers out of range.
    """
    check_least(1, num_examples=num_examples, batch_size=batch_size)
    check_least(0, seed=seed, step=step)
    position, end = step * batch_size, (step + 1) * batch_size
    pieces = []
    while position < end:
        epoch, offset = divmod(position, num_examples)
        pieces.append(_permutation(num_examples, seed, epoch)[offset : offset + end - position])
        position += len(pieces[-1])
    return np.concatenate(pieces)


def check_least(least: int, **numbers: int) -> None:
    """Raises `ValueError` that names the first number below `least`."""
    for name, number in numbers.items():
        if number < least:
            raise ValueError(f"{name} is {number}, expected at least {least}")


# Four: a batch straddles two epochs, and two iterators (training, warm-up) may be open.
@functools.lru_cache(maxsize=4)
def _permutation(num_examples: int, seed: int, epoch: int) -> np.ndarray:
    permutation = stream(seed, "data/order", epoch).permutation(num_examples)
    permutation.flags.writeable = False
    return permutation.astype(np.int64, copy=False)

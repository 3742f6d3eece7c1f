"""Means and standard errors of streams of values, and how they are kept on disk."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tfdm.runs.atomic import atomic_write_json

FloatArray = npt.NDArray[np.float64]

# Of the standard normal: 95 % lie within as many standard deviations.
_TWO_SIDED_95 = 1.959964


class RunningMean:
    """The mean of a stream of blocks and its standard error (Chan et al., 1979).

    Attributes:
      count: how many values were taken in.
      mean: their mean.
    """

    def __init__(self, count: int = 0, mean: float = 0.0, squares: float = 0.0) -> None:
        self.count, self.mean, self._squares = count, mean, squares

    def add(self, values: FloatArray) -> None:
        """Takes in a block of values [n]."""
        mean, count = float(values.mean()), self.count + values.size
        difference = mean - self.mean
        self._squares += float(np.sum((values - mean) ** 2))
        self._squares += difference**2 * self.count * values.size / count
        self.mean += difference * values.size / count
        self.count = count

    @property
    def standard_error(self) -> float:
        """Of the mean; needs two values."""
        return math.sqrt(self._squares / (self.count - 1) / self.count)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the mean, by the normal distribution."""
        half_width = _TWO_SIDED_95 * self.standard_error
        return self.mean - half_width, self.mean + half_width

    @property
    def state(self) -> list[float]:
        """The arguments that make this object again."""
        return [self.count, self.mean, self._squares]


def digest(*parts: npt.NDArray | str | int) -> str:
    """Returns a SHA-256 of arrays, texts and whole numbers."""
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            sha.update(f"{part.dtype.str}{part.shape}".encode())
            sha.update(np.ascontiguousarray(part).data)
        else:
            sha.update(f"{type(part).__name__}{part};".encode())
    return sha.hexdigest()


def save_moments(path: Path, key: str, moments: Sequence[RunningMean]) -> None:
    """Writes moments under a key, in one piece."""
    atomic_write_json(path, {"key": key, "moments": [m.state for m in moments]})


def load_moments(path: Path | None, key: str) -> tuple[RunningMean, ...] | None:
    """Returns the moments of a file, `None` where there are none under this key."""
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path is not None else {}
        if content.get("key") != key:
            return None
        return tuple(
            RunningMean(int(count), float(mean), float(squares))
            for count, mean, squares in content["moments"]
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        # A file that cannot be read costs the time that it would have saved.
        return None

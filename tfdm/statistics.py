"""Means, standard errors and temperatures: of streams of values, and how they are kept on disk."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import expit, log_softmax, logsumexp, softmax

from tfdm.runs.atomic import atomic_write_json

FloatArray = npt.NDArray[np.float64]

_TWO_SIDED_95 = 1.959964  # standard deviations around the mean of a normal
# Bounds of log(1 / T): of two classes on codes, of many on images.
_BINARY_SHARPNESS = (-14.0, 7.0)
_SHARPNESS = (math.log(0.01), math.log(100.0))
_LARGEST_EXPONENT = 700.0  # beyond it e^x overflows


@dataclasses.dataclass
class RunningMean:
    """The mean of a stream of blocks and its standard error (Chan et al., 1979)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0  # the sum of the squared differences from the mean

    def add(self, values: FloatArray) -> None:
        """Takes in a block of values [n]."""
        mean, count = float(values.mean()), self.count + values.size
        difference = mean - self.mean
        self.squares += float(np.sum((values - mean) ** 2))
        self.squares += difference**2 * self.count * values.size / count
        self.mean += difference * values.size / count
        self.count = count

    @property
    def standard_error(self) -> float:
        """Of the mean; needs two values."""
        return math.sqrt(self.squares / (self.count - 1) / self.count)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the mean, by the normal distribution."""
        half_width = _TWO_SIDED_95 * self.standard_error
        return self.mean - half_width, self.mean + half_width


class LogMeanExp:
    """The logarithm of the mean of e^T over a stream of `count` values T, without overflow."""

    def __init__(self) -> None:
        self.count, self._first, self._second = 0, -math.inf, -math.inf

    def add(self, values: FloatArray) -> None:
        """Takes in a block of values T [n]."""
        self.count += values.size
        self._first = float(logsumexp([self._first, logsumexp(values)]))
        self._second = float(logsumexp([self._second, logsumexp(2.0 * values)]))

    @property
    def log_mean(self) -> float:
        """log mean e^T."""
        return self._first - math.log(self.count)

    @property
    def mean(self) -> float:
        """mean e^T, infinite where it overflows."""
        return math.exp(self.log_mean) if self.log_mean < _LARGEST_EXPONENT else math.inf

    @property
    def relative_error(self) -> float:
        """The standard error of mean e^T over that mean; also the error of `log_mean`."""
        log_second = self._second - math.log(self.count)
        # Above 1 by Jensen; a rounding below it is no variance.
        exponent = min(max(log_second - 2.0 * self.log_mean, 0.0), _LARGEST_EXPONENT)
        return math.sqrt(math.expm1(exponent) / max(1, self.count - 1))


def real_numbers(name: str, values: npt.ArrayLike) -> FloatArray:
    """Returns an array as float64; complex numbers and what is no number are a `ValueError`."""
    array = np.asarray(values)
    try:
        if array.dtype.kind == "c":
            raise TypeError
        return array.astype(np.float64, copy=False)
    except (TypeError, ValueError):
        found = f"{name} is of type {array.dtype}"
        raise ValueError(f"{found}, expected an array of real numbers") from None


def standard_error(values: npt.ArrayLike) -> float | None:
    """Returns the standard error of the mean of values [n], `None` for fewer than two."""
    array = np.asarray(values, np.float64)
    return float(array.std(ddof=1) / math.sqrt(array.size)) if array.size > 1 else None


def standard_error_of_difference(first: npt.ArrayLike, second: npt.ArrayLike) -> float | None:
    """Returns the standard error of a difference of two means, `None` where either has none."""
    errors = standard_error(first), standard_error(second)
    return None if errors[0] is None or errors[1] is None else math.hypot(errors[0], errors[1])


def cross_entropy(logits: npt.ArrayLike, labels: npt.NDArray[np.integer]) -> float:
    """Returns the mean of −log softmax(logits [n, K]) at the labels [n], in nats."""
    log_probs = log_softmax(np.asarray(logits, np.float64), axis=1)
    return -float(np.mean(log_probs[np.arange(len(labels)), labels]))


def fit_temperature(logits: npt.ArrayLike, labels: npt.NDArray[np.integer]) -> float:
    """Returns the T that minimises the cross entropy of softmax(logits / T) (Guo et al., 2017).

    Logits are [n, K], labels [n]. T is in [0.01, 100], above 1 for a classifier that is surer
    than it is right. Raises `ValueError` for logits that are not finite.
    """
    values = np.asarray(logits, np.float64)
    hit = values[np.arange(len(labels)), labels]

    def slope(sharpness: float) -> float:
        return float(np.mean((softmax(sharpness * values, axis=1) * values).sum(axis=1) - hit))

    return _temperature(slope, *_SHARPNESS)


def fit_binary_temperature(positive: FloatArray, negative: FloatArray) -> float:
    """Returns the T in [e^-7, e^14] at which logits / T have the lowest binary cross entropy.

    The logits [n] of label 1 and [m] of label 0 weigh the same as sides. Raises `ValueError` where
    one is not finite.
    """

    def slope(sharpness: float) -> float:
        of_positive = np.mean(-positive * expit(-sharpness * positive))
        return float(of_positive + np.mean(negative * expit(sharpness * negative)))

    return _temperature(slope, *_BINARY_SHARPNESS)


def _temperature(slope: Callable[[float], float], low: float, high: float) -> float:
    """Returns T where the slope of a cross entropy in 1 / T, in which it is convex, is zero."""

    def at(log_sharpness: float) -> float:
        return slope(math.exp(log_sharpness))

    if not math.isfinite(at(low) + at(high)):
        raise ValueError("a logit is not finite, expected finite ones")
    if at(high) <= 0.0:
        return math.exp(-high)
    if at(low) >= 0.0:
        return math.exp(-low)
    return math.exp(-brentq(at, low, high, xtol=1e-12))


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
    """Writes moments under a key, in one piece, with a digest."""
    content = {"key": key, "moments": [dataclasses.astuple(m) for m in moments]}
    atomic_write_json(path, {**content, "sha256": digest(json.dumps(content))})


def load_moments(path: Path | None, key: str) -> tuple[RunningMean, ...] | None:
    """Returns the moments of a file, `None` where there are none under this key or digest."""
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path is not None else {}
        is_whole = content.pop("sha256") == digest(json.dumps(content))
        found = tuple(RunningMean(int(n), float(m), float(s)) for n, m, s in content["moments"])
        return found if is_whole and content["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None  # a file that cannot be read costs the time that it would have saved

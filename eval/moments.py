"""Mean and covariance of features that arrive in blocks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tfdm.eval.checks import checked_rows


class FeatureMoments:
    """Mean [d] and covariance of `count` features that arrive in blocks [n, d]; float64.

    Memory is of order d². Features that are no rows of d finite values are a `ValueError`.
    """

    def __init__(self, dim: int) -> None:
        self.count = 0
        self.mean = np.zeros(dim)
        self._scatter = np.zeros((dim, dim))

    @classmethod
    def of(cls, features: npt.ArrayLike) -> FeatureMoments:
        """Returns the moments of features [n, d]."""
        rows = checked_rows("features", features)
        moments = cls(rows.shape[1])
        moments.add(rows)
        return moments

    def add(self, features: npt.ArrayLike) -> None:
        """Adds a block [n, d]."""
        rows = checked_rows("features", features)
        if rows.shape[1] != len(self.mean):
            raise ValueError(f"features have {rows.shape[1]} columns, expected {len(self.mean)}")
        mean = rows.mean(axis=0)
        centred = rows - mean
        total = self.count + len(rows)
        shift = mean - self.mean
        # Chan et al. (1979): blocks merge without the cancellation of raw second moments.
        self._scatter += centred.T @ centred
        self._scatter += np.outer(shift, shift) * (self.count * len(rows) / total)
        self.mean = self.mean + shift * (len(rows) / total)
        self.count = total

    @property
    def covariance(self) -> np.ndarray:
        """The covariance [d, d], divisor n - 1; a `ValueError` for fewer than two features."""
        if self.count < 2:
            raise ValueError(f"a covariance of {self.count} features, expected at least 2")
        return self._scatter / (self.count - 1)

"""What an estimator of the registry is given."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from tfdm.distributions.priors import Prior
from tfdm.estimators.posteriors import Posteriors
from tfdm.progress import ProgressOption


@dataclasses.dataclass(frozen=True)
class Task:
    """What an estimator is given.

    Attributes:
      posteriors: q(z|x) of the data whose mixture is q(z).
      config: the estimator's own fields, an object of its `config` class.
      held_out: q(z|x) of other data, where there are any.
      prior: p(z), `None` for N(0, I).
      seed: of everything that it draws.
      strategy: the name of the strategy, for estimators that use several devices.
      state: where it may keep what it has done so far, `None` for nowhere.
      progress: whether it shows a bar, or a function of (done, total).
    """

    posteriors: Posteriors
    config: Any
    held_out: Posteriors | None = None
    prior: Prior | None = None
    seed: int = 0
    strategy: str = "auto"
    state: Path | None = None
    progress: ProgressOption = False

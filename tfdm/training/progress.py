"""The progress bar of a training run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TextIO

from tfdm.progress import Bar
from tfdm.training.callbacks import StepCallback
from tfdm.training.metrics import read_logs


@dataclasses.dataclass(eq=False)
class ProgressBar(StepCallback):
    """Shows rate, remaining time and the losses, by default on the standard error stream."""

    stream: TextIO | None = None
    _bar: Bar | None = dataclasses.field(default=None, init=False)

    def on_train_begin(self, logs: Any = None) -> None:
        self._bar = Bar("tracing the step", "step", self.stream, self.span.start, self.span.end)

    def after_steps(self, previous: int, logs: dict[str, Any]) -> None:
        if self._bar is None:
            return
        terms = None
        # Reading the losses waits for the device.
        if self._bar.wants_terms() or self.step == self.span.end:
            self._bar.retitle("training")
            terms = losses_first(read_logs(logs))
        self._bar(self.step, self.span.end, terms)

    def on_train_end(self, logs: Any = None) -> None:
        self.close()

    def close(self) -> None:
        """Ends the bar, also when training did not; may be called twice."""
        if self._bar is not None:
            self._bar.close()
        self._bar = None


def losses_first(values: Mapping[str, float]) -> Mapping[str, float]:
    """Returns the losses of the players by their names, or all logs where there are no losses."""
    losses = {name.removesuffix("_loss"): v for name, v in values.items() if "_loss" in name}
    return losses or values

"""The progress bar of a training run."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

import tqdm

from tfdm.training.callbacks import Span, StepCallback
from tfdm.training.metrics import read_logs

_SHOWN_LOGS = 4
# Logs are read for the bar at most this often: reading them waits for the device.
_TERMINAL_SECONDS = 0.5
_FILE_SECONDS = 10.0


class ProgressBar(StepCallback):
    """Shows rate, remaining time and the losses.

    A terminal gets a bar that moves, a file or pipe a line every ten seconds.

    Args:
      span: the steps of the session.
      stream: where the bar is shown, by default the standard error stream.
    """

    def __init__(self, span: Span, stream: TextIO | None = None) -> None:
        super().__init__(span)
        self._stream = stream if stream is not None else sys.stderr
        self._bar: tqdm.tqdm | None = None
        self._next_reading = 0.0
        self._interval = _TERMINAL_SECONDS if self._stream.isatty() else _FILE_SECONDS

    def on_train_begin(self, logs: Any = None) -> None:
        """Shows the bar; the first step takes longer, it is traced."""
        terminal = self._stream.isatty()
        self._bar = tqdm.tqdm(
            total=self.span.end,
            initial=self.span.start,
            desc="tracing the step",
            unit="step",
            file=self._stream if terminal else _Lines(self._stream),
            dynamic_ncols=terminal,
            mininterval=self._interval,
        )

    def after_steps(self, previous: int, logs: dict[str, Any]) -> None:
        """Moves the bar, and reads the losses when they are old."""
        if self._bar is None:
            return
        now = time.monotonic()
        if now >= self._next_reading or self.step == self.span.end:
            self._next_reading = now + self._interval
            self._bar.set_description_str("training", refresh=False)
            self._bar.set_postfix_str(losses_line(read_logs(logs)), refresh=False)
        self._bar.update(self.step - previous)

    def on_train_end(self, logs: Any = None) -> None:
        """Leaves the full bar in view."""
        self.close()

    def close(self) -> None:
        """Ends the bar, also when training did not; may be called twice."""
        if self._bar is not None:
            self._bar.close()
        self._bar = None


def losses_line(values: Mapping[str, float]) -> str:
    """Returns the losses for one line: those of the players, or the first logs there are."""
    losses = {name.removesuffix("_loss"): v for name, v in values.items() if "_loss" in name}
    shown = list((losses or values).items())[:_SHOWN_LOGS]
    return ", ".join(f"{name} {value:.4g}" for name, value in shown)


class _Lines:
    """A stream for tqdm that ends every state of the bar with a line break."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        line = text.strip()
        if line:
            self._stream.write(line + "\n")

    def flush(self) -> None:
        self._stream.flush()

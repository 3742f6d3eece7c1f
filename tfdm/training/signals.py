"""Signals that ask a run to stop: at once, or after the training step that is under way."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from tfdm.errors import Stopped

_STOPPING = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """Catches SIGTERM and SIGINT inside a `with` block.

    Outside of `deferred` a signal ends the process at once, by `KeyboardInterrupt` or `Stopped`.
    Inside, its number is noted in `received`, 0 while there is none, for the training loop to act
    on after its step; a second one of the same kind ends the process there too. Outside of the
    main thread, where Python catches no signals, nothing is caught.
    """

    def __init__(self) -> None:
        self.received = 0
        self._deferring = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._handle) for number in _STOPPING}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Notes signals inside the block instead of ending the process."""
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self._deferring or self.received == number:
            raise KeyboardInterrupt if number == signal.SIGINT else Stopped(number)
        self.received = number

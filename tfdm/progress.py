"""The progress bar of everything that takes long: rate, remaining time, and up to three terms."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TextIO

import tqdm

_SHOWN_TERMS = 3
# A terminal gets a bar that moves, a file or pipe a line every ten seconds.
_TERMINAL_SECONDS = 0.5
_FILE_SECONDS = 10.0
# Columns that a rate may grow by before the terms are chosen anew.
_SPARE_COLUMNS = 8


class Progress(Protocol):
    """What a long call reports to."""

    def __call__(self, done: int, total: int, terms: Mapping[str, float] | None = None) -> None:
        """Reports that `done` of `total` are done; `terms` are numbers to show, such as losses."""


# What a long function takes: whether it shows a bar, or a function of (done, total) instead.
ProgressOption = bool | Callable[[int, int], Any]


class Bar:
    """A `Progress` on a stream, by default the standard error stream.

    `unit` is what is counted; `start` of `total` were done before.
    """

    def __init__(
        self,
        title: str,
        unit: str,
        stream: TextIO | None = None,
        start: int = 0,
        total: int | None = None,
    ) -> None:
        stream = stream or sys.stderr
        self._is_terminal = stream.isatty()
        self._interval = _TERMINAL_SECONDS if self._is_terminal else _FILE_SECONDS
        self._next_reading = 0.0
        self._bar = tqdm.tqdm(
            desc=title,
            unit=unit,
            initial=start,
            total=total,
            file=stream if self._is_terminal else _Lines(stream),
            dynamic_ncols=self._is_terminal,
            mininterval=self._interval,
        )

    def __call__(self, done: int, total: int, terms: Mapping[str, float] | None = None) -> None:
        """Moves the bar."""
        self._bar.total = total
        if terms:
            self._bar.set_postfix_str(self._fitting(terms), refresh=False)
        self._bar.update(done - self._bar.n)

    def wants_terms(self) -> bool:
        """Says whether the terms in view are old; reading some from a device takes time."""
        now = time.monotonic()
        if now < self._next_reading:
            return False
        self._next_reading = now + self._interval
        return True

    def retitle(self, title: str) -> None:
        """Says that something else is done now."""
        self._bar.set_description_str(title, refresh=False)

    def close(self) -> None:
        """Leaves the bar in view as it is; may be called twice."""
        self._bar.close()

    def _fitting(self, terms: Mapping[str, float]) -> str:
        """The first three terms that the line has room for: a terminal would cut the others."""
        state = dict(self._bar.format_dict)
        columns = (state["ncols"] or shutil.get_terminal_size().columns) - _SPARE_COLUMNS
        state["ncols"] = 0  # without the bar, which takes what is left
        shown = ""
        left = _SHOWN_TERMS
        for name, value in terms.items():
            longer = f"{shown}, {name} {value:.4g}" if shown else f"{name} {value:.4g}"
            line = tqdm.tqdm.format_meter(**{**state, "postfix": longer})
            if left and (not self._is_terminal or len(line) <= columns):
                shown, left = longer, left - 1
        return shown


@contextlib.contextmanager
def progress_bar(title: str, unit: str, progress: ProgressOption = True) -> Iterator[Progress]:
    """Yields what a long function reports to: a bar, nothing, or the caller's own function."""
    if callable(progress):
        yield lambda done, total, terms=None: progress(done, total)
    elif not progress:
        yield lambda done, total, terms=None: None
    else:
        with contextlib.closing(Bar(title, unit)) as bar:
            yield bar


class _Lines:
    """A stream for tqdm that ends every state of the bar with a line break."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        if text.strip():
            self._stream.write(text.strip() + "\n")

    def flush(self) -> None:
        self._stream.flush()

"""Progress bars of long calls and of the commands that make them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import tqdm

# What a long call takes: whether it shows a bar, or a function of (done, total) instead.
Progress = bool | Callable[[int, int], Any]


@contextlib.contextmanager
def progress_bar(title: str, unit: str) -> Iterator[Callable[..., None]]:
    """Yields a callback (done, total) that moves a bar on the error stream."""
    terminal = sys.stderr.isatty()
    with tqdm.tqdm(
        desc=title, unit=unit, file=sys.stderr, mininterval=0.5 if terminal else 10.0,
        dynamic_ncols=terminal,
    ) as bar:  # fmt: skip

        def show(done: int, total: int, *values: Any) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show


@contextlib.contextmanager
def reporting(progress: Progress, title: str, unit: str) -> Iterator[Callable[[int, int], Any]]:
    """Yields the callback (done, total) that `progress` asks for: a bar, nothing, or its own."""
    if callable(progress):
        yield progress
    elif progress:
        with progress_bar(title, unit) as show:
            yield show
    else:
        yield lambda done, total: None

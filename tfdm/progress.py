"""The progress bar of the commands that measure."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import tqdm


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

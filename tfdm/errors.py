"""What a command reports in one line, each with an exit status of its own.

Library code raises `ValueError` for a caller's mistake.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable

# Failures of the system: a disk that is full, broken or not to be written, a folder that is gone.
MACHINE_FAILURES = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.ESTALE,
)  # fmt: skip


class UserError(Exception):
    """Bad input of a command's user: one line that says what is wrong and what to do (exit 2)."""


class DivergedError(Exception):
    """The loss or weight `term` was not finite at training step `step`, from 1 (exit 3)."""

    def __init__(self, step: int, term: str) -> None:
        self.step = step
        self.term = term
        super().__init__(f"training diverged: {term} is not finite at step {step}")


class Terminated(Exception):  # noqa: N818 - not an error: the run was asked to stop and did.
    """Signal n stopped the run after `step` steps, which a checkpoint holds (exit 128 + n)."""

    def __init__(self, signum: int, step: int) -> None:
        self.signum = signum
        self.step = step
        super().__init__(f"stopped by signal {signum} after step {step}; a checkpoint was written")


class Stopped(SystemExit):  # noqa: N818 - not an error, as `Terminated`.
    """Signal n ended the process at once, outside of training (exit 128 + n)."""

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signum = signum

    def __str__(self) -> str:
        return f"stopped by signal {self.signum}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns `did you mean x?` when a known name is near, else `choose one of a, b, c`."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"choose one of {', '.join(known)}"

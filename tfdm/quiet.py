"""What does not come to the terminal: TensorFlow's words, and the traceback of an interrupt."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from types import TracebackType


@contextlib.contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Keeps from the terminal what TensorFlow's libraries write while it is imported in the block.

    When the block fails, but not when it is interrupted, it is shown after all. Whoever sets
    TF_CPP_MIN_LOG_LEVEL sees everything.
    """
    if "tensorflow" in sys.modules or "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
            import tensorflow as tf

            tf.config.list_physical_devices()  # the drivers report when devices are looked for
        except Exception:
            sys.stderr.flush()
            written.seek(0)
            os.write(terminal, written.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)


def quiet_interrupts() -> None:
    """Has a Ctrl-C that nothing catches, such as one in an import, end in one line."""
    show = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.stderr.write("error: interrupted\n")
        else:
            show(kind, error, trace)

    sys.excepthook = hook

"""The progress bar: at most three terms, only whole ones, and none where there is none."""

from __future__ import annotations

import contextlib
import io
import os

import pytest

from tfdm.progress import Bar, progress_bar

TERMS = {f"{number}_{'long_name' * 4}": 1234.5678 for number in range(4)}


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("columns", "shown"), [(240, 3), (165, 2), (120, 1), (70, 0)])
def test_a_terminal_gets_terms_that_fit(columns, shown, monkeypatch):
    monkeypatch.setattr("tfdm.progress._TERMINAL_SECONDS", 0.0)
    size = os.terminal_size((columns, 24))
    monkeypatch.setattr("tfdm.progress.shutil.get_terminal_size", lambda: size)
    stream = Terminal()
    bar = Bar("training", "step", stream, total=100)
    bar(50, 100, TERMS)
    bar.close()
    state = stream.getvalue().split("\r")[-1]
    assert "50/100" in state
    words = [f"{name} 1235" for name in TERMS]
    assert [word for word in words if word in state] == words[:shown]
    assert state.count("_long") == shown


def test_a_term_that_does_not_fit_leaves_room_for_shorter_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tfdm.progress._TERMINAL_SECONDS", 0.0)
    size = os.terminal_size((80, 24))
    monkeypatch.setattr("tfdm.progress.shutil.get_terminal_size", lambda: size)
    stream = Terminal()
    with contextlib.closing(Bar("training", "step", stream, total=100)) as bar:
        bar(50, 100, {"code_discriminator_of_pairs_of_images": 1.0, "encoder": 2.0})
    state = stream.getvalue().split("\r")[-1]
    assert "encoder 2]" in state and "code" not in state


def test_a_bar_is_turned_off_or_replaced(capsys):
    calls: list[tuple[int, int]] = []
    for option in (False, lambda *call: calls.append(call)):
        with progress_bar("samples", "image", option) as progress:
            progress(1, 2, {"loss": 1.0})
    assert calls == [(1, 2)]
    assert capsys.readouterr().err == ""
    with progress_bar("samples", "image") as progress:
        progress(2, 2, {"loss": 1.0})
    assert "samples" in capsys.readouterr().err

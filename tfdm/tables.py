"""Markdown tables that are read on a terminal too: cells are aligned, what is long stands below."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

# Columns of the narrowest terminal that is usual.
WIDTH = 80


def aligned_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns the lines of a Markdown table, each column as wide as its widest cell."""
    widths = [max(3, *map(len, column)) for column in zip(head, *rows, strict=True)]
    rule = ["-" * width for width in widths]
    return [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in (head, rule, *rows)
    ]


def wrapped(text: str, indent: str = "") -> str:
    """Returns a text in lines of at most 80 columns, the second and later ones indented."""
    return textwrap.fill(
        text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def notes(texts: dict[str, str]) -> list[str]:
    """Returns what is said of each name as the lines of a Markdown list, without empty texts."""
    return [wrapped(f"- {name}: {text}", "  ") for name, text in texts.items() if text]

"""Blocks and lines of a report, wrapped to the page: a block is a name, a line about it, and labelled lines."""

from __future__ import annotations

from textwrap import wrap

from rich.console import Console
from rich.text import Text

LABEL = 8
"""The width of the labels at the left."""


def print_block(console: Console, name: str, title: str, rows: list[tuple[str, str]], style: str = "") -> None:
    """Print a block, after an empty line."""
    console.print()
    console.print(Text(name, style="bold"))
    if title:
        console.print(Text(f"  {title}"))
    room = max(console.width - LABEL - 3, 20)
    for label, text in rows:
        for i, line in enumerate(wrap(text, room, break_on_hyphens=False)):
            console.print(Text(f"  {'' if i else label:<{LABEL}} {line}", style=style))


def print_lines(console: Console, lines: list[str]) -> None:
    """Print lines; what does not fit goes on in the next one, indented."""
    for line in lines:
        for part in wrap(line, console.width, subsequent_indent="  ", break_on_hyphens=False):
            console.print(Text(part))

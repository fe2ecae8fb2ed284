"""Numbers set out in the terminal: grids of integers, panels of maps, panels side by side as far as they fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from rich.box import SQUARE
from rich.console import Console
from rich.measure import Measurement
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from depool.demo.derivation import fraction, number
from depool.program import Array


def grid(array: Array, width: int = 0) -> str:
    """Rows and columns, each number flush right in `width` or in as much as the widest needs."""
    words = [[number(value) for value in row] for row in array]
    width = width or max(len(word) for row in words for word in row)
    return "\n".join(" ".join(word.rjust(width) for word in row) for row in words)


def matrix(kernel: Array) -> Text:
    """A small matrix in brackets, fractions as such."""
    rows = [[fraction(value) for value in row] for row in kernel.reshape(-1, kernel.shape[-1])]
    width = max(len(word) for row in rows for word in row)
    return Text("\n".join(f"[ {' '.join(word.rjust(width) for word in row)} ]" for row in rows))


def map_panels(title: str, array: Array, room: int) -> list[Panel]:
    """A map under its title; one wider than the room is cut into blocks of columns."""
    cell = max(len(number(value)) for value in array.ravel()) + 1
    blocks = _blocks(array.shape[1], (room - 3) // cell)  # a panel adds two lines and two spaces, less one gap
    return [
        Panel.fit(Text(grid(array[:, part])), box=SQUARE, title=Text(_named(title, part, array.shape[1])))
        for part in blocks
    ]


def windows_tables(windows: Array, room: int) -> Iterator[Table]:
    """An image, one cell per window.

    Args:
        windows: [rows of windows, columns of windows, 2, 2], numbers of at most two characters.
        room: an image wider than this is cut into blocks of columns.
    """
    rows, columns = windows.shape[:2]
    for part in _blocks(columns, (room - 1) // 8):  # two numbers, the space between, two around and a line
        pixels = slice(2 * part.start, 2 * part.stop)
        title = _named("", pixels, 2 * columns)
        table = Table(box=SQUARE, show_header=False, show_lines=True, title=title or None, title_justify="left")
        for i in range(rows):
            table.add_row(*(Text(grid(window, 2)) for window in windows[i, part]))
        yield table


def flow(groups: Sequence[Sequence[Panel]], console: Console, room: int) -> Iterator[Table]:
    """Panels in rows as wide as fit; a group is not torn apart unless it is wider than the room itself."""
    row: list[Panel] = []
    for group in groups:
        for part in [group] if _fits(group, console, room) else [[panel] for panel in group]:
            if row and not _fits([*row, *part], console, room):
                yield _row(row)
                row = []
            row += part
    if row:
        yield _row(row)


def _row(panels: Sequence[Panel]) -> Table:
    row = Table.grid(padding=(0, 1, 0, 0))
    row.add_row(*panels)
    return row


def _fits(panels: Sequence[Panel], console: Console, room: int) -> bool:
    widths = [Measurement.get(console, console.options, panel).maximum for panel in panels]
    return sum(widths) + len(widths) - 1 <= room


def _blocks(columns: int, fit: int) -> list[slice]:
    """As few blocks of about equal width as fit, and at least one column each."""
    parts = np.array_split(np.arange(columns), -(-columns // max(fit, 1)))
    return [slice(int(part[0]), int(part[-1]) + 1) for part in parts]


def _named(title: str, part: slice, columns: int) -> str:
    if part.stop - part.start == columns:
        return title
    return f"{title}{', ' if title else ''}columns {part.start + 1} to {part.stop}"

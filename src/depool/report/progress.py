"""A progress line on standard error, for what takes longer than a second."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

PATIENCE = 1.0
"""Seconds before anything is shown."""


class ProgressLine:
    """Call it with (what, done, total); total 0 where it is not known."""

    def __init__(self, console: Console, *, shown: bool) -> None:
        self._shown = shown and console.is_terminal
        self._start = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            console=console, transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task("")

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar.live.is_started:  # else rich would print an empty line
            self._bar.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show how far the work is."""
        if not self._shown or time.monotonic() - self._start < PATIENCE:
            return
        self._bar.start()
        self._bar.update(self._task, description=what, completed=done, total=total or None)

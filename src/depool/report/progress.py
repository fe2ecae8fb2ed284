"""A progress bar for what takes longer than a second."""

from __future__ import annotations

from threading import Timer
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

PATIENCE = 1.0
"""Seconds before anything is shown."""


class Count(MofNCompleteColumn):
    """Such as 3/12; nothing where the whole is not known."""

    def render(self, task: Task) -> Text:
        """One task's count."""
        return super().render(task) if task.total is not None else Text("")


class ProgressLine:
    """Call it with (what, done, total); total 0 where it is not known.

    A timer shows the bar, not the calls: a single step that takes long is seen as well.
    """

    def __init__(self, console: Console, *, shown: bool) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), Count(), TimeElapsedColumn(),
            console=console, transient=True, redirect_stdout=False,  # a model may be written there meanwhile
        )  # fmt: skip
        self._task = self._bar.add_task("", total=None)
        self._timer = Timer(PATIENCE, self._bar.start) if shown else None

    def __enter__(self) -> ProgressLine:
        if self._timer is not None:
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()  # it may be about to start the bar
        if self._bar.live.is_started:  # else rich would print an empty line
            self._bar.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Say how far the work is."""
        self._bar.update(self._task, description=what, completed=done, total=total or None)

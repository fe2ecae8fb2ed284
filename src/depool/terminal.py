"""Where the commands meet the terminal: errors as one line, consoles, progress, JSON."""

from __future__ import annotations

import json as jsonlib
import sys
import traceback
from collections.abc import Callable
from shutil import get_terminal_size
from textwrap import fill
from typing import TYPE_CHECKING, Any

from depool.errors import DepoolError, Exit, FileError, NotConverted, UnexpectedError

if TYPE_CHECKING:
    from rich.console import Console

    from depool.report.progress import ProgressLine


def guarded(work: Callable[[], int], *, json: bool, verbose: int) -> int:
    """Run a command; errors become one line and an exit code."""
    try:
        return work()
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, a user sees one line
        if verbose > 1:
            traceback.print_exc()
        if isinstance(error, OSError):
            error = FileError(f"{error.filename or 'standard output'}: {error.strerror or error}")
        if not isinstance(error, DepoolError):
            text = f"unexpected {type(error).__name__}: {one_line(str(error))}"
            error = UnexpectedError(f"{text}; run again with -vv and please report it")
        return failed(error, json=json)


def failed(error: DepoolError, *, json: bool) -> Exit:
    """Say what went wrong: one line, or one for each pool that was refused."""
    if json:
        from depool.report import machine

        print_json(machine.error(error))
    for text in map(str, error.refusals) if isinstance(error, NotConverted) else [str(error)]:
        line = f"depool: {one_line(text)}"
        if sys.stderr.isatty():  # else it stays one line, for programs that read it
            line = fill(line, get_terminal_size().columns, subsequent_indent="  ", break_on_hyphens=False)
        sys.stderr.write(f"{line}\n")
    return error.exit_code


def console(*, to_stderr: bool = False) -> Console:
    """Where reports go: plain and 80 columns wide where it is no terminal, whatever the environment says."""
    from rich.console import Console

    class Page(Console):
        """Rich exits with 1 where a reader stops early, and 1 means not equal here."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    terminal = (sys.stderr if to_stderr else sys.stdout).isatty()
    return Page(stderr=to_stderr, highlight=False, force_terminal=terminal, width=None if terminal else 80)


def progress_line(what: str, *, shown: bool) -> ProgressLine:
    """The progress of a command, on standard error; `what` is said until the command says more."""
    from rich.console import Console

    from depool.report.progress import ProgressLine

    line = ProgressLine(Console(stderr=True), shown=shown and sys.stderr.isatty())
    line(what, 0, 0)
    return line


def print_json(value: dict[str, Any], *, to_stderr: bool = False) -> None:
    """One JSON object, without the infinities that JSON does not know."""
    stream = sys.stderr if to_stderr else sys.stdout
    stream.write(jsonlib.dumps(value, indent=2, allow_nan=False) + "\n")


def one_line(text: str) -> str:
    """A text without line breaks."""
    return " ".join(text.split())

"""Mutations of what a terminal shows and a pipe does not; rows in the order of `Mutation`'s fields."""

from __future__ import annotations

from mutants.mutation import tests

TERMINAL = [
    (
        "the progress bar is shown off terminals",
        "terminal.py",
        "shown=shown and sys.stderr.isatty()",
        "shown=shown",
        tests("test_terminal", "the_bar_shows_on_a_terminal_only"),
    ),
    (
        "the progress bar is shown under --quiet and --json",
        "terminal.py",
        "shown=shown and sys.stderr.isatty()",
        "shown=sys.stderr.isatty()",
        tests("test_terminal", "the_bar_is_silent_when_asked"),
    ),
    (
        "colours go into pipes that the environment calls terminals",
        "terminal.py",
        "force_terminal=terminal, width",
        "width",
        tests("test_terminal", "the_bar_shows_on_a_terminal_only"),
    ),
    (
        "errors are wrapped off terminals",
        "terminal.py",
        "if sys.stderr.isatty():",
        "if line:",
        tests("test_terminal", "errors_are_one_line_and_wrapped_on_a_terminal"),
    ),
]

MUTATIONS = [*TERMINAL]

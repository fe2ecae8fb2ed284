"""`depool explain` as a command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from depool.errors import Exit, UsageError
from depool.flags import Exact, Force, Json, Quiet, Verbose
from depool.terminal import console, guarded, print_json


def explain(
    *,
    kernel: Annotated[str, Parameter(help="Of the pool, such as 3x3.")] = "2x2",
    strides: Annotated[str, Parameter(help="Of the pool, such as 2 or 2x1.")] = "2",
    pads: Annotated[str, Parameter(help="One number, or TOP,LEFT,BOTTOM,RIGHT.")] = "0",
    size: Annotated[str | None, Parameter(help="Of the input; three windows per axis if not given.")] = None,
    scheme: Annotated[
        Literal["tree", "separable", "shallow"], Parameter(help="Shown first, as are the next.")
    ] = "tree",
    form: Annotated[
        Literal["branched", "concat", "sequential"], Parameter(help="concat: the published network.")
    ] = "concat",
    exact: Exact = False,
    pairing: Annotated[str, Parameter(help="Of a tree over four elements: ab|cd, ac|bd or ad|bc.")] = "ab|cd",
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="The page.")] = Path("explain.html"),
    force: Force = False,
    open_: Annotated[bool, Parameter(name="--open", negative=(), help="Open it in the browser.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Write a page on which a max pool's convolutions can be stepped through, on numbers of your own."""

    def work() -> int:
        from depool.explain.asked import asked
        from depool.explain.page import render
        from depool.onnx import files
        from depool.plan.tree import PAIRINGS
        from depool.report import machine, tables

        if pairing not in PAIRINGS:
            raise UsageError(f"--pairing {pairing}: choose one of {', '.join(PAIRINGS)}")
        files.check_target(output, files.STANDARD_IO, force=force)
        page, found = render(asked(kernel, strides, pads, size), scheme, form, pairing, exact=exact)
        files.write_text(page, output)
        if json:
            print_json(machine.explanation(str(output), page, found))
        elif not quiet:
            tables.print_written(console(), "written", output)
        if open_:
            import webbrowser

            webbrowser.open(output.resolve().as_uri())
        return Exit.DONE

    return guarded(work, json=json, verbose=verbose)

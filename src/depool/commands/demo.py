"""depool demo."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

from cyclopts import Parameter

from depool.errors import Exit
from depool.flags import Json, Quiet, Seed, Verbose
from depool.terminal import console, guarded, print_json


def demo(
    *,
    size: Annotated[int, Parameter(help="Of the image; 4 makes a sheet to check by hand.")] = 16,
    pairing: Annotated[str, Parameter(help="ab|cd, ac|bd or ad|bc: which elements of a window meet first.")] = "ab|cd",
    kernels: Annotated[Literal["numpy", "latex"] | None, Parameter(help="Print the kernels only, to copy.")] = None,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Tell how max(a, b) = relu(a - b) + b becomes a 2x2 max pool, on an image of random integers."""

    def work() -> int:
        from depool.demo import as_json, kernels_text, render
        from depool.demo import demo as make

        made = make(size, seed, pairing)
        if json:
            from depool.report import machine

            print_json({"schema": machine.SCHEMA, "command": "demo", **as_json(made)})
        elif kernels is not None:
            sys.stdout.write(kernels_text(made, kernels) + "\n")
        elif not quiet:
            render(made, console())
        return Exit.DONE if made.equal and made.average_equal else Exit.NOT_EQUAL

    return guarded(work, json=json, verbose=verbose)

"""depool bench."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from depool.errors import Exit
from depool.flags import (
    PLAIN,
    ConversionFlags,
    Json,
    Model,
    Quiet,
    Seed,
    Verbose,
    file_or_dash,
)
from depool.terminal import console, guarded, print_json, progress_line


def bench(
    model: Annotated[Model, Parameter(help="The ONNX file before; - is standard input.")],
    converted: Annotated[
        str | None,
        Parameter(
            allow_leading_hyphen=True,
            validator=file_or_dash,
            help="The ONNX file after; if not given, one is made in memory, and no file.",
        ),
    ] = None,
    /,
    *,
    schemes: Annotated[bool, Parameter(negative=(), help="Compare every scheme as well.")] = False,
    how: ConversionFlags = PLAIN,
    seconds: Annotated[float, Parameter(help="For each pool, and the model, at each number of threads.")] = 1.0,
    threads: Annotated[list[int] | None, Parameter(negative=(), help="One and all if not given.")] = None,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Time MODEL before and after conversion: each pool and the whole, in turns, as ratios with quartiles."""

    def work() -> int:
        from depool.bench import compare
        from depool.report import benches

        with progress_line("timing", shown=not (json or quiet)) as progress:
            found = compare(
                model,
                converted,
                schemes=schemes,
                **how.arguments(),
                seconds=seconds,
                threads=threads or (),
                seed=seed,
                progress=progress,
            )
        if json:
            print_json(benches.bench_object(found))
        elif not quiet:
            benches.print_bench(console(), found)
        return Exit.DONE

    return guarded(work, json=json, verbose=verbose)

"""The command line: depool inspect | convert | verify | bench | prove | targets | demo | explain."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter

from depool import __version__
from depool.commands.bench import bench
from depool.commands.demo import demo
from depool.commands.prove import prove
from depool.commands.targets import targets
from depool.errors import Exit, UsageError
from depool.explain.command import explain
from depool.flags import (
    PLAIN,
    ConversionFlags,
    Data,
    Force,
    InputRange,
    Json,
    Model,
    Quiet,
    ReportFile,
    Seed,
    ShapeOption,
    Verbose,
    file_or_dash,
    layout_pair,
    ranges,
    shapes,
)
from depool.terminal import console, failed, guarded, one_line, print_json, progress_line

app = App(
    name="depool",
    help="Rewrite the pooling layers of a trained network as convolutions, and prove the result equal.",
    version=__version__,
    version_flags=["--version"],
    help_epilogue="Exit codes: 0 done, 1 not equal, 2 usage, 3 some pools not converted, 4 undecided, 5 file error.",
)


@app.command
def inspect(
    model: Model,
    /,
    *,
    how: ConversionFlags = PLAIN,
    report: ReportFile = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Show each pool of MODEL, what is known of its input, and what convert would make of it and cost."""

    def work() -> int:
        import depool
        from depool.report import html, machine, tables

        if report is not None:
            html.prepare(report, model, (), force=force)
        with progress_line("inspecting", shown=not (json or quiet)):
            found = depool.inspect(model, **how.arguments())
        if report is not None:
            html.write(html.of_survey(found), report)
        if json:
            print_json(machine.survey(found) | {"report": None if report is None else str(report)})
        elif not quiet:
            tables.print_survey(console(), found, verbose=verbose > 0)
            tables.print_written(console(), "report", report)
        return Exit.DONE

    return guarded(work, json=json, verbose=verbose)


@app.command
def convert(
    model: Model,
    /,
    *,
    output: Annotated[
        str | None,
        Parameter(
            name=["--output", "-o"],
            allow_leading_hyphen=True,
            validator=file_or_dash,
            help="MODEL.depool.onnx if not given; - is standard output.",
        ),
    ] = None,
    how: ConversionFlags = PLAIN,
    allow_partial: Annotated[bool, Parameter(negative=(), help="Leave refused pools, convert the others.")] = False,
    verify: Annotated[bool, Parameter(negative="--no-verify", help="Check the result before it is written.")] = True,
    fold: Annotated[
        bool, Parameter(negative=(), help="Let pools become one with the convolutions next to them, to save work.")
    ] = False,
    certificate: Annotated[Path | None, Parameter(help="Prove the result too, and write the certificate here.")] = None,
    tune: Annotated[bool, Parameter(negative=(), help="Measure here which candidate is fastest.")] = False,
    data: Data = None,
    report: ReportFile = None,
    force: Force = False,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Rewrite the pools of MODEL as Conv, Relu, Add and Concat, and verify the result."""

    def work() -> int:
        import depool
        from depool.report import html, machine, tables

        if report is not None:
            html.prepare(report, model, (output, certificate), force=force)
        with progress_line("converting", shown=not (json or quiet)) as progress:
            made = depool.convert(
                model,
                output,
                **how.arguments(),
                allow_partial=allow_partial,
                verify=verify,
                fold=fold,
                certificate=certificate,
                tune=tune,
                data=data,
                force=force,
                seed=seed,
                progress=progress,
            )
        on_stdout = made.path is None
        if report is not None:
            html.write(html.of_result(made, model), report)
        if json:
            written = {"report": None if report is None else str(report)}
            print_json(machine.result(made, model) | written, to_stderr=on_stdout)
        elif not quiet:
            tables.print_result(console(to_stderr=on_stdout), made, model, verbose=verbose > 0)
            tables.print_written(console(to_stderr=on_stdout), "report", report)
        return made.verdict.exit_code if made.verdict is not None else Exit.DONE

    return guarded(work, json=json, verbose=verbose)


@app.command
def verify(
    original: Annotated[Model, Parameter(help="The model before: .onnx, .keras or .pt2; - is standard input.")],
    converted: Annotated[Model, Parameter(help="The model after.")],
    /,
    *,
    data: Data = None,
    input_range: InputRange = None,
    shape: ShapeOption = None,
    tolerance: Annotated[
        float, Parameter(help="The t of |a - b| <= t + t |b|, for models that carry no promise.")
    ] = 1e-5,
    end_to_end: Annotated[bool, Parameter(negative="--no-end-to-end", help="Run the whole models too.")] = True,
    counterexample: Annotated[Path | None, Parameter(help="Where to save an input that shows a difference.")] = None,
    nonfinite: Annotated[bool, Parameter(negative=(), help="Show what becomes of inf, NaN and their like.")] = False,
    layouts: Annotated[
        str | None, Parameter(help="NHWC,NCHW: where the channels of the two stand, if the shapes do not tell.")
    ] = None,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Check that CONVERTED computes what ORIGINAL computes: each pool against its promise, then end to end."""

    def work() -> int:
        import depool
        from depool.report import machine, tables

        with progress_line("verifying", shown=not (json or quiet)) as progress:
            found = depool.verify(
                original,
                converted,
                data=data,
                shapes=shapes(shape),
                input_range=ranges(input_range),
                tolerance=tolerance,
                end_to_end=end_to_end,
                seed=seed,
                counterexample=counterexample,
                nonfinite=nonfinite,
                layouts=layout_pair(layouts),
                progress=progress,
            )
        if json:
            print_json(machine.verdict(found))
        elif not quiet:
            tables.print_verdict(console(), found, verbose=verbose > 0)
        return found.exit_code

    return guarded(work, json=json, verbose=verbose)


for command in (bench, prove, targets, demo, explain):
    app.command(command)


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        code = app(sys.argv[1:], print_error=False, exit_on_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as error:
        text = one_line(str(error)).rstrip(".")
        code = failed(UsageError(f"{text} (see depool --help)"), json="--json" in sys.argv)
    except BrokenPipeError:  # the reader has seen enough; nothing may be flushed at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = Exit.DONE
    except KeyboardInterrupt:
        sys.stderr.write("depool: stopped\n")
        code = 130
    sys.exit(int(code or 0))

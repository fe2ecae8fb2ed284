"""The command line: depool inspect | convert | verify | prove | demo."""

from __future__ import annotations

import json as jsonlib
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

from depool import __version__
from depool.errors import DepoolError, Exit, FileError, NotConverted, UnexpectedError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from depool.report.progress import ProgressLine

app = App(
    name="depool",
    help="Rewrite the pooling layers of a trained network as convolutions, and prove the result equal.",
    version=__version__,
    version_flags=["--version"],
    help_epilogue="Exit codes: 0 done, 1 not equal, 2 usage, 3 some pools not converted, 4 undecided, 5 file error.",
)


def _file_or_dash(kind: object, value: str | None) -> None:
    """- is standard input or output; any other word with a hyphen in front is a mistyped option."""
    del kind
    if value is not None and value.startswith("-") and value != "-":
        raise ValueError("there is no such option.")


Model = Annotated[
    str, Parameter(allow_leading_hyphen=True, validator=_file_or_dash, help="An ONNX file, or - for standard input.")
]
Scheme = Annotated[
    Literal["auto", "tree", "separable", "shallow"],
    Parameter(help="Which maxima are taken; shallow has fewest ReLU layers."),
]
Form = Annotated[
    Literal["auto", "branched", "concat", "sequential"],
    Parameter(help="Add branches, the published network with Concat, or one chain."),
]
Channels = Annotated[
    Literal["auto", "grouped", "depthwise", "dense"], Parameter(help="How kernels are widened to all channels.")
]
TargetName = Annotated[str, Parameter(help="What the consumer accepts: generic or portable.")]
Exact = Annotated[bool, Parameter(negative=(), help="Bit-exact for |x| <= MAX/2, at more layers.")]
Pools = Annotated[Literal["max", "all"], Parameter(help="max, or all to convert average pools too.")]
Only = Annotated[list[str] | None, Parameter(negative=(), help="Convert pools of this name; * and ? match.")]
Skip = Annotated[list[str] | None, Parameter(negative=(), help="Leave pools of this name.")]
InputRange = Annotated[
    list[str] | None,
    Parameter(
        allow_leading_hyphen=True,
        negative=(),
        help="LO,HI of the model's inputs, or NAME=LO,HI of one tensor; verify checks it.",
    ),
]
Nonnegative = Annotated[bool, Parameter(negative=(), help="The pools' inputs are known to be >= 0.")]
ShapeOption = Annotated[
    list[str] | None, Parameter(name="--shape", negative=(), help="NAME:1,3,224,224 fixes an input.")
]
Opset = Annotated[int | None, Parameter(help="Raise the model's opset first.")]
Data = Annotated[Path | None, Parameter(help="An .npz of inputs to verify with as well.")]
Seed = Annotated[int, Parameter(help="Of drawn inputs.")]
Json = Annotated[bool, Parameter(name="--json", negative=(), help="Print one JSON object.")]
Quiet = Annotated[bool, Parameter(name=["--quiet", "-q"], negative=(), help="Print errors only.")]
Verbose = Annotated[
    int, Parameter(name=["--verbose", "-v"], count=True, help="Say more; -vv shows tracebacks as well.")
]


@app.command
def inspect(
    model: Model,
    /,
    *,
    scheme: Scheme = "auto",
    form: Form = "auto",
    channels: Channels = "auto",
    target: TargetName = "generic",
    exact: Exact = False,
    pools: Pools = "max",
    only: Only = None,
    skip: Skip = None,
    input_range: InputRange = None,
    assume_nonnegative: Nonnegative = False,
    shape: ShapeOption = None,
    opset: Opset = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Show each pool of MODEL, what is known of its input, and what convert would make of it and cost."""

    def work() -> int:
        import depool
        from depool.report import machine, tables

        found = depool.inspect(
            model,
            scheme=scheme,
            form=form,
            channels=channels,
            target=target,
            exact=exact,
            pools=pools,
            only=only or (),
            skip=skip or (),
            input_range=_ranges(input_range),
            assume_nonnegative=assume_nonnegative,
            shapes=_shapes(shape),
            opset=opset,
        )
        if json:
            _print_json(machine.survey(found))
        elif not quiet:
            tables.print_survey(_console(), found, verbose=verbose > 0)
        return Exit.DONE

    return _guarded(work, json=json, verbose=verbose)


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
            validator=_file_or_dash,
            help="MODEL.depool.onnx if not given; - is standard output.",
        ),
    ] = None,
    scheme: Scheme = "auto",
    form: Form = "auto",
    channels: Channels = "auto",
    target: TargetName = "generic",
    exact: Exact = False,
    pools: Pools = "max",
    only: Only = None,
    skip: Skip = None,
    input_range: InputRange = None,
    assume_nonnegative: Nonnegative = False,
    shape: ShapeOption = None,
    opset: Opset = None,
    allow_partial: Annotated[bool, Parameter(negative=(), help="Leave refused pools, convert the others.")] = False,
    verify: Annotated[bool, Parameter(negative="--no-verify", help="Check the result before it is written.")] = True,
    certificate: Annotated[Path | None, Parameter(help="Prove the result too, and write the certificate here.")] = None,
    data: Data = None,
    force: Annotated[bool, Parameter(negative=(), help="Overwrite an existing file.")] = False,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Rewrite the pools of MODEL as Conv, Relu, Add and Concat, and verify the result."""

    def work() -> int:
        import depool
        from depool.report import machine, tables

        with _progress(shown=not (json or quiet)) as progress:
            made = depool.convert(
                model,
                output,
                scheme=scheme,
                form=form,
                channels=channels,
                target=target,
                exact=exact,
                pools=pools,
                only=only or (),
                skip=skip or (),
                input_range=_ranges(input_range),
                assume_nonnegative=assume_nonnegative,
                shapes=_shapes(shape),
                opset=opset,
                allow_partial=allow_partial,
                verify=verify,
                certificate=certificate,
                data=data,
                force=force,
                seed=seed,
                progress=progress,
            )
        on_stdout = made.path is None
        if json:
            _print_json(machine.result(made, model), to_stderr=on_stdout)
        elif not quiet:
            tables.print_result(_console(to_stderr=on_stdout), made, model, verbose=verbose > 0)
        return made.verdict.exit_code if made.verdict is not None else Exit.DONE

    return _guarded(work, json=json, verbose=verbose)


@app.command
def verify(
    original: Annotated[Model, Parameter(help="The ONNX file before; - is standard input.")],
    converted: Annotated[Model, Parameter(help="The ONNX file after.")],
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
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Check that CONVERTED computes what ORIGINAL computes: each pool against its promise, then end to end."""

    def work() -> int:
        import depool
        from depool.report import machine, tables

        with _progress(shown=not (json or quiet)) as progress:
            found = depool.verify(
                original,
                converted,
                data=data,
                shapes=_shapes(shape),
                input_range=_ranges(input_range),
                tolerance=tolerance,
                end_to_end=end_to_end,
                seed=seed,
                counterexample=counterexample,
                nonfinite=nonfinite,
                progress=progress,
            )
        if json:
            _print_json(machine.verdict(found))
        elif not quiet:
            tables.print_verdict(_console(), found, verbose=verbose > 0)
        return found.exit_code

    return _guarded(work, json=json, verbose=verbose)


@app.command
def prove(
    original: Annotated[Model, Parameter(help="The ONNX file before; - is standard input.")],
    converted: Annotated[
        str | None,
        Parameter(
            allow_leading_hyphen=True,
            validator=_file_or_dash,
            help="The ONNX file after; ORIGINAL.depool.onnx if not given.",
        ),
    ] = None,
    /,
    *,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"], help="Write the certificate here.")] = None,
    check: Annotated[Path | None, Parameter(help="Check this certificate against the two files.")] = None,
    lemmas: Annotated[bool, Parameter(negative=(), help="Have z3 prove the gates' lemmas as well.")] = False,
    force: Annotated[bool, Parameter(negative=(), help="Overwrite an existing file.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Prove over the reals, from the two files alone, that CONVERTED computes what ORIGINAL computes."""

    def work() -> int:
        from depool.report import proofs

        paths = (original, converted or str(Path(original).with_suffix(".depool.onnx")))
        if check is not None:
            report = proofs.checked(check, *paths)
            shown, text, code = proofs.report_object(report), proofs.report_text(report), proofs.exit_code(report)
        else:
            certificate = proofs.certified(*paths)
            if output is not None:
                proofs.write(certificate, output, original, force=force)
            shown, text, code = certificate, proofs.certificate_text(certificate, output), Exit.DONE
        proved = proofs.lemma_rows() if lemmas else []
        if json:
            _print_json(shown)
        elif not quiet:
            console = _console()
            for line in [*proved, *text]:
                console.print(line, markup=False, soft_wrap=False)
        return code

    return _guarded(work, json=json, verbose=verbose)


@app.command
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

            _print_json({"schema": machine.SCHEMA, "command": "demo", **as_json(made)})
        elif kernels is not None:
            sys.stdout.write(kernels_text(made, kernels) + "\n")
        elif not quiet:
            render(made, _console())
        return Exit.DONE if made.equal and made.average_equal else Exit.NOT_EQUAL

    return _guarded(work, json=json, verbose=verbose)


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        code = app(print_error=False, exit_on_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as error:
        text = _one_line(str(error)).rstrip(".")
        code = _failed(UsageError(f"{text} (see depool --help)"), json="--json" in sys.argv)
    except BrokenPipeError:  # the reader has seen enough; nothing may be flushed at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = Exit.DONE
    except KeyboardInterrupt:
        sys.stderr.write("depool: stopped\n")
        code = 130
    sys.exit(int(code or 0))


def _guarded(work: Callable[[], int], *, json: bool, verbose: int) -> int:
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
            text = f"unexpected {type(error).__name__}: {_one_line(str(error))}"
            error = UnexpectedError(f"{text}; run again with -vv and please report it")
        return _failed(error, json=json)


def _failed(error: DepoolError, *, json: bool) -> Exit:
    """Say what went wrong: one line, or one for each pool that was refused."""
    if json:
        from depool.report import machine

        _print_json(machine.error(error))
    for line in map(str, error.refusals) if isinstance(error, NotConverted) else [str(error)]:
        sys.stderr.write(f"depool: {_one_line(line)}\n")
    return error.exit_code


def _ranges(given: list[str] | None) -> dict[str, tuple[float, float]] | None:
    """LO,HI or NAME=LO,HI each; a name may hold = itself."""
    ranges = {}
    for text in given or ():
        name, _, numbers = text.rpartition("=")
        low, comma, high = numbers.partition(",")
        try:
            ranges[name] = (float(low), float(high))
        except ValueError:
            comma = ""
        if not comma:
            raise UsageError(f"--input-range {text}: give LO,HI or NAME=LO,HI, such as --input-range=-1,1")
    return ranges or None


def _shapes(given: list[str] | None) -> dict[str, tuple[int, ...]] | None:
    """NAME:1,3,224,224 each; a name may hold : itself."""
    shapes = {}
    for text in given or ():
        name, _, numbers = text.rpartition(":")
        try:
            shapes[name] = tuple(int(n) for n in numbers.split(","))
        except ValueError:
            name = ""
        if not name:
            raise UsageError(f"--shape {text}: give NAME:1,3,224,224")
    return shapes or None


def _console(*, to_stderr: bool = False) -> Console:
    from rich.console import Console

    class Page(Console):
        """Rich exits with 1 where a reader stops early, and 1 means not equal here."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    page = Page(stderr=to_stderr, highlight=False)
    return page if page.is_terminal else Page(stderr=to_stderr, highlight=False, width=80)


def _progress(*, shown: bool) -> ProgressLine:
    from rich.console import Console

    from depool.report.progress import ProgressLine

    return ProgressLine(Console(stderr=True), shown=shown)


def _print_json(value: dict[str, Any], *, to_stderr: bool = False) -> None:
    stream = sys.stderr if to_stderr else sys.stdout
    stream.write(jsonlib.dumps(value, indent=2, allow_nan=False) + "\n")


def _one_line(text: str) -> str:
    return " ".join(text.split())

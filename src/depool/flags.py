"""The command line's flags: types, help, and how their values are read."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from depool.errors import UsageError


def file_or_dash(kind: object, value: str | None) -> None:
    """- is standard input or output; any other word with a hyphen in front is a mistyped option."""
    del kind
    if value is not None and value.startswith("-") and value != "-":
        raise ValueError("there is no such option.")


Model = Annotated[
    str,
    Parameter(
        allow_leading_hyphen=True, validator=file_or_dash, help="An .onnx, .keras or .pt2 file; - is standard input."
    ),
]
Scheme = Annotated[
    Literal["auto", "tree", "separable", "horner", "shallow"],
    Parameter(help="Which maxima are taken; shallow has fewest ReLU layers, horner fewest passes."),
]
Form = Annotated[
    Literal["auto", "branched", "concat", "sequential"],
    Parameter(help="Add branches, the published network with Concat, or one chain."),
]
Channels = Annotated[
    Literal["auto", "grouped", "depthwise", "dense", "folded"],
    Parameter(help="How kernels reach all channels."),
]
TargetName = Annotated[str, Parameter(help="Who will read the result: one that depool targets lists, or a TOML file.")]
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
Force = Annotated[bool, Parameter(negative=(), help="Overwrite an existing file.")]
Data = Annotated[Path | None, Parameter(help="An .npz of inputs to verify with as well.")]
ReportFile = Annotated[Path | None, Parameter(name="--report", help="Write a report too: one HTML file, offline.")]
Seed = Annotated[int, Parameter(help="Of drawn inputs.")]
Json = Annotated[bool, Parameter(name="--json", negative=(), help="Print one JSON object.")]
Quiet = Annotated[bool, Parameter(name=["--quiet", "-q"], negative=(), help="Print errors only.")]
Verbose = Annotated[
    int, Parameter(name=["--verbose", "-v"], count=True, help="Say more; -vv shows tracebacks as well.")
]


def layout_pair(given: str | None) -> Any:
    """NHWC,NCHW: channels last in the one model, first in the other."""
    if given is None:
        return None
    pair = tuple(given.upper().split(","))
    if len(pair) != 2 or not {*pair} <= {"NHWC", "NCHW"}:
        raise UsageError(f"--layouts {given}: give two of NHWC and NCHW, such as NHWC,NCHW")
    return pair


def ranges(given: list[str] | None) -> dict[str, tuple[float, float]] | None:
    """LO,HI or NAME=LO,HI each; a name may hold = itself."""
    found = {}
    for text in given or ():
        name, _, numbers = text.rpartition("=")
        low, comma, high = numbers.partition(",")
        try:
            found[name] = (float(low), float(high))
        except ValueError:
            comma = ""
        if not comma:
            raise UsageError(f"--input-range {text}: give LO,HI or NAME=LO,HI, such as --input-range=-1,1")
    return found or None


def shapes(given: list[str] | None) -> dict[str, tuple[int, ...]] | None:
    """NAME:1,3,224,224 each; a name may hold : itself."""
    found = {}
    for text in given or ():
        name, _, numbers = text.rpartition(":")
        try:
            found[name] = tuple(int(n) for n in numbers.split(","))
        except ValueError:
            name = ""
        if not name:
            raise UsageError(f"--shape {text}: give NAME:1,3,224,224")
    return found or None


@Parameter(name="*")
@dataclass(frozen=True)
class ConversionFlags:
    """The flags that say what is converted, and how; `inspect`, `convert` and `bench` share them."""

    scheme: Scheme = "auto"
    form: Form = "auto"
    channels: Channels = "auto"
    target: TargetName = "generic"
    exact: Exact = False
    pools: Pools = "max"
    only: Only = None
    skip: Skip = None
    input_range: InputRange = None
    assume_nonnegative: Nonnegative = False
    shape: ShapeOption = None
    opset: Opset = None

    def arguments(self) -> dict[str, Any]:
        """As the functions of the Python interface take them."""
        given = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "shape"}
        return given | {
            "only": self.only or (),
            "skip": self.skip or (),
            "input_range": ranges(self.input_range),
            "shapes": shapes(self.shape),
        }


PLAIN = ConversionFlags()
"""No flag was given."""

"""Plan + border + gates + form -> program, in a target's terms."""

from __future__ import annotations

import numpy.typing as npt

from depool.errors import Refused
from depool.facts import InputFacts
from depool.geometry import Size
from depool.lowering import adapt
from depool.lowering.forms import Builder, Form, Term, unit
from depool.lowering.padding import Border, edge_padded, mask_padded, masked_leaves
from depool.lowering.stages import Gates, Tap, lower_stages
from depool.lowering.styles import Branched, Concatenated, Sequential, Style
from depool.numerics import Rounding, Step, largest
from depool.plan.model import Plan, leaves
from depool.program import Conv, Program, Ref
from depool.target import Target

STYLES: dict[str, type[Style]] = {"branched": Branched, "concat": Concatenated, "sequential": Sequential}


def lower(
    plan: Plan, edge: Border, sizes: tuple[Size, ...], facts: InputFacts, form: str, gates: Gates, dtype: npt.DTypeLike
) -> Program:
    """Emit the border, then the plan's stages.

    Args:
        plan: which maxima, on what is left of the window once the border is in the data.
        edge: the border's rule.
        sizes: of the input.
        facts: known of the input.
        form: a key of STYLES.
        gates: by number of arguments.
        dtype: the type that it will run in, for the constant of a mask or guard.
    """
    build = Builder(len(edge.window.kernel_shape))
    signed = facts.signed and edge.rule != "shift"
    style = STYLES[form](build, signed, gates[2].exact)
    steps: list[Step] = []
    if edge.rule == "shift":
        shifted = Form(((Term(0, 0), 1.0),), -edge.shift)
        base: Ref = build.materialise([shifted], build.point())
        if form == "sequential":
            base = build.relu(base)
        steps.append(Step(sums=((2, 1),)))
    elif edge.rule == "edge":
        base = edge_padded(build, edge.window, sizes)
    elif edge.rule == "mask" and not isinstance(edge.window.pads, str):
        base = mask_padded(build, edge.window, dtype)
    else:
        base = 0
    first: Tap = unit(base).at
    if edge.rule == "mask" and isinstance(edge.window.pads, str):
        first = masked_leaves(build, edge.window, list(leaves(plan.stages[0].expr)), dtype).__getitem__
    guard = largest(dtype) / 2 if edge.rule == "guard" else 0.0
    _, more = lower_stages(plan, gates, style, first, edge.shift, guard)
    rounding = Rounding(
        tuple(steps + more),
        magnitude=abs(edge.shift),
        heaviest=_heaviest(plan, steps + more, gates, signed),
        halves=plan.scheme == "shallow",
    )
    program = Program(build.rank, tuple(build.nodes), rounding)
    return adapt.compacted(program, sizes) if any(stage.merged for stage in plan.stages) else program


def _heaviest(plan: Plan, steps: list[Step], gates: Gates, signed: bool) -> float:
    """No intermediate value exceeds this times M."""
    if not plan.gates:
        return 1.0
    if gates[2].exact:
        return 1 / gates[2].reach
    return max([2.0 if signed else 1.0, *(weight for step in steps for _, weight in step.sums)])


def adapted(program: Program, target: Target, channels: str, form: str) -> Program:
    """In the target's own terms.

    Raises:
        Refused: TARGET_LACKS, where there are none.
    """
    if channels == "depthwise" and form != "sequential":
        program = adapt.one_map_each(program)
    if not target.copies:
        program = adapt.without_copies(program)
    program = adapt.zero_extended(program, target.dilation, target.asymmetric_pads, target.mixed_axes)
    convs = [node for node in program.nodes if isinstance(node, Conv)]
    longest = max((max(node.window.kernel_shape) for node in convs), default=1)
    lacks = ""
    if not target.padding and any(node.window.padded for node in convs):
        lacks = "no padding in a convolution, and this pool reads beyond its input's border"
    elif not target.mixed_axes and any(len(set(node.window.strides)) > 1 for node in convs):
        lacks = "no strides that differ between the axes, and this pool or scheme needs them"
    elif not target.bias and any(node.bias is not None for node in convs):
        lacks = "no bias, and the border of a signed input needs one"
    elif target.largest_kernel is not None and longest > target.largest_kernel:
        lacks = f"no kernel longer than {target.largest_kernel}, and this pool needs {longest}"
    if lacks:
        fix = "Choose another --scheme or --target, or leave this pool out (--skip)."
        raise Refused("TARGET_LACKS", f"target {target.name} takes {lacks}.", fix)
    return program

"""Adaptive pools: a plain pool where the output size divides the input's, else runs of like windows."""

from __future__ import annotations

from dataclasses import replace

import numpy.typing as npt

from depool.averages import in_pieces
from depool.choice import Choice, form_of, gates_of, layout
from depool.choose import choose
from depool.conversion import Conversion
from depool.errors import Refused
from depool.facts import InputFacts
from depool.geometry import Kind, PoolSpec, Size
from depool.lowering.lower import adapted
from depool.lowering.pieces import adaptive_runs, average_pieces, max_pieces
from depool.program import Program
from depool.target import named


def choose_adaptive(
    kind: Kind,
    outputs: tuple[Size, ...],
    sizes: tuple[Size, ...],
    facts: InputFacts,
    choice: Choice,
    dtype: npt.DTypeLike,
) -> Conversion:
    """An adaptive pool: output i of m reads the elements floor(i n / m) ... ceil((i + 1) n / m) - 1 of n.

    Args:
        kind: max or average.
        outputs: per axis; None keeps the axis as it is.
        sizes: of the input; an axis of one output, or of any number that is not None, must be static.
        facts: what is known of the input.
        choice: what the user asks for.
        dtype: the floating-point type that it will run in.

    Returns:
        The conversion; where the windows differ in size, its `spec` describes the largest one.

    Raises:
        Refused: DYNAMIC_GLOBAL, ADAPTIVE_UNEVEN, and what `choose` raises.
    """
    if any(size is None and m is not None for size, m in zip(sizes, outputs, strict=True)):
        raise Refused(
            "DYNAMIC_GLOBAL",
            "an adaptive or global pool over a dynamic size has no kernel that could be written down.",
            "Fix the size (example inputs, a static input shape, or --shape NAME:1,3,224,224).",
        )
    pairs = [(n, m) if n is not None and m is not None else (1, 1) for n, m in zip(sizes, outputs, strict=True)]
    kernel = tuple(-(-n // m) for n, m in pairs)
    spec = PoolSpec(kernel, kernel, kind=kind)
    if all(n % m == 0 for n, m in pairs):
        return choose(spec, sizes, facts, choice, dtype)
    target = named(choice.target)
    if not (target.branches and target.spatial_concat) or None in sizes:
        raise Refused(
            "ADAPTIVE_UNEVEN",
            f"its windows differ in size ({' and '.join(f'{n} to {m}' for n, m in pairs if n % m)} elements), which "
            "no one convolution can say.",
            "Use static sizes and a target that takes branches, or an output size that divides the input's.",
        )
    static = tuple(n for n, _ in pairs)
    runs = tuple(adaptive_runs(n, m) for n, m in pairs)

    def pool(part: PoolSpec, part_sizes: tuple[int, ...]) -> Program:
        return choose(part, part_sizes, facts, choice, dtype).program

    window = spec.resolve((None,) * spec.rank)
    if kind == "average":
        made = in_pieces(spec, window, average_pieces(runs, static, (1,) * spec.rank), "average")
    else:
        made = in_pieces(spec, window, max_pieces(runs, static, pool), "adaptive")
        made = replace(made, form=form_of(choice, target), gate=gates_of(choice, made.border, facts, dtype)[2].name)
    channels = layout(choice, target)
    return replace(made, channels=channels, program=adapted(made.program, target, channels, made.form))

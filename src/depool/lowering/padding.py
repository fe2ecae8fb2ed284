"""Borders: a max pool pads with minus infinity, a convolution with zero.

zero   nothing to do where 0 cannot beat the true maximum: the input is >= 0, or only ReLUs read the
       result (r(max(x, 0)) = r(max(x)))
edge   repeat the first and last element: a window that reaches p beyond the border, p < kernel,
       holds the border element too, so its maximum is unchanged (dilation 1, static sizes)
mask   add P = conv(1; B) - B with zero pads: 0 inside and -B on the padding, B = MAX / 2; the
       differences then need gate Y, which is exact for all |x| <= B
guard  subtract B from the differences of taps on the padding: a chain of gates that starts from a tap that never is
       (lowering/guarded.py) needs no gate Y
shift  where neither edge nor mask will do: max(x) = max(x - L) + L with x >= L, so that zero pads are the smallest
       value
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite
from typing import Literal

import numpy as np
import numpy.typing as npt

from depool.errors import Refused
from depool.facts import InputFacts
from depool.geometry import Size, Window
from depool.lowering.forms import Builder, Form, Term, unit
from depool.numerics import largest
from depool.plan.model import Index
from depool.program import Conv, Ref

Rule = Literal["none", "zero", "edge", "mask", "guard", "shift"]


@dataclass(frozen=True)
class Border:
    """The rule for a pool's border.

    Attributes:
        rule: which.
        reason: the fact that licenses it, as printed.
        window: the pool's geometry, less taps that are padding in every window, and end pads that no window reads.
        shift: the L of rule ``shift``.
    """

    rule: Rule
    reason: str
    window: Window
    shift: float = 0.0


def border(
    window: Window, sizes: tuple[Size, ...], facts: InputFacts, exact: bool, *, edges: bool = True, masks: bool = True
) -> Border:
    """Choose the rule, the cheapest that the facts license.

    Args:
        window: the pool's geometry.
        sizes: of the input.
        facts: known of the input.
        exact: whether nothing may be rounded.
        edges: whether rule `edge` may be used; a chain cannot.
        masks: whether rule `mask` may be used; a chain cannot.

    Raises:
        Refused: NEEDS_INPUT_RANGE, EXACT_NEEDS_BRANCHES.
    """
    window = _live(window, sizes)
    tight = _trimmed(window, sizes)
    if not tight.padded:
        return Border("none", "no window reads padding", tight)
    if not facts.signed:
        return Border("zero", f"input >= 0: {facts.reason}", window)
    if facts.relu_follows:
        return Border("zero", "only ReLUs read the result", window)
    if edges and _edges_suffice(tight, sizes):
        return Border("edge", "signed input, dilation 1, static sizes: border elements are repeated", tight)
    if masks:
        return Border("mask", "signed input: -MAX/2 is added on the padding", tight)
    if exact:
        raise Refused(
            "EXACT_NEEDS_BRANCHES",
            "a padded signed input must be shifted in this form or for this target, and the shift rounds.",
            "Use --form branched with a target that takes branches, or leave out --exact.",
        )
    if not isfinite(facts.lower):
        raise Refused(
            "NEEDS_INPUT_RANGE",
            "in this form or for this target the convolutions cannot tell the border of a signed input from a zero, "
            "and no lower bound of its input is known.",
            "Give --input-range LO,HI for the model's inputs or --input-range NAME=LO,HI for the pool's input, "
            "or use --form branched with a target that takes branches.",
        )
    return Border("shift", f"input >= {facts.lower:.6g}: {facts.reason}", window, facts.lower)


def guard(edge: Border) -> Border:
    """The rule `guard` in the place of `mask`."""
    return replace(edge, rule="guard", reason="signed input: taps on the padding are switched off by -MAX/2")


def _live(window: Window, sizes: tuple[Size, ...]) -> Window:
    """Without the first and last taps that lie on the padding in every window, where sizes are static.

    Such a tap is never the maximum, and its ReLU would be zero everywhere: a 13x13 pool with pads 6 on a 4x4 input
    is a 7x7 pool with pads 3.
    """
    if isinstance(window.pads, str):
        return window
    kernel, pads = list(window.kernel_shape), list(window.pads)
    outs = window.out_sizes(tuple(size or 0 for size in sizes))
    for axis, size in enumerate(sizes):
        (begin, end), d, stride = window.pads[axis], window.dilations[axis], window.strides[axis]
        if size is None:
            continue
        first, last = -begin, (outs[axis] - 1) * stride - begin  # where the first tap lies in the first and last window
        dead = [not _meets(first + k * d, last + k * d, stride, size) for k in range(kernel[axis])]
        low = min(_leading(dead), begin // d)  # pads are never negative
        high = min(_leading(dead[::-1]), end // d)
        kernel[axis] -= low + high
        pads[axis] = (begin - low * d, end - high * d)
    return replace(window, kernel_shape=tuple(kernel), pads=tuple(pads))


def _meets(first: int, last: int, stride: int, size: int) -> bool:
    """Whether any of first, first + stride, ..., last lies in 0 ... size - 1."""
    return any(0 <= at < size for at in range(first, last + 1, stride))


def _leading(flags: list[bool]) -> int:
    """How many are true before the first that is not."""
    return next((i for i, flag in enumerate(flags) if not flag), len(flags))


def _trimmed(window: Window, sizes: tuple[Size, ...]) -> Window:
    """Without the end padding that no window reads, where sizes are static."""
    if isinstance(window.pads, str):
        return window
    pads = []
    for size, (begin, end), extent, stride in zip(sizes, window.pads, window.extent, window.strides, strict=True):
        used = end
        if size is not None:
            last = (size + begin + end - extent) // stride * stride
            used = max(last + extent - size - begin, 0)
        pads.append((begin, used))
    return replace(window, pads=tuple(pads))


def _edges_suffice(window: Window, sizes: tuple[Size, ...]) -> bool:
    if isinstance(window.pads, str):
        return False
    return all(
        pads == (0, 0) or (size is not None and dilation == 1 and max(pads) < kernel)
        for pads, size, dilation, kernel in zip(window.pads, sizes, window.dilations, window.kernel_shape, strict=True)
    )


def edge_padded(build: Builder, window: Window, sizes: tuple[Size, ...]) -> Ref:
    """The input with its border elements repeated.

    A two-tap kernel dilated to the whole axis picks its first or last element; they are joined to the input
    by a spatial Concat, axis by axis.
    """
    ref = 0
    for axis, (begin, end) in enumerate(window.explicit_pads(sizes)):
        size = sizes[axis]
        if size is None or not (begin or end):
            continue
        first = _pick(build, ref, axis, size, 0) if size > 1 and begin else ref
        last = _pick(build, ref, axis, size, 1) if size > 1 and end else ref
        ref = build.concat([first] * begin + [ref] + [last] * end, axis=1 + axis)
    return ref


def _pick(build: Builder, ref: Ref, axis: int, size: int, tap: int) -> Ref:
    point = build.point()
    shape, dilations = list(point.kernel_shape), list(point.dilations)
    shape[axis], dilations[axis] = 2, size - 1
    window = replace(point, kernel_shape=tuple(shape), dilations=tuple(dilations))
    index = tuple(tap if a == axis else 0 for a in range(build.rank))
    return build.conv([Form(((Term(ref, 0, index), 1.0),))], ref, window)


def mask_padded(build: Builder, window: Window, dtype: npt.DTypeLike) -> Ref:
    """The input with -B around it: a 1x1 convolution with the pool's pads, plus the mask."""
    point = replace(build.point(), pads=window.pads)
    inside = build.emit(Conv(0, np.ones((1, 1, *point.kernel_shape)), point), 1)
    return build.add(inside, _mask(build, [(0,) * build.rank], point, dtype))


def masked_leaves(build: Builder, window: Window, taps: list[Index], dtype: npt.DTypeLike) -> dict[Index, Form]:
    """Each tap of the window as a map of one tensor, -B where it falls on the padding.

    For SAME_* on dynamic sizes: only a convolution with the pool's own geometry knows where the padding is.
    """
    forms = [Form(((Term(0, 0, tap), 1.0),)) for tap in taps]
    inside = build.conv(forms, 0, window)
    whole = build.add(inside, _mask(build, taps, window, dtype))
    return {tap: unit(whole, m) for m, tap in enumerate(taps)}


def _mask(build: Builder, taps: list[Index], window: Window, dtype: npt.DTypeLike) -> Ref:
    """P = conv(conv(x; weight 0, bias 1); tap B, bias -B): 0 where the tap is inside, -B where it is not."""
    big = largest(dtype) / 2
    shape = build.point().kernel_shape
    ones = build.emit(Conv(0, np.zeros((1, 1, *shape)), build.point(), (1.0,)), 1)
    kernel = np.zeros((len(taps), 1, *window.kernel_shape))
    for row, tap in enumerate(taps):
        kernel[(row, 0, *tap)] = big
    mask = build.emit(Conv(ones, kernel, window, (-big,) * len(taps)), len(taps))
    # a runtime that fused this convolution with the Add behind it would compute (x + B) - B, and lose x
    same = np.eye(len(taps)).reshape(len(taps), len(taps), *shape)
    return build.emit(Conv(mask, same, build.point()), len(taps))

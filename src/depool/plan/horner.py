"""Few passes over the data: stages of a few taps, each of them one Horner chain.

    max(x0, ..., xn) = x0 + r((x1 - x0) + r((x2 - x1) + ... + r(xn - x(n-1))))

is n convolutions of two taps and one of one at the strided resolution, and each sum and ReLU is fused into its
convolution by runtimes: n + 1 passes over the data. A stage of r taps, gap d <= w, makes windows of w + (r - 1) d out
of windows of w: windows of 13 take 8 passes, 1 -> 4 -> 13, where the taps one by one take 13.

A stage may be padded although others were before it; what it reads beyond their results is a padded 0. Where that
would lose an element, results reach a little beyond the border (`widen`). `Plan` proves every candidate.

A small window may also be one stage of all its taps, in a path from neighbour to neighbour.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import permutations, product
from math import prod

from depool.errors import UsageError
from depool.geometry import Pads, Size, Window
from depool.plan.model import Expr, Index, Leaf, Max, Plan, Stage
from depool.plan.separable import axis_by_axis, busy, widened

LINES = 3
"""Ways along one axis that are compared, those of fewest passes."""
STAGE = 6
"""The most taps of a stage that is not the whole axis: more of them are more passes than two stages."""
CHAIN = 9
"""The most taps that one stage takes in several axes."""

Described = tuple[tuple[Index, Index, Index, Pads, tuple[Index, ...]], ...]
"""Of each stage: kernel_shape, strides, dilations, pads, and its taps, the outermost gate's first."""

Path = tuple[tuple[int, int], ...]
"""(taps, gap) of each stage along one axis, before dilation."""


def horner(window: Window, sizes: tuple[Size, ...]) -> Iterator[Plan]:
    """The plans that may be the fastest: every order of the axes, the best ways along each, and one chain of all."""
    axes = busy(window)
    if not axes:
        yield axis_by_axis(window, "horner", (), {}, sizes)
        return
    most = LINES if len(axes) < 3 else 2
    ways = {axis: lines(_alone(window, axis), sizes[axis])[:most] for axis in axes}
    for order in permutations(axes):
        for chosen in product(*(ways[axis] for axis in order)):
            yield axis_by_axis(window, "horner", order, dict(zip(order, chosen, strict=True)), sizes)
    if len(axes) > 1 and prod(window.kernel_shape) <= CHAIN:
        yield whole(window)


def whole(window: Window) -> Plan:
    """One stage of all taps: every convolution has the pool's own strides."""
    taps = snake([_outwards(_offsets(window, axis)) for axis in range(len(window.kernel_shape))])
    return Plan(window, "horner", (Stage(window, chain(taps), merged=True),))


@cache
def lines(window: Window, size: Size, base: Window | None = None) -> tuple[tuple[Stage, ...], ...]:
    """The ways along one axis, from windows of 1 or from those of `base`: right at the borders, fewest passes first."""
    found = []
    for path in paths(window.kernel_shape[0], window.strides[0], base.kernel_shape[0] if base else 1)[: 2 * LINES]:
        if (stages := _placed(window, size, path, base)) is not None:
            found.append(stages)
        if window.pads == ((0, 0),) and window.strides == (1,) and len(path) > 1 and base is None:
            found.append(_placed(window, size, path[::-1], None) or ())  # the largest gap first leaves least to do
    return tuple(dict.fromkeys(filter(None, found)))[:LINES]


def further(base: Plan, window: Window, sizes: tuple[Size, ...]) -> Iterator[Plan]:
    """Plans that go on from the result of another pool of the same input: windows of 9 from windows of 5.

    Both have strides 1, and the other pool's windows lie within this one's.
    """
    of = base.window
    if isinstance(window.pads, str) or isinstance(of.pads, str) or of.dilations != window.dilations:
        return
    if max(*of.strides, *window.strides) > 1 or of == window:
        return
    axes = [a for a in range(len(window.kernel_shape)) if _alone(of, a) != _alone(window, a)]
    ways = [lines(_alone(window, axis), sizes[axis], _alone(of, axis)) for axis in axes if _within(of, window, axis)]
    if len(ways) < len(axes):
        return
    rank = len(window.kernel_shape)
    for chosen in product(*ways):
        more = [widened(stage, axis, rank) for axis, stages in zip(axes, chosen, strict=True) for stage in stages]
        yield Plan(window, "horner", (*base.stages, *more), sizes)


def _within(of: Window, window: Window, axis: int) -> bool:
    begin, our_begin = of.pads_along(axis)[0], window.pads_along(axis)[0]
    return begin <= our_begin and of.extent[axis] - begin <= window.extent[axis] - our_begin


@cache
def paths(kernel: int, stride: int, start: int = 1) -> list[Path]:
    """Ways from windows of `start` to windows of `kernel`, by passes: all but the last stage at full resolution."""
    best: dict[int, list[Path]] = {start: [()]}
    for width in range(start + 1, kernel + 1):
        found: list[Path] = [((width, 1),)] if width > STAGE and start == 1 else []
        for taps in range(2, min(width, STAGE) + 1):
            for gap in range(1, (width - 1) // (taps - 1) + 1):
                before = width - (taps - 1) * gap
                found += [(*path, (taps, gap)) for path in best.get(before, ()) if gap <= before]
        found.sort(key=lambda path: _passes(path, stride if width == kernel else 1))
        best[width] = found[: 3 * LINES]
    return best[kernel]


def _passes(path: Path, stride: int) -> tuple[float, int]:
    return sum(taps for taps, _ in path[:-1]) + path[-1][0] / stride, len(path)


def _placed(window: Window, size: Size, path: Path, base: Window | None) -> tuple[Stage, ...] | None:
    """The stages of a path, their results as little beyond the border as is right."""
    dilation, (begin, end) = window.dilations[0], window.pads_along(0)
    before = () if base is None else (Stage(base, chain([(t,) for t in range(base.kernel_shape[0])])),)
    for widen in dict.fromkeys((0, dilation, 2 * dilation, begin + end)):
        stages = _stages(window, path, widen, base)
        try:
            Plan(window, "horner", (*before, *stages), (size,))
        except AssertionError:
            continue
        return stages
    return None


def _stages(window: Window, path: Path, widen: int, base: Window | None) -> tuple[Stage, ...]:
    """Stage by stage: `left` and `right`, how far windows reach; `near` and `far`, results beyond the borders.

    The last result stands where the pool's does: left = begin, near = 0, far = end - right; so does the base's.
    """
    dilation, (begin, end) = window.dilations[0], window.pads_along(0)
    whole = window.extent[0] - 1
    left = right = near = far = reach = 0
    if base is not None:
        reach = base.extent[0] - 1
        left, right = base.pads_along(0)[0], reach - base.pads_along(0)[0]
        far = base.pads_along(0)[1] - right
    stages = []
    for i, (taps, gap) in enumerate(path):
        reach += (taps - 1) * gap * dilation
        last = i == len(path) - 1
        new_left = begin if last else max(left, min(begin, round(begin * reach / (whole * dilation)) * dilation))
        new_right = reach - new_left
        new_near = 0 if last else min(widen, begin - new_left)
        beyond = end - (whole - begin)
        new_far = beyond if last else min(max(beyond, -new_right) + widen, end - new_right)
        pads = (new_left - left + new_near - near, new_right - right + new_far - far)
        offsets = [t * gap * dilation - (new_left - left) for t in range(taps)]
        stride = window.strides[0] if last else 1
        if min(pads) < 0:
            return ()
        small = Window((taps,), (stride,), (gap * dilation,), (pads,))
        stages.append(Stage(small, chain([(t,) for t in _outwards(offsets)]), merged=True))
        left, right, near, far = new_left, new_right, new_near, new_far
    return tuple(stages)


def described(plan: Plan) -> Described:
    """A plan of this scheme as plain numbers, to be kept in a record; nothing of other schemes, whose names suffice."""
    if plan.scheme != "horner":
        return ()
    return tuple(
        (w.kernel_shape, w.strides, w.dilations, tuple(map(w.pads_along, range(len(w.pads)))), tuple(in_order(stage)))
        for stage in plan.stages
        for w in [stage.window]
    )


def recalled(window: Window, sizes: tuple[Size, ...], stages: Described) -> Plan:
    """The plan that was described, proved anew.

    Raises:
        UsageError: where it is none for this window.
    """
    if not all(map(_whole_numbers, stages)):
        raise UsageError("the stages do not make this pool: whole numbers are expected")
    try:
        made = [Stage(Window(k, s, d, pads), chain(taps), merged=True) for k, s, d, pads, taps in stages]
        return Plan(window, "horner", tuple(made), sizes)
    except (AssertionError, TypeError, ValueError, IndexError) as error:
        raise UsageError(f"the stages do not make this pool: {error}") from error


def _whole_numbers(value: object) -> bool:
    return all(map(_whole_numbers, value)) if isinstance(value, tuple) else type(value) is int


def chain(taps: Sequence[Index]) -> Expr:
    """max(max(max(xn, x(n-1)), ...), x0), x0 given first."""
    expr: Expr = Leaf(taps[-1])
    for tap in taps[-2::-1]:
        expr = Max((expr, Leaf(tap)))
    return expr


def in_order(stage: Stage) -> list[Index]:
    """The taps of a stage that is a chain of gates: x0, ..., xn.

    Raises:
        AssertionError: where it is none.
    """
    found: list[Index] = []
    expr = stage.expr
    while isinstance(expr, Max) and len(expr.args) == 2 and isinstance(leaf := expr.args[1], Leaf):
        found.append(leaf.index)
        expr = expr.args[0]
    if isinstance(expr, Leaf):
        return [*found, expr.index]
    raise AssertionError("a merged stage is a chain of gates")


def snake(axes: Sequence[Sequence[int]]) -> list[Index]:
    """All taps, each a neighbour of the one before in one axis alone."""
    path: list[Index] = [()]
    for axis in axes:
        path = [(*at, i) for n, at in enumerate(path) for i in (axis if n % 2 == 0 else axis[::-1])]
    return path


def _outwards(offsets: Sequence[int]) -> list[int]:
    """Taps from the one that is read in place outwards, side by side: differences then straddle the position.

    A kernel of taps on both sides needs no zeros to stand where it stands, as pads are never negative.
    """
    nearest = min(range(len(offsets)), key=lambda t: (abs(offsets[t]), t))
    below = list(range(nearest - 1, -1, -1))
    above = list(range(nearest + 1, len(offsets)))
    order = [nearest]
    sides = (below, above) if offsets[nearest] >= 0 else (above, below)
    while any(sides):
        for side in sides:
            order += [side.pop(0)] if side else []
    return order


def _offsets(window: Window, axis: int) -> list[int]:
    begin = window.pads_along(axis)[0]
    return [t * window.dilations[axis] - begin for t in range(window.kernel_shape[axis])]


def _alone(window: Window, axis: int) -> Window:
    alone = window.kernel_shape[axis], window.strides[axis], window.dilations[axis]
    return Window((alone[0],), (alone[1],), (alone[2],), (window.pads_along(axis),))

"""The derivation as a story for the terminal: 80 columns, readable without colour."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from rich.box import SQUARE
from rich.console import Console, RenderableType
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from depool.demo.derivation import WINDOW, Demo, Layer, number, signed_sum
from depool.demo.figures import flow, grid, map_panels, matrix, windows_tables
from depool.program import Array

COLUMNS = 80
BY_HAND = 4
"""Up to this size every window is worked out."""

Chapter = tuple[str, Iterable[RenderableType]]


def render(demo: Demo, console: Console) -> None:
    """Print the derivation, step by step, on this image."""
    room = min(console.width, COLUMNS)
    chapters = [*_algebra(demo), *_maps(demo, console, room), _windows(demo), _average(demo, console, room)]
    for i, (title, parts) in enumerate(chapters, 1):
        console.print(Rule(Text(f"{i}  {title}", style="bold"), align="left"), width=room)
        for part in parts:
            console.print(part, width=room)
        console.print()


def _algebra(demo: Demo) -> Iterator[Chapter]:
    yield "The larger of two numbers", [_two_numbers()]
    yield f"The largest of a 2x2 window, paired {demo.pairing}", [_four_numbers(demo)]
    yield "The same as layers", [_layer_table(demo)]


def _two_numbers() -> Text:
    return Text(
        "max(a, b) = r(a - b) + b        where r(x) = max(x, 0) is the ReLU\n\n"
        "If a is larger, r(a - b) is a - b, and adding b gives a.\n"
        "If not, r(a - b) is 0, and adding b gives b."
    )


def _four_numbers(demo: Demo) -> Text:
    """Each pair's maximum is its ReLU plus the element it kept, and so is the maximum of the two maxima."""
    pairs = [layer for layer in demo.first if layer.relu]
    kept = [layer.name for layer in demo.first if not layer.relu]
    left, right = (f"{layer.name} + {name}" for layer, name in zip(pairs, kept, strict=True))
    of = [", ".join(letter for letter in WINDOW if letter in layer.linear) for layer in pairs]
    u, v = demo.second
    return Text(
        f"a b      {pairs[0].equation}      max({of[0]}) = {left}\n"
        f"c d      {pairs[1].equation}      max({of[1]}) = {right}\n\n"
        f"max(a, b, c, d) = max({left}, {right})\n"
        f"                = r(({left}) - ({right})) + ({right})\n"
        f"                = {u.formula} + {v.formula}\n"
        f"                = {_total(demo)}      {u.equation}      {v.equation}"
    )


def _total(demo: Demo) -> str:
    return " + ".join(layer.name for layer in demo.second)


def _layer_table(demo: Demo) -> Table:
    """One row per layer; a ReLU stands beside the convolution that it follows."""
    table = Table(box=SQUARE, header_style="bold")
    for column in ("layer", "kernel", "then", "gives"):
        table.add_column(column)
    for layer in demo.first:
        table.add_row(f"Conv 2x2, stride {layer.strides[0]}", matrix(layer.kernel), *_gives(layer))
    table.add_section()
    joined = demo.second[0].reads
    table.add_row("Concat", "", "", f"{', '.join(joined)} as {len(joined)} maps", end_section=True)
    for layer in demo.second:
        table.add_row("Conv 1x1", matrix(layer.kernel), *_gives(layer))
    table.add_section()
    table.add_row("Add", "", "", f"max = {_total(demo)}")
    return table


def _gives(layer: Layer) -> tuple[str, str]:
    return "ReLU" if layer.relu else "", layer.equation


def _maps(demo: Demo, console: Console, room: int) -> Iterator[Chapter]:
    size, half = demo.size, demo.size // 2
    title = f"An image of {size}x{size} random integers, seed {demo.seed}, in windows of 2x2"
    yield title, windows_tables(_cut(demo), room)
    title = "Four convolutions with stride 2: each window becomes one number"
    yield title, flow(_before_and_after(demo.first, room), console, room)
    title = f"Two 1x1 convolutions over the maps {', '.join(demo.second[0].reads)}"
    yield title, flow(_before_and_after(demo.second, room), console, room)
    ours = map_panels(f"max = {_total(demo)}", demo.result, room)
    title = f"The {half}x{half} sum beside NumPy's own maximum of each window"
    both = flow([ours + map_panels("NumPy's max", demo.native, room)], console, room)
    yield title, [*both, _verdict("equal", demo.result, demo.native)]


def _cut(demo: Demo) -> Array:
    """[rows of windows, columns of windows, 2, 2]."""
    half = demo.size // 2
    return demo.x.reshape(half, 2, half, 2).swapaxes(1, 2)


def _before_and_after(layers: Iterable[Layer], room: int) -> list[list[Panel]]:
    """A map before its ReLU stands beside the same map after it; maps without a ReLU stand together."""
    groups: list[list[Panel]] = []
    plain: list[Panel] = []
    for layer in layers:
        after = map_panels(layer.equation, layer.map, room)
        if layer.relu:
            groups.append(map_panels(layer.linear, layer.before, room) + after)
        else:
            plain += after
    return [*groups, plain]


def _verdict(what: str, ours: Array, numpys: Array) -> Text:
    same = int(np.count_nonzero(ours == numpys))
    if same == numpys.size:
        return Text(f"{what}: yes, all {same} of {same}", style="bold")
    return Text(f"{what}: NO, only {same} of {numpys.size}", style="bold")


def _chosen(demo: Demo) -> list[tuple[int, ...]]:
    """The windows to work out: all of a small image, else the top left one."""
    half = demo.size // 2
    return list(np.ndindex(half, half)) if demo.size <= BY_HAND else [(0, 0)]


def _windows(demo: Demo) -> Chapter:
    """The formulas with numbers put in, one row per window."""
    table = Table(box=SQUARE, show_header=False, show_lines=True)
    for at in _chosen(demo):
        rows = zip(("a b", "c d"), grid(_cut(demo)[at], 2).splitlines(), strict=True)
        window = "\n".join(f"{letters}  {numbers}" for letters, numbers in rows)
        table.add_row(Text(f"row {at[0] + 1}\ncolumn {at[1] + 1}\n\n{window}"), Text("\n".join(_worked(demo, at))))
    return "Every window by hand" if demo.size <= BY_HAND else "The top left window by hand", [table]


def _worked(demo: Demo, at: tuple[int, ...]) -> Iterator[str]:
    """One window's numbers, all of them read from the maps."""
    window = _cut(demo)[at].ravel()
    values = dict(zip(WINDOW, window, strict=True))
    for layer in demo.layers:
        values[layer.name] = layer.map[at]
        if layer.name not in WINDOW:
            put = signed_sum(layer.kernel, [number(values[name]) for name in layer.reads])
            steps = f"r({put}) = r({number(layer.before[at])})" if layer.relu else put
            yield f"{layer.equation} = {steps} = {number(layer.map[at])}"
    yield f"max = {_total(demo)} = {_sum_of([values[layer.name] for layer in demo.second])} = {number(demo.result[at])}"
    yield f"NumPy's max of {', '.join(map(number, window))} is {number(demo.native[at])}"


def _sum_of(values: Sequence[float]) -> str:
    return signed_sum(np.ones(len(values)), map(number, values))


def _average(demo: Demo, console: Console, room: int) -> Chapter:
    kernel = demo.average_kernel
    table = Table.grid(padding=(0, 4, 0, 0))
    table.add_row(Text("Conv 2x2, stride 2"), matrix(kernel), Text(f"average = {signed_sum(kernel, WINDOW)}\n"))
    sums = [""]
    for i, j in _chosen(demo):
        put = _sum_of(_cut(demo)[i, j].ravel())
        sums.append(f"row {i + 1}, column {j + 1}: ({put}) / {kernel.size} = {number(demo.average[i, j])}")
    maps = flow([map_panels("average", demo.average, room)], console, room)
    verdict = _verdict("equal to NumPy's mean", demo.average, demo.native_average)
    return "The average is one convolution", [table, Text("\n".join([*sums, ""])), *maps, verdict]

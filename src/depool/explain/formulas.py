"""What each map of a program is called, and the formula that makes it, read off the kernels.

A window's elements are a, b, c, ... where a convolution looks at the input through the pool's own window; elsewhere
x[i,j] is the element i rows below and j columns right of where the kernel stands. What only picks one element
keeps its name; all else is t1, t2, ..., and the last map is max.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, product
from string import ascii_lowercase

from depool.demo.derivation import number, signed_sum
from depool.program import Concat, Conv, Program, Relu, sources


@dataclass(frozen=True)
class Map:
    """One map: its name in later formulas, and how it is made."""

    name: str
    formula: str


def maps(program: Program, kernel_shape: tuple[int, ...]) -> list[tuple[Map, ...]]:
    """The maps of every tensor, the input first.

    Args:
        program: over rows and columns.
        kernel_shape: of the pool.
    """
    found: list[tuple[Map, ...]] = [(Map("x", ""),)]
    readers = [[n for n in program.nodes if i in sources(n)] for i in range(len(program.nodes) + 1)]
    fresh = (f"t{n}" for n in count(1))
    for i, node in enumerate(program.nodes, 1):
        last = i == len(program.nodes)
        free = iter(["max"]) if last else fresh
        if isinstance(node, Conv):
            hidden = len(readers[i]) == 1 and isinstance(readers[i][0], Relu)
            whole = node.source == 0 and node.window.kernel_shape == kernel_shape
            found.append(tuple(_conv(node, found[node.source], free, hidden=hidden, letters=whole, last=last)))
        elif isinstance(node, Relu):
            found.append(tuple(_defined(next(free), f"r({before.name})") for before in found[node.source]))
        elif isinstance(node, Concat):
            found.append(_concat(node, found, free))
        else:
            pairs = zip(found[node.left], found[node.right], strict=True)
            found.append(tuple(_defined(next(free), f"{a.name} + {b.name}") for a, b in pairs))
    return [tuple(Map(_typeset(m.name), _typeset(m.formula)) for m in tensor) for tensor in found]


def _conv(
    node: Conv, source: tuple[Map, ...], free: Iterator[str], *, hidden: bool, letters: bool, last: bool
) -> Iterator[Map]:
    shape, dilations = node.kernel.shape[2:], node.window.dilations
    words = []
    for before in source:
        for n, tap in enumerate(product(*map(range, shape))):
            if letters:
                words.append(ascii_lowercase[n])
            elif node.kernel[0, 0].size == 1:
                words.append(before.name)
            else:
                words.append(f"{before.name}[{','.join(str(t * d) for t, d in zip(tap, dilations, strict=True))}]")
    for o, kernel in enumerate(node.kernel):
        linear = signed_sum(kernel, words)
        if node.bias is not None and node.bias[o]:
            linear = f"{linear} + {number(node.bias[o])}" if linear else number(node.bias[o])
        if hidden or (linear in words and not last):  # a ReLU alone reads it, or it only picks one element
            yield Map(linear, linear)
        else:
            yield _defined(next(free), linear or "0")


def _concat(node: Concat, found: list[tuple[Map, ...]], free: Iterator[str]) -> tuple[Map, ...]:
    """Joined maps keep their names; rows or columns that are repeated make a new map."""
    if node.axis == 0:
        return tuple(Map(before.name, before.name) for ref in node.sources for before in found[ref])
    where = "above each other" if node.axis == 1 else "side by side"
    parts = ", ".join(found[ref][0].name for ref in node.sources)
    return (_defined(next(free), f"{parts} {where}"),)


def _defined(name: str, formula: str) -> Map:
    return Map(name, f"{name} = {formula}")


def _typeset(text: str) -> str:
    """A real minus; the numbers of t1, t2 below the line."""
    below = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
    out, lowered = [], False
    for before, letter in zip(" " + text, text, strict=False):
        lowered = letter.isdigit() and (before == "t" or lowered)
        out.append(letter.translate(below) if lowered else letter)
    return "".join(out).replace("-", "−")

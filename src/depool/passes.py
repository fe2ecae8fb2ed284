"""What runtimes run as one, in which order, and where the results lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from depool.program import Add, Conv, Program, Ref, Relu, sources


@dataclass(frozen=True)
class Pass:
    """What runtimes run as one.

    Attributes:
        nodes: a convolution and the Add and the ReLU behind it, as far as there are such; or one other node.
        reads: what they read from before: the node's own sources, and then what the Add reads besides.
    """

    nodes: tuple[int, ...]
    reads: tuple[Ref, ...]


def passes(program: Program) -> list[Pass]:
    """The passes of a program, in an order in which they can be run."""
    readers: dict[Ref, list[int]] = {}
    for i, node in enumerate(program.nodes):
        for ref in sources(node):
            readers.setdefault(ref, []).append(i)
    fused: set[int] = set()
    found: list[Pass] = []
    for i, node in enumerate(program.nodes):
        if i not in fused:
            found.append(_from(program, i, readers, fused) if isinstance(node, Conv) else Pass((i,), sources(node)))
            fused.update(found[-1].nodes)
    return sorted(found, key=lambda one: one.nodes[-1])


def apart(program: Program) -> list[Pass]:
    """The passes of a runtime that fuses nothing: each node is one."""
    return [Pass((i,), sources(node)) for i, node in enumerate(program.nodes)]


def read_once(order: Sequence[Pass]) -> set[Ref]:
    """Results that are read once, so that their reader may write over them."""
    readers = Counter(ref for one in order for ref in one.reads)
    return {one.nodes[-1] + 1 for one in order if readers[one.nodes[-1] + 1] == 1}


def slots(order: Sequence[Pass]) -> dict[Ref, int]:
    """A place for every tensor, the input first; a place is used again once nobody reads its tensor any more."""
    last = {0: 0}
    for step, one in enumerate(order, 1):
        last.update(dict.fromkeys(one.reads, step))
        last[one.nodes[-1] + 1] = step
    places = {0: 0}
    for step, one in enumerate(order, 1):
        busy = {place for ref, place in places.items() if last[ref] >= step}
        places[one.nodes[-1] + 1] = next(place for place in range(len(busy) + 1) if place not in busy)
    return places


def _from(program: Program, first: int, readers: dict[Ref, list[int]], fused: set[int]) -> Pass:
    """The pass that begins with a convolution; each of its results but the last is read once."""
    nodes, reads = [first], list(sources(program.nodes[first]))
    while len(readers.get(nodes[-1] + 1, ())) == 1:
        (reader,) = readers[nodes[-1] + 1]
        behind = program.nodes[reader]
        if reader in fused or not isinstance(behind, Add | Relu) or (isinstance(behind, Add) and len(reads) > 1):
            break
        reads += [ref for ref in sources(behind) if ref != nodes[-1] + 1]
        nodes.append(reader)
        if isinstance(behind, Relu):
            break
    return Pass(tuple(nodes), tuple(reads))

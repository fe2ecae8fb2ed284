"""Linear forms over tensors, and the builder that emits them as convolutions.

A form is sum of coefficient * (map of a tensor, read at a tap of the current window) + constant. Gates and
plans are written in forms; a lowering decides when a form becomes a tensor.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from depool.geometry import Window
from depool.plan.model import Index
from depool.program import Add, Concat, Conv, Node, Ref, Relu


class Term(NamedTuple):
    """One map of a tensor; `tap` is None where it is read at the same position, by a 1x1 kernel."""

    tensor: Ref
    map: int
    tap: Index | None = None


@dataclass(frozen=True)
class Form:
    """A linear form.

    Attributes:
        terms: coefficient by term.
        constant: added once.
        weight: sum of |coefficient * value| over the terms is at most weight * M (for error bounds).
    """

    terms: tuple[tuple[Term, float], ...]
    constant: float = 0.0
    weight: float = 1.0

    @property
    def unit(self) -> bool:
        """Whether the form is just one map of a tensor."""
        return len(self.terms) == 1 and self.terms[0][1] == 1 and not self.constant

    def at(self, tap: Index) -> Form:
        """The form read at a tap of a window that slides over it."""
        return replace(self, terms=tuple((term._replace(tap=tap), c) for term, c in self.terms))


def unit(tensor: Ref, index: int = 0) -> Form:
    """The form that is one map of a tensor."""
    return Form(((Term(tensor, index), 1.0),))


def combine(parts: Iterable[tuple[float, Form]], weight: float | None = None) -> Form:
    """The sum of coefficient * form."""
    terms: dict[Term, float] = {}
    constant, total = 0.0, 0.0
    for factor, form in parts:
        constant += factor * form.constant
        total += abs(factor) * form.weight
        for term, c in form.terms:
            terms[term] = terms.get(term, 0.0) + factor * c
    kept = tuple((term, c) for term, c in terms.items() if c)
    return Form(kept, constant, total if weight is None else weight)


class Builder:
    """Emits nodes, each distinct one once."""

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.nodes: list[Node] = []
        self._seen: dict[object, Ref] = {}
        self._maps = [1]

    def maps(self, ref: Ref) -> int:
        """Maps per channel of a tensor."""
        return self._maps[ref]

    def emit(self, node: Node, maps: int) -> Ref:
        """Append a node, or find the same one."""
        key: object = node
        if isinstance(node, Conv):
            key = (node.source, node.kernel.shape, node.kernel.tobytes(), node.window, node.bias)
        if key not in self._seen:
            self.nodes.append(node)
            self._maps.append(maps)
            self._seen[key] = len(self.nodes)
        return self._seen[key]

    def point(self) -> Window:
        """The window of a 1x1 convolution."""
        one = (1,) * self.rank
        return Window(one, one, one, ((0, 0),) * self.rank)

    def conv(self, forms: Sequence[Form], source: Ref, window: Window) -> Ref:
        """One convolution whose maps are the parts of `forms` that read `source`, with their constants."""
        parts = [[(term, c) for term, c in form.terms if term.tensor == source] for form in forms]
        tapped = {term.tap is not None for part in parts for term, _ in part}
        if len(tapped) > 1:
            raise AssertionError("a tensor is read both at taps and at points")
        used = window if tapped == {True} else self.point()
        kernel = np.zeros((len(forms), self.maps(source), *used.kernel_shape))
        for row, part in enumerate(parts):
            for term, c in part:
                kernel[(row, term.map, *(term.tap or (0,) * self.rank))] = c
        bias = tuple(form.constant for form in forms)
        return self.emit(Conv(source, kernel, used, bias if any(bias) else None), len(forms))

    def relu(self, source: Ref) -> Ref:
        """A ReLU over all maps."""
        return self.emit(Relu(source), self.maps(source))

    def add(self, left: Ref, right: Ref) -> Ref:
        """The sum of two tensors."""
        return self.emit(Add(left, right), self.maps(left))

    def concat(self, refs: Sequence[Ref], axis: int = 0) -> Ref:
        """Tensors joined along their maps (axis 0) or a spatial axis; one alone is itself."""
        if len(refs) == 1:
            return refs[0]
        maps = sum(map(self.maps, refs)) if axis == 0 else self.maps(refs[0])
        return self.emit(Concat(tuple(refs), axis), maps)

    def materialise(self, forms: Sequence[Form], window: Window) -> Ref:
        """One tensor whose maps are the forms: a convolution per tensor read, joined by Add."""
        tensors = sorted({term.tensor for form in forms for term, _ in form.terms})
        plain = [replace(form, constant=0.0) for form in forms]
        total: Ref | None = None
        for i, tensor in enumerate(tensors):
            whole = plain if i else forms
            identity = [unit(tensor, m).terms for m in range(self.maps(tensor))]
            reads = [tuple((t, c) for t, c in form.terms if t.tensor == tensor) for form in whole]
            is_tensor = reads == identity and tensor != 0 and not any(form.constant for form in whole)
            part = tensor if is_tensor else self.conv(whole, tensor, window)
            total = part if total is None else self.add(total, part)
        if total is None:
            raise AssertionError("a form without terms")
        return total

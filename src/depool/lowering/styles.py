"""The three forms a program can take; each says how a layer of forms becomes tensors.

branched     Conv -> Relu -> Add <- Conv           every maximum is a tensor, rounded once
concat       Concat(Relu(Conv), ..., Conv, ...)    the published network: a Concat at each level
sequential   Conv -> Relu -> Conv -> ... -> Conv   values that wait travel through the ReLUs:
                                                   x = r(x) if x >= 0, else x = r(x) - r(-x)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from depool.geometry import Window
from depool.lowering.forms import Builder, Form, combine, unit
from depool.numerics import Step
from depool.program import Ref


class Style(ABC):
    """How forms become tensors.

    Args:
        builder: receives the nodes.
        signed: whether values below zero occur.
        exact: whether no value may be rounded but where a gate rounds it on purpose.
    """

    materialises = False
    """Whether each gate's result is a tensor of its own (then the pair lemma bounds its error)."""

    def __init__(self, builder: Builder, signed: bool, exact: bool) -> None:
        self.builder = builder
        self.signed = signed
        self.exact = exact

    @abstractmethod
    def layer(
        self, relu: Sequence[Form], keep: Sequence[Form], window: Window, last: bool
    ) -> tuple[list[Form], list[Form]]:
        """Compute r(f) for each form of `relu`, and carry each of `keep`; both as forms over new tensors."""

    def settle(self, forms: Sequence[Form], window: Window) -> list[Form]:
        """What the results of one level of gates look like to the next."""
        del window
        return list(forms)

    def finish(self, form: Form, window: Window) -> Ref:
        """The tensor that is the program's result."""
        return self.builder.materialise([form], window)

    def sums(self, relu: Sequence[Form], keep: Sequence[Form], share: float = 1.0, growth: float = 1.0) -> Step:
        """The roundings of one layer, where the pair lemma does not apply.

        `share` is the sum of |weights| with which a gate's neurons enter its output.
        """
        carried = [_sum(keep)] * (2 if self.signed else 1) if keep else []
        neurons = [(terms, weight * share) for terms, weight in ([_sum(relu)] if relu else [])]
        return Step(sums=(*neurons, *carried), growth=growth)


class Branched(Style):
    """Every value is a tensor; what waits just stays where it is."""

    materialises = True

    def layer(
        self, relu: Sequence[Form], keep: Sequence[Form], window: Window, last: bool
    ) -> tuple[list[Form], list[Form]]:
        """Neurons that read the same tensors share one convolution per tensor."""
        del last
        return self._grouped(relu, window, relu=True), self.settle(keep, window)

    def settle(self, forms: Sequence[Form], window: Window) -> list[Form]:
        """Forms of more than one term are added up, each group in one tensor."""
        waiting = [form for form in forms if not form.unit]
        made = iter(self._grouped(waiting, window, relu=False))
        return [form if form.unit else next(made) for form in forms]

    def _grouped(self, forms: Sequence[Form], window: Window, relu: bool) -> list[Form]:
        groups: dict[frozenset[Ref], list[Form]] = {}
        for form in forms:
            group = groups.setdefault(frozenset(term.tensor for term, _ in form.terms), [])
            if form not in group:
                group.append(form)
        made: dict[Form, Form] = {}
        for group in groups.values():
            tensor = self.builder.materialise(group, window)
            tensor = self.builder.relu(tensor) if relu else tensor
            made |= {form: unit(tensor, m) for m, form in enumerate(group)}
        return [made[form] for form in forms]


class Concatenated(Style):
    """One convolution per value, then a Concat; the last gate ends in an Add."""

    def layer(
        self, relu: Sequence[Form], keep: Sequence[Form], window: Window, last: bool
    ) -> tuple[list[Form], list[Form]]:
        """ReLU'd values first, kept ones after them."""
        build = self.builder
        tensors = {form: build.relu(build.materialise([form], window)) for form in relu}
        kept = {form: build.materialise([form], window) for form in keep}
        if last:
            return [unit(tensors[form]) for form in relu], [unit(kept[form]) for form in keep]
        refs = list(dict.fromkeys([*tensors.values(), *kept.values()]))
        joined = build.concat(refs)
        return (
            [unit(joined, refs.index(tensors[form])) for form in relu],
            [unit(joined, refs.index(kept[form])) for form in keep],
        )


class Sequential(Style):
    """One convolution and one ReLU per layer, and nothing else."""

    def layer(
        self, relu: Sequence[Form], keep: Sequence[Form], window: Window, last: bool
    ) -> tuple[list[Form], list[Form]]:
        """Maps: the neurons, then what is needed to rebuild each kept value."""
        del last
        rows = list(dict.fromkeys(relu))
        recipes = {form: self._recipe(form, rows, keep) for form in dict.fromkeys(keep)}
        tensor = self.builder.relu(self.builder.materialise(rows, window))
        neurons = [unit(tensor, rows.index(form)) for form in relu]
        carried = [
            combine(
                [(sign, unit(tensor, rows.index(row))) for row, sign in recipes[form]],
                weight=max(len(recipes[form]) - 1.0, 1.0),
            )
            for form in keep
        ]
        return neurons, carried

    def _recipe(self, form: Form, rows: list[Form], keep: Sequence[Form]) -> list[tuple[Form, float]]:
        """Rows behind the ReLU, and their signs, that add up to a form; missing rows are appended.

        x = r(x) where x >= 0; x = r(x) - r(-x) else; and x = g + r(x - g) - r(g - x), which costs one row
        where g is kept as well and r(x - g) is a neuron already (but rounds, so not where exactness is at stake).
        """
        if not self.signed:
            return [(_row(form, rows), 1.0)]
        for g in () if self.exact else keep:
            if g == form:
                break  # only values kept before this one, so that recipes end
            if combine([(1, form), (-1, g)]) in rows:
                up, down = combine([(1, form), (-1, g)]), combine([(1, g), (-1, form)])
                return [*self._recipe(g, rows, keep), (_row(up, rows), 1.0), (_row(down, rows), -1.0)]
        return [(_row(form, rows), 1.0), (_row(combine([(-1, form)]), rows), -1.0)]


def _row(form: Form, rows: list[Form]) -> Form:
    if form not in rows:
        rows.append(form)
    return form


def _sum(forms: Sequence[Form]) -> tuple[int, float]:
    """The longest sum and the largest weight among forms."""
    return max(len(f.terms) + bool(f.constant) for f in forms), max(f.weight for f in forms)

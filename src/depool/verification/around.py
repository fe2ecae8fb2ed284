"""Do two models of one framework compute the same around their pools?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from depool.errors import UsageError
from depool.program import Array
from depool.record import Record
from depool.verification.compare import difference
from depool.verification.subjects import Seen, Subject


@dataclass(frozen=True, eq=False)
class Around:
    """What stands around the pools, which must be the same in both models.

    Attributes:
        original: as it was given.
        base: the original, with pools at all converted paths.
        made: the layers in their places in the converted model.
        averages: average pools for the maxima among them.
    """

    original: Subject
    base: Subject
    made: Mapping[str, Any]
    averages: Mapping[str, Any]

    @classmethod
    def of(cls, original: Subject, converted: Subject, records: tuple[Record, ...]) -> Around:
        """Of a conversion."""
        paths = [record.where for record in records]
        base = original.with_pools(converted, paths)
        averages = base.averages([record.where for record in records if not record.average])
        return cls(original, base, converted.layers(paths), averages)

    def differs(
        self,
        arrays: Sequence[Array],
        expected: Mapping[str, Array],
        results: Mapping[str, Array],
        seen: Seen,
        tolerance: float,
    ) -> str:
        """How the models differ apart from their pools, bit for bit where computations repeat; or nothing.

        With its pools back the converted model is the original; and the original, its pools giving what the new
        ones give, is the converted model.
        """
        slack = 0.0 if self.base.repeats else tolerance
        if self.base is not self.original and not _same(expected, self.base(arrays, seen), slack):
            return "with its pools put back the converted model gives other outputs: something else was changed"
        if not _same(results, paired(results, self.base(arrays, instead=self.made)), slack):
            return "around its pools the converted model computes something else: something else was changed"
        return ""

    def averaged(self, arrays: Sequence[Array]) -> Mapping[str, Array]:
        """The outputs with average pools."""
        return self.base(arrays, instead=self.averages) if self.averages else {}


def paired(expected: Mapping[str, Array], got: Mapping[str, Array]) -> dict[str, Array]:
    """Outputs under the names of the first model: by name, else by order.

    Raises:
        UsageError: where their numbers differ.
    """
    if len(expected) != len(got):
        raise UsageError(f"the two models give {len(expected)} and {len(got)} outputs")
    if expected.keys() == got.keys():
        return dict(got)
    return dict(zip(expected, got.values(), strict=True))


def _same(expected: Mapping[str, Array], got: Mapping[str, Array], slack: float) -> bool:
    pairs = [(value, got[name]) for name, value in expected.items()]
    return all(a.shape == b.shape and difference(a, b).tolerance <= slack for a, b in pairs)

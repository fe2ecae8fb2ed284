"""The tables of a report: a model end to end, special values, refusals, and what the target does with the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from depool.errors import Refusal
from depool.onnx.caveats import Caveat
from depool.report import words
from depool.verification.verdict import Verdict

NONE = "–"
"""In a cell where there is nothing to say."""


@dataclass(frozen=True)
class Sheet:
    """A table.

    Attributes:
        title: its caption.
        columns: their headings, with units.
        rows: the first entry of each is its heading.
        numbers: whether all but the first column are numbers.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: bool = False


def end_to_end(verdict: Verdict | None) -> Iterator[Sheet]:
    """The outputs of the whole model."""
    if verdict is None or not verdict.outputs:
        return
    columns = ("output", "largest difference", "in ulp", "smallest tolerance that passes", "average pools would give")
    rows = tuple(
        (
            check.name,
            f"{check.difference.max_abs:.3g}",
            words.count(check.difference.max_ulp),
            f"{check.difference.tolerance:.2g}",
            NONE if check.noticed is None else f"{check.swapped:.2g}",
        )
        for check in verdict.outputs
    )
    yield Sheet("End to end, as measured", columns, rows, numbers=True)


def special(verdict: Verdict | None) -> Iterator[Sheet]:
    """What becomes of infinities, NaN and their like."""
    if verdict is not None and verdict.special:
        columns = ("pool", "value", "native", "converted", "outputs that differ")
        rows = tuple((s.where, s.value, s.native, s.converted, f"{s.differ} of {s.outputs}") for s in verdict.special)
        yield Sheet("Special values", columns, rows)


def refusals(found: tuple[Refusal, ...]) -> Iterator[Sheet]:
    """What stays as it is, and why."""
    if found:
        rows = tuple((refusal.where or NONE, refusal.code, refusal.reason, refusal.fix) for refusal in found)
        yield Sheet("Left as they are", ("node", "code", "why", "what to do"), rows)


def caveats(found: tuple[Caveat, ...]) -> Iterator[Sheet]:
    """What the target does with the rest of the model."""
    if found:
        rows = tuple((c.where or "the model", c.op_type or NONE, "says nothing" if c.silent else "refuses it", c.text)
                     for c in found)  # fmt: skip
        yield Sheet("The target and the rest of the model", ("node", "operator", "the target", "what"), rows)

"""The outcome of a verification."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from depool.errors import Exit
from depool.verification.histogram import NONE, Histogram


@dataclass(frozen=True)
class Difference:
    """How far two arrays are apart.

    Attributes:
        max_abs: the largest absolute difference.
        max_ulp: the largest difference in units in the last place of the expected value.
        tolerance: the smallest t for which ``|a - b| <= t + t |b|`` everywhere.
        index: where the absolute difference is largest.
        expected: the one value there.
        got: the other.
    """

    max_abs: float
    max_ulp: float
    tolerance: float
    index: tuple[int, ...]
    expected: float
    got: float


@dataclass(frozen=True)
class PoolCheck:
    """One pool against its promise.

    Attributes:
        where: the pool.
        equal: whether every input kept the promise; None where nothing could be run.
        promise: in words.
        difference: the worst that was measured, as a share of the bound.
        kind: on which kind of input.
        bound: the promised bound at that place.
        share: the difference divided by the bound.
        windows: how many output elements were compared.
        errors: the same, counted by their differences.
        oracle: what computed the pool, and what ran its replacement.
        note: why it is not equal or could not be run.
    """

    where: str
    equal: bool | None
    promise: str
    difference: Difference | None = None
    kind: str = ""
    bound: float = 0.0
    share: float = 0.0
    windows: int = 0
    errors: Histogram = NONE
    oracle: str = ""
    note: str = ""


@dataclass(frozen=True)
class OutputCheck:
    """One output of the whole model.

    Attributes:
        name: the output.
        difference: the worst that was measured.
        kind: on which kind of input.
        noticed: whether average pools in place of the max pools would have made a larger difference;
            None where there was nothing to swap.
        swapped: the largest difference that they made.
        within: whether the stated tolerance holds; None where none was stated.
    """

    name: str
    difference: Difference
    kind: str
    noticed: bool | None = None
    swapped: float = 0.0
    within: bool | None = None


@dataclass(frozen=True)
class SpecialCheck:
    """One special value in one pool.

    Attributes:
        where: the pool.
        value: what was put into the middle of the first channel of otherwise normal data.
        promised: whether the promise covers it.
        native: outputs of the original that are not finite, or that show the value.
        converted: the same of the conversion.
        differ: how many outputs are further apart than the bound.
        channels: in how many channels they are.
        outputs: how many there are.
    """

    where: str
    value: str
    promised: bool
    native: str
    converted: str
    differ: int
    channels: int
    outputs: int


@dataclass(frozen=True)
class Verdict:
    """Whether two models are equal, and how that is known.

    Attributes:
        equal: True, False, or None where it could not be decided.
        summary: in one sentence.
        pools: each converted pool against its promise.
        outputs: the models end to end, as measured.
        notes: what the user should know besides.
        counterexample: a saved input that shows the difference.
        special: what becomes of special values, where asked for.
    """

    equal: bool | None
    summary: str
    pools: tuple[PoolCheck, ...] = ()
    outputs: tuple[OutputCheck, ...] = ()
    notes: tuple[str, ...] = ()
    counterexample: Path | None = None
    special: tuple[SpecialCheck, ...] = ()

    @property
    def exit_code(self) -> Exit:
        """0 equal, 1 not equal, 4 undecided."""
        if self.equal is None:
            return Exit.INCONCLUSIVE
        return Exit.DONE if self.equal else Exit.NOT_EQUAL

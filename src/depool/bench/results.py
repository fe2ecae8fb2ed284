"""What was timed, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from depool.bench.machine import Machine
from depool.bench.timing import Spread, Timings
from depool.errors import Refusal
from depool.facts import InputFacts
from depool.geometry import PoolSpec

NATIVE = "native"
"""The candidate that all others are compared with."""
CONVERTED = "converted"
"""The candidate that was given, or made as the flags say."""


@dataclass(frozen=True)
class Row:
    """One candidate at one number of threads.

    Attributes:
        candidate: `NATIVE`, ``converted``, or a scheme.
        threads: that one operator may use.
        seconds: for one run.
        ratio: to the native time, round by round; None for the native one itself.
        rounds: how many there were.
    """

    candidate: str
    threads: int
    seconds: Spread
    ratio: Spread | None
    rounds: int


@dataclass(frozen=True)
class How:
    """How a candidate was converted."""

    scheme: str
    form: str
    layout: str
    gate: str


@dataclass(frozen=True)
class PoolTimes:
    """One pool, or several that are alike.

    Attributes:
        where: the names of all that are alike.
        op_type, spec, channels, dtype, facts: of the pool.
        batch, sizes: of the input it was timed on.
        nominal: whether the model leaves the spatial sizes open.
        how: by candidate.
        rows: the times.
        untimed: why there are none, or "".
    """

    where: tuple[str, ...]
    op_type: str
    spec: PoolSpec
    channels: int
    dtype: str
    facts: InputFacts
    batch: int
    sizes: tuple[int, ...]
    nominal: bool
    how: Mapping[str, How]
    rows: tuple[Row, ...]
    untimed: str = ""


@dataclass(frozen=True)
class WholeTimes:
    """The whole model.

    Attributes:
        inputs: the shapes that it was timed on.
        nominal: the inputs whose declared shapes are dynamic.
        differences: by candidate, the smallest t with |a - b| <= t + t |b| for all outputs on that input, as measured.
        rows: the times.
        untimed: why there are none, or "".
    """

    inputs: Mapping[str, tuple[int, ...]]
    nominal: tuple[str, ...]
    differences: Mapping[str, float]
    rows: tuple[Row, ...]
    untimed: str = ""


@dataclass(frozen=True)
class Bench:
    """What `depool bench` found.

    Attributes:
        model: the file.
        converted: the other file, or None where the model was converted for this.
        seconds: each pool, and the model, was timed for, at each number of threads.
        pools: the converted pools.
        whole: the whole model.
        refused: pools that stay as they are in every candidate that was converted.
        notes: what to know besides.
        machine: where all this was timed.
    """

    model: str
    converted: str | None
    seconds: float
    pools: tuple[PoolTimes, ...]
    whole: WholeTimes
    refused: tuple[Refusal, ...]
    notes: tuple[str, ...]
    machine: Machine


def rows(timings: Timings, threads: int) -> tuple[Row, ...]:
    """Each candidate's row."""
    return tuple(
        Row(name, threads, timings.time(name), None if name == NATIVE else timings.ratio(name, NATIVE), timings.rounds)
        for name in timings.seconds
    )

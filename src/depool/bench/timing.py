"""Which candidate is faster, and by how much: all of them take turns in one process.

    ratio of round r = t_r(candidate) / t_r(base)        reported: the median over the rounds, and the quartiles

A round times every candidate once, in an order of its own, so that none always finds the caches as the same other one
left them. What slows the machine for a while slows both sides of a ratio; where it hits one side alone, the median
passes over that round.
A candidate's time in a round is the median of several blocks of calls: a block is long enough for the clock, and an
interruption spoils one block of many.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from random import Random
from statistics import median, quantiles

LEAST_ROUNDS = 5
"""Rounds that are run however long they take: fewer have no quartiles worth printing."""
TURN = 2e-3
"""Seconds that a candidate runs in each round, at least."""
BLOCKS = 8
"""Blocks in a turn, of calls that take less."""


@dataclass(frozen=True)
class Spread:
    """The median of some numbers, and the quartiles around it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one number."""
        low, middle, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
        return cls(middle, low, high)


@dataclass(frozen=True)
class Timings:
    """Seconds for one call of each candidate, round by round; the rounds of all candidates are the same."""

    seconds: Mapping[str, tuple[float, ...]]

    @property
    def rounds(self) -> int:
        """How many there were."""
        return len(next(iter(self.seconds.values())))

    def time(self, name: str) -> Spread:
        """Seconds for one call."""
        return Spread.of(self.seconds[name])

    def ratio(self, name: str, base: str) -> Spread:
        """Of the candidate's time to the base's, within each round."""
        return Spread.of([t / b for t, b in zip(self.seconds[name], self.seconds[base], strict=True)])


def interleaved(
    candidates: Mapping[str, Callable[[], object]],
    seconds: float,
    *,
    turn: float = TURN,
    clock: Callable[[], float] = time.perf_counter,
) -> Timings:
    """Time candidates in turns.

    Args:
        candidates: what to call, by name.
        seconds: for all rounds together; at least `LEAST_ROUNDS` are run.
        turn: seconds that each candidate runs in a round, at least.
        clock: gives seconds.
    """
    names = list(candidates)
    calls = {name: turn / BLOCKS / max(_warm(call, clock), 1e-9) for name, call in candidates.items()}
    found: dict[str, list[float]] = {name: [] for name in names}
    start, done = clock(), 0
    while done < LEAST_ROUNDS or clock() - start < seconds:
        for name in Random(done).sample(names, len(names)):  # noqa: S311 - an order, no secret
            blocks = min(BLOCKS, ceil(BLOCKS * calls[name]))  # one, where a single call takes a turn or longer
            times = [_timed(candidates[name], ceil(calls[name]), clock) for _ in range(blocks)]
            found[name].append(median(times))
        done += 1
    return Timings({name: tuple(times) for name, times in found.items()})


def _warm(call: Callable[[], object], clock: Callable[[], float]) -> float:
    """Seconds for one call, after a first one that may set things up."""
    call()
    return median(_timed(call, 1, clock) for _ in range(3))


def _timed(call: Callable[[], object], calls: int, clock: Callable[[], float]) -> float:
    """Seconds for one of so many calls."""
    start = clock()
    for _ in range(calls):
        call()
    return (clock() - start) / calls

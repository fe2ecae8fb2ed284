"""Measured ratios as rows: how they are printed, and what the JSON file holds."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from math import exp, log

from depool.bench.timing import Spread, Timings, interleaved


@dataclass(frozen=True)
class Row:
    """One candidate in one case.

    Attributes:
        section: of the suite.
        case: the pool or the model.
        candidate: what was timed.
        base: what its time is divided by.
        seconds: for one run.
        ratio: to the base, round by round.
        rounds: how many there were.
    """

    section: str
    case: str
    candidate: str
    base: str
    seconds: Spread
    ratio: Spread
    rounds: int


CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "processor": time.process_time}
"""What may be counted. A processor's time leaves out that others had it; of several threads it is the sum."""


@dataclass(frozen=True)
class Effort:
    """How to time.

    Attributes:
        seconds: for each case.
        clock: one of `CLOCKS`.
        threads: of ONNX Runtime.
    """

    seconds: float
    clock: str = "wall"
    threads: int = 1

    def time(self, candidates: Mapping[str, Callable[[], object]]) -> Timings:
        """In turns."""
        return interleaved(candidates, self.seconds, clock=CLOCKS[self.clock])


def rows_of(section: str, case: str, timings: Timings, base: str) -> list[Row]:
    """A row for each candidate; the base's ratio is 1."""
    return [
        Row(section, case, name, base, timings.time(name), timings.ratio(name, base), timings.rounds)
        for name in timings.seconds
    ]


def geometric_mean(values: Iterable[float]) -> float:
    """The mean of ratios."""
    logs = [log(value) for value in values]
    return exp(sum(logs) / len(logs))


def print_rows(rows: Iterable[Row]) -> None:
    """Case by case: time, ratio, quartiles."""
    previous = ""
    for row in rows:
        if row.case != previous:
            print(f"  {row.case}")
        previous = row.case
        ratio = (
            f"{row.ratio.median:8.2f}  {row.ratio.low:.2f}-{row.ratio.high:.2f}" if row.candidate != row.base else ""
        )
        print(f"    {row.candidate:<28}{row.seconds.median * 1e6:12,.1f} us {ratio}".rstrip(), flush=True)


def dump(rows: Iterable[Row]) -> None:
    """To standard output, for a parent process."""
    json.dump([asdict(row) for row in rows], sys.stdout)


def loaded(text: str) -> list[Row]:
    """What `dump` wrote."""
    return [
        Row(**item | {"seconds": Spread(**item["seconds"]), "ratio": Spread(**item["ratio"])})
        for item in json.loads(text)
    ]

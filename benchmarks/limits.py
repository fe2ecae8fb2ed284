"""How fast depool is to be, and how fast it was measured to be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from geometries import KERAS, MAIN, PEER, PYRAMID
from rows import Row, geometric_mean

OURS, OTHER = "depool", "dense sequential"
ALONE = (1.5, 1.5, 1.8, 2.1, 1.8, 0.9, 0.48)
STRETCH = (1.2, 1.2, 1.5, 1.8, 1.5, 0.8, 0.40)
CONTEXT = (1.04, 1.04, 1.04, 1.03, 1.03, 1.03, 1.0)
SIGNED = 1.3
"""A signed padded input between convolutions, to the non-negative one."""
WHOLE_MEAN, WHOLE_WORST, WHOLE_LEAST = 1.02, 1.08, 1e-3
"""Of whole models; those that run in less than a millisecond are only listed."""
PEER_LEAST = (10.0, 50.0)
PICKED, TIE = 0.9, 1.03
"""In this share of the grid depool's choice is the fastest candidate, or so close to it that the clock cannot tell."""


@dataclass(frozen=True)
class Target:
    """One limit.

    Attributes:
        what: it limits.
        limit: the ratio may not exceed it (or, with `at_least`, not fall below).
        measured: the ratio.
        low, high: its quartiles; None for means over cases.
        at_least: whether the limit is a lower one.
        stretch: a further limit to aim at, or None.
    """

    what: str
    limit: float
    measured: float
    low: float | None = None
    high: float | None = None
    at_least: bool = False
    stretch: float | None = None

    @property
    def met(self) -> bool:
        """Whether the measured ratio keeps the limit."""
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit


def targets(rows: Iterable[Row]) -> list[Target]:
    """Every limit for which something was measured."""
    found = {(row.section, row.case, row.candidate): row for row in rows}
    return [*_alone(found), *_context(found), *_peer(found), *_grid(found), *_whole(found), *_frameworks(found)]


Found = Mapping[tuple[str, str, str], Row]
"""Rows by section, case and candidate."""


def _single(
    found: Found, section: str, case: str, limit: float, *, stretch: float | None = None, dense: bool = False
) -> Iterator[Target]:
    """The limit of one row: that depool's ratio is small, or that the dense rewriting's is large."""
    row = found.get((section, case, OTHER if dense else OURS))
    if row is not None:
        ratio = row.ratio
        what = f"{section}: {case}{', dense sequential to depool' * dense}"
        yield Target(what, limit, ratio.median, ratio.low, ratio.high, dense, stretch)


def _alone(found: Found) -> Iterator[Target]:
    for geometry, limit, stretch in zip(MAIN, ALONE, STRETCH, strict=True):
        yield from _single(found, "alone", geometry.name, limit, stretch=stretch)
    yield from _single(found, "alone", PYRAMID[0], 0.40, stretch=0.30)


def _context(found: Found) -> Iterator[Target]:
    for geometry, limit in zip(MAIN, CONTEXT, strict=True):
        yield from _single(found, "context", geometry.name, limit)
        signed, plain = (found.get(("context", f"{geometry.name}{end}", OURS)) for end in (" signed", ""))
        if signed and plain:
            ratio = signed.ratio.median / plain.ratio.median
            yield Target(f"context: {geometry.name}, signed to non-negative", SIGNED, ratio)
    yield from _single(found, "context", PYRAMID[0], 1.0)


def _peer(found: Found) -> Iterator[Target]:
    for geometry, least in zip(PEER, PEER_LEAST, strict=True):
        yield from _single(found, "peer", geometry.name, least, dense=True)


def _whole(found: Found) -> Iterator[Target]:
    native = {case: row for (section, case, name), row in found.items() if (section, name) == ("whole", "native")}
    counted = [case for case, row in native.items() if row.seconds.median > WHOLE_LEAST]
    if counted:
        mean = geometric_mean(found["whole", case, OURS].ratio.median for case in counted)
        yield Target("whole: geometric mean of the models over 1 ms", WHOLE_MEAN, mean)
    for case in counted:
        yield from _single(found, "whole", case, WHOLE_WORST)


def _grid(found: Found) -> Iterator[Target]:
    ratios: dict[str, dict[str, float]] = {}
    for (section, case, name), row in found.items():
        if section == "grid" and name != "native":
            ratios.setdefault(case, {})[name] = row.ratio.median
    if ratios:
        picked = sum(of[OURS] <= TIE * min(of.values()) for of in ratios.values())
        what = f"grid: share of {len(ratios)} pools whose fastest candidate is chosen"
        yield Target(what, PICKED, picked / len(ratios), at_least=True)


def _frameworks(found: Found) -> Iterator[Target]:
    for section, limit in (("torch NCHW", 0.35), ("torch channels_last", 2.0)):
        ratios = [row.ratio.median for (where, _, name), row in found.items() if (where, name) == (section, OURS)]
        if ratios:
            yield Target(f"{section}: geometric mean", limit, geometric_mean(ratios))
    for section in ("keras tensorflow", "keras jax"):
        for geometry in KERAS:
            yield from _single(found, section, geometry.name, 3.0)


def print_targets(found: Iterable[Target]) -> None:
    """One line each."""
    for target in found:
        sign = ">=" if target.at_least else "<="
        spread = f" ({target.low:.2f}-{target.high:.2f})" if target.low is not None else ""
        word = "met   " if target.met else "MISSED"
        print(f"  {word} {target.measured:7.2f} {sign} {target.limit:<5g} {target.what}{spread}")

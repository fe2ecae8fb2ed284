"""An offset, one integer per axis, packed into one integer, so that packing commutes with addition."""

from __future__ import annotations

from collections.abc import Iterable

AXIS_BITS = 21
"""Bits per axis: room for a million elements either way."""


def packed(offset: Iterable[int]) -> int:
    """An offset, one integer per axis, as one integer."""
    return sum(o << (AXIS_BITS * axis) for axis, o in enumerate(offset))


def unpacked(point: int, rank: int) -> tuple[int, ...]:
    """The offset that was packed."""
    half, full = 1 << (AXIS_BITS - 1), 1 << AXIS_BITS
    offset = []
    for _ in range(rank):
        o = (point + half) % full - half
        offset.append(o)
        point = (point - o) >> AXIS_BITS
    return tuple(offset)

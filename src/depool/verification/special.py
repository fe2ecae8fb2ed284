"""What becomes of values that the promise does not cover: infinities, NaN, -0, and both ends of the range.

A convolution multiplies its zero taps too, and 0 * inf = NaN: one infinity spoils every output whose kernel
reaches it, in dense kernels in every channel. Native pools disagree among themselves on NaN. Hence finite
input is a condition of every promise; this module shows what happens without it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from depool.numerics import TYPES, largest, safe, smallest
from depool.onnx.graph import Scope
from depool.program import Array
from depool.record import Record
from depool.verification.inputs import spatial_sizes
from depool.verification.oracle import CannotRunError
from depool.verification.pools import Side, original_side, replacement_sides
from depool.verification.regions import RegionError
from depool.verification.verdict import SpecialCheck


def special_values(record: Record) -> Iterator[tuple[str, float, bool]]:
    """(name, value, whether the promise covers it)."""
    top = largest(TYPES.get(record.dtype, record.dtype))
    limit = safe(record.rounding, TYPES.get(record.dtype, record.dtype))
    low = record.facts.lower
    yield "inf", np.inf, False
    yield "NaN", np.nan, False
    if low < 0:
        yield "-inf", -np.inf, False
        yield "-0", -0.0, True
    yield "smallest subnormal", smallest(TYPES.get(record.dtype, record.dtype)), True
    yield "largest promised", limit, True
    yield "largest finite", top, limit >= top


def check_special(record: Record, original: Scope, converted: Scope) -> list[SpecialCheck]:
    """Run a floating-point pool on each special value; nothing is judged, only shown."""
    if record.dtype in {"int8", "uint8"}:
        return []
    try:
        native, changed = original_side(record, original), replacement_sides(record, converted)[0]
        return [
            _shown(record, name, value, promised, native, changed) for name, value, promised in special_values(record)
        ]
    except (RegionError, CannotRunError):
        return []


def _shown(record: Record, name: str, value: float, promised: bool, native: Side, changed: Side) -> SpecialCheck:
    sizes = spatial_sizes(record)[-1]
    rng = np.random.default_rng(0)
    x = np.abs(rng.normal(size=(1, record.channels, *sizes))) * (-1 if record.facts.lower < 0 else 1)
    if record.facts.lower < 0:  # below everything but -inf, so that the value decides its windows
        x = np.maximum(x, record.facts.lower)
    x = x.astype(np.dtype(TYPES.get(record.dtype, record.dtype)))
    if name in {"-0", "smallest subnormal"} and record.facts.lower >= 0:
        x = np.zeros_like(x)
    x[(0, 0, *(size // 2 for size in sizes))] = value
    with np.errstate(all="ignore"):
        expected, got = native(x).astype(np.float64), changed(x).astype(np.float64)
        bound = record.rounding_bound(native(np.abs(np.where(np.isfinite(x), x, 0))).astype(np.float64), x.dtype)
        differ = ~((expected == got) | (np.isnan(expected) & np.isnan(got)) | (np.abs(expected - got) <= bound))
    where = {int(index[1]) for index in np.argwhere(differ)}
    return SpecialCheck(
        record.where, name, promised, _census(expected), _census(got), int(differ.sum()), len(where), expected.size
    )


def _census(values: Array) -> str:
    counts = {
        "inf": int(np.isposinf(values).sum()),
        "-inf": int(np.isneginf(values).sum()),
        "NaN": int(np.isnan(values).sum()),
        "-0": int(((values == 0) & np.signbit(values)).sum()),
    }
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "finite"

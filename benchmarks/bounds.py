"""Is the printed bound kept, and is it needed? Measured error over bound, for every geometry seen in the wild.

    python benchmarks/bounds.py --json out.json             250,000 windows per line and sign, 3 million per geometry
                                                            and type: ten minutes on one core
    python benchmarks/bounds.py --windows 5000              two minutes
    python benchmarks/bounds.py --geometry "3x3/2 p1" --dtypes float32
    python benchmarks/bounds.py --adversary                 search the inputs that are literals in test_exactness.py

Each line is a geometry in one form, scheme and type, on data of both signs and on data >= 0. Programs run in NumPy,
one rounding per operation. Half of the windows are drawn from kinds meant to break a sum: neighbours of +-1, powers
of two and their neighbours, all bits in use at all distances that still interact, magnitudes from 1e-30 to 1e30, one
large among small, ties, the largest and the smallest numbers; the other half are the worst of the windows so far,
changed in a few places. No ratio may exceed 1.

Sequential programs of padded windows on signed data need a lower bound of the data; there it is -8.

Exits with 1 if a bound is exceeded.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from math import inf, prod
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from depool.choice import Choice, FormName, Scheme
from depool.choose import choose
from depool.conversion import Conversion
from depool.facts import InputFacts
from depool.geometry import PoolSpec
from depool.numerics import TYPES, safe, unit_roundoff
from depool.program import Array, Conv, Program

DTYPES = ("float32", "float16", "bfloat16")
FORMS: tuple[FormName, ...] = ("branched", "sequential")
SCHEMES: tuple[Scheme, ...] = ("auto", "tree", "shallow")
SIGNS = ("signed", "positive")
KINDS = ("neighbours", "spread", "powers", "mixed", "spike", "ties", "normal", "huge", "subnormal")
HEAVY = 2000
"""Programs with more taps than this get a twentieth of the windows."""
LOWER = -8.0


def square(kernel: int, stride: int, pad: int = 0, **more: Any) -> PoolSpec:
    """A pool alike on both of two axes."""
    return PoolSpec((kernel,) * 2, (stride,) * 2, ((pad, pad),) * 2, **more)


GEOMETRIES: dict[str, tuple[PoolSpec, tuple[int, ...]]] = {
    "2x2/2": (square(2, 2), (16, 16)),
    "3x3/2 p1": (square(3, 2, 1), (13, 14)),
    "3x3/2": (square(3, 2), (15, 15)),
    "3x3/1 p1": (square(3, 1, 1), (8, 8)),
    "5x5/1 p2": (square(5, 1, 2), (10, 10)),
    "9x9/1 p4": (square(9, 1, 4), (12, 12)),
    "13x13/1 p6": (square(13, 1, 6), (15, 15)),
    "2x2/2 SAME_UPPER": (PoolSpec((2, 2), (2, 2), auto_pad="SAME_UPPER"), (15, 15)),
    "3x3/2 SAME_UPPER": (PoolSpec((3, 3), (2, 2), auto_pad="SAME_UPPER"), (14, 14)),
    "3x3/1 SAME_LOWER": (PoolSpec((3, 3), (1, 1), auto_pad="SAME_LOWER"), (8, 8)),
    "1x1/2": (square(1, 2), (16, 16)),
    "2x2/2 ceil": (square(2, 2, ceil_mode=True), (15, 15)),
    "2x2/1 ceil": (square(2, 1, ceil_mode=True), (9, 9)),
    "3x3/2 ceil": (square(3, 2, ceil_mode=True), (14, 14)),
    "1x3x3/1x2x2": (PoolSpec((1, 3, 3), (1, 2, 2)), (3, 9, 9)),
    "2x2x2/2": (PoolSpec((2, 2, 2), (2, 2, 2)), (6, 6, 6)),
    "3x3/2 p(0,1)": (PoolSpec((3, 3), (2, 2), ((0, 1), (0, 1))), (14, 14)),
    "2x1/2x1": (PoolSpec((2, 1), (2, 1)), (16, 8)),
    "3x3/3": (square(3, 3), (18, 18)),
    "4x4/4": (square(4, 4), (24, 24)),
}
"""The two lists of pools in common use: (specification, spatial sizes of the images it is measured on)."""


@dataclass(frozen=True)
class Variant:
    """What one measurement runs."""

    geometry: str
    form: FormName
    scheme: Scheme
    sign: str
    dtype: str


@dataclass(frozen=True)
class Row:
    """What it found.

    Attributes:
        geometry, form, scheme, sign, dtype: what ran.
        border: the padding rule.
        taps: non-zero weights of the program.
        windows: how many were compared.
        bound: the printed bound at M = 1 (for a shift, M + |L| = 1), in u M.
        ratio: the largest error / bound; above 1 is a broken promise.
        worst: the kind of data, and the window's M, where that was.
        error: that error, in u M.
        seconds: of one core.
    """

    geometry: str
    form: str
    scheme: str
    sign: str
    dtype: str
    border: str
    taps: int
    windows: int
    bound: float
    ratio: float
    worst: str
    error: float
    seconds: float


def conversion(variant: Variant) -> Conversion:
    """The program as `depool convert` would choose it, for static sizes."""
    spec, sizes = GEOMETRIES[variant.geometry]
    padded = spec.resolve(sizes).padded
    lower = 0.0 if variant.sign == "positive" else LOWER if padded and variant.form == "sequential" else -inf
    facts = InputFacts(lower=lower, reason="declared")
    return choose(spec, sizes, facts, Choice(variant.scheme, variant.form), numpy_type(variant.dtype))


def numpy_type(name: str) -> np.dtype[Any]:
    """NumPy's type of this name, bfloat16 included."""
    return np.dtype(TYPES.get(name, name))


def true_maximum(x: Array, spec: PoolSpec) -> Array:
    """Axis by axis, in float64; padding is minus infinity."""
    sizes = x.shape[2:]
    window = spec.resolve(sizes)
    result = x.astype(np.float64)
    for axis, ((begin, end), out) in enumerate(zip(window.explicit_pads(sizes), window.out_sizes(sizes), strict=True)):
        pads = [(0, 0)] * x.ndim
        pads[2 + axis] = (begin, end)
        wide = np.pad(result, pads, constant_values=-np.inf)
        step, gap = window.strides[axis], window.dilations[axis]
        taps = [
            np.take(wide, np.arange(out) * step + tap * gap, axis=2 + axis) for tap in range(window.kernel_shape[axis])
        ]
        result = np.maximum.reduce(taps)
    return result


def draw(rng: np.random.Generator, shape: tuple[int, ...], kind: str, dtype: str, limit: float) -> Array:
    """float64 data of one kind, |x| <= limit."""
    info = ml_dtypes.finfo(numpy_type(dtype))
    eps, tiny = float(info.eps), float(info.smallest_subnormal)
    sign = rng.choice([-1.0, 1.0], shape)
    if kind == "neighbours":
        return np.asarray(sign * (1 + rng.integers(-2, 5, shape) * eps))
    if kind == "powers":
        exponent = rng.integers(-3, 4, shape).astype(np.float64)
        return np.asarray(sign * 2.0**exponent * (1 + rng.integers(-2, 3, shape) * eps))
    if kind == "spread":
        digits = int(-np.log2(eps)) + 3
        return np.asarray(sign * (1 + rng.random(shape)) * 2.0 ** -rng.integers(0, digits, shape))
    if kind == "mixed":
        return np.asarray(sign * 10.0 ** rng.uniform(-30, min(30.0, np.log10(limit)), shape))
    if kind == "spike":
        large = rng.random(shape) < 1 / 6
        return np.asarray(sign * np.where(large, 2.0 ** rng.integers(3, 12, shape), 1.0) * (1 + rng.random(shape)))
    if kind == "ties":
        return rng.choice([-2.5, -1.0, -eps, 0.0, eps, 0.375, 1.0, 1 + eps], shape)
    if kind == "huge":
        return np.asarray(sign * limit * rng.choice([1.0, 1 - eps, 0.5, 0.5 + eps, 1e-3], shape))
    if kind == "subnormal":
        return np.asarray(sign * rng.integers(0, 40, shape) * tiny)
    return rng.normal(size=shape)


def changed(rng: np.random.Generator, parents: Array, count: int, eps: float) -> Array:
    """Children of the worst images: a few elements moved by an ulp or a few, turned, halved, doubled or swapped."""
    children = parents[rng.integers(0, len(parents), count)].copy()
    flat = children.reshape(count, -1)
    rows = np.arange(count)
    for _ in range(3):
        at, other = rng.integers(0, flat.shape[1], (2, count))
        how = rng.integers(0, 6, count)
        value = flat[rows, at]
        moved = value * (1 + rng.integers(-3, 4, count) * eps)
        flat[rows, at] = np.choose(how, [moved, moved, -value, value / 2, value * 2, flat[rows, other]])
    return children


def fitted(x: Array, variant: Variant, lower: float, limit: float) -> Array:
    """Within the facts and the range of the promise, in the variant's type."""
    x = np.abs(x) if variant.sign == "positive" else x
    typed: Array = np.clip(x, max(lower, -limit), limit).astype(numpy_type(variant.dtype))
    return typed


def measure(variant: Variant, windows: int, seed: int = 0, kinds: Sequence[str] = KINDS) -> Row:
    """At least so many windows of one variant."""
    started = time.process_time()
    spec, sizes = GEOMETRIES[variant.geometry]
    made = conversion(variant)
    program, lower = made.program, made.border.shift if made.border.rule == "shift" else -inf
    taps = sum(int(np.count_nonzero(node.kernel)) for node in program.nodes if isinstance(node, Conv))
    windows = windows if taps <= HEAVY else windows // 20
    rng = np.random.default_rng(seed)
    kind_type = numpy_type(variant.dtype)
    u = unit_roundoff(kind_type)
    limit = _limit(program, kind_type)
    each = prod(made.window.out_sizes(sizes))
    images = min(max(1, 2_000_000 // (max(program.maps) * prod(sizes))), -(-windows // (2 * len(kinds) * each)))
    bred: Array = np.zeros((0, 1, *sizes))
    done, best, ratio_best, worst, error_best = 0, np.zeros(0), 0.0, "", 0.0
    while done < windows:
        kind = kinds[done // (each * images) % len(kinds)]
        fresh = -(-images // 2) if len(bred) else images
        x = draw(rng, (fresh, 1, *sizes), kind, variant.dtype, limit)
        if kind not in {"mixed", "huge", "subnormal"}:
            x *= 2.0 ** rng.integers(-2, 4, (fresh, 1, *(1 for _ in sizes)))
        if fresh < images:
            x = np.concatenate([x, changed(rng, bred, images - fresh, 2 * u)])
        typed = fitted(x, variant, lower, limit)
        x = typed.astype(np.float64)
        expected, most = true_maximum(x, spec), true_maximum(np.abs(x), spec)
        error = np.abs(program(typed).astype(np.float64) - expected)
        ratio = _ratio(error, np.asarray(program.error_bound(most, kind_type)))
        at = np.unravel_index(int(np.argmax(ratio)), ratio.shape)
        if ratio[at] > ratio_best:
            label = kind if at[0] < fresh else "bred"
            size = most[at] + abs(made.border.shift)
            ratio_best, worst = float(ratio[at]), f"{label}, M = {most[at]:.6g}"
            error_best = float(error[at] / (u * size)) if size else 0.0
        per_image = ratio.reshape(images, -1).max(1)
        pool, scores = np.concatenate([bred, x]), np.concatenate([best, per_image])
        keep = np.argsort(-scores, kind="stable")[:16]
        bred, best = pool[keep], scores[keep]
        done += each * images
    printed = _printed(program, made.border.shift, kind_type) / u
    return Row(
        **asdict(variant), border=made.border.rule, taps=taps, windows=done, bound=printed, ratio=ratio_best,
        worst=worst, error=error_best, seconds=time.process_time() - started,
    )  # fmt: skip


def _limit(program: Program, dtype: np.dtype[Any]) -> float:
    """The largest |x| of the promise; where n u >= 1 nothing is promised, and any data will do."""
    return safe(program.rounding, dtype) or 1.0


def _printed(program: Program, shift: float, dtype: np.dtype[Any]) -> float:
    """The bound where M + |L| = 1."""
    return float(program.error_bound(1.0 - abs(shift), dtype))


def _ratio(error: Array, bound: Array) -> Array:
    """Error over bound; 0 / 0 is 0, and an error where none is allowed is infinite, as is a NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(error == 0, 0.0, error / bound)
    return np.where(np.isnan(ratio), inf, ratio)


def variants(given: argparse.Namespace) -> Iterator[Variant]:
    """Every combination that was asked for."""
    for name, form, scheme, dtype, sign in product(
        given.geometry or GEOMETRIES, given.forms, given.schemes, given.dtypes, SIGNS
    ):
        yield Variant(name, form, scheme, sign, dtype)


def table(rows: Sequence[Row], dtypes: Sequence[str]) -> str:
    """A line per geometry, form and scheme: the worst error / bound, and in brackets the worst error in u M."""
    found = {(r.geometry, r.form, r.scheme, r.dtype, r.sign): r for r in rows}
    heads = "".join(f" | {dtype + ' ' + sign:>17}" for dtype in dtypes for sign in SIGNS)
    lines = [f"{'geometry':17} {'form':10} {'scheme':7} {'u M, +-':>9} {'>= 0':>8}{heads}"]
    for name, form, scheme in dict.fromkeys((r.geometry, r.form, r.scheme) for r in rows):
        cells = [found.get((name, form, scheme, dtype, sign)) for dtype in dtypes for sign in SIGNS]
        first = [f"{cell.bound:.4g}" if cell else "" for cell in cells[:2]]
        texts = [f"{cell.ratio:9.2g} ({cell.error:5.3g})" if cell else "" for cell in cells]
        lines.append(
            f"{name:17} {form:10} {scheme:7} {first[0]:>9} {first[1]:>8}" + "".join(f" | {text:>17}" for text in texts)
        )
    return "\n".join(lines)


def climb(sign: str, kernel: int, seed: int = 0, rounds: int = 400) -> tuple[float, list[float]]:
    """A window of kernel x kernel float32 that makes the pair tree's error as large a part of its bound as it can.

    It starts from neighbours of +-1 and from spread values; the best of each round and their children go on.
    """
    program = choose(
        square(kernel, kernel), (kernel,) * 2, InputFacts(lower=0.0 if sign == "positive" else -inf),
        Choice("tree", "branched"), "float32",
    ).program  # fmt: skip
    rng = np.random.default_rng(seed)
    count = kernel * kernel
    near = rng.choice([-1.0, 1.0], (1000, count)) * (1 + rng.integers(0, 5, (1000, count)) * 2.0**-23)
    pool = np.concatenate([near, draw(rng, (1000, count), "spread", "float32", 1.0)])
    score = np.zeros(0)
    for _ in range(rounds):
        pool = np.abs(pool) if sign == "positive" else pool
        pool = np.clip(pool, -2, 2).astype(np.float32).astype(np.float64)
        typed = pool.astype(np.float32).reshape(-1, 1, kernel, kernel)
        error = np.abs(program(typed).reshape(-1).astype(np.float64) - pool.max(1))
        score = error / program.error_bound(np.abs(pool).max(1))
        best = np.argsort(-score, kind="stable")[:100]
        pool, score = pool[best], score[best]
        children = changed(rng, pool, 1900, 2.0**-23)
        pool = np.concatenate([pool, children])
    return float(score[0]), [float(v) for v in pool[0]]


def adversary() -> None:
    """Print the worst windows found, as literals."""
    for kernel, sign in product((2, 3, 4), SIGNS):
        share, window = climb(sign, kernel)
        x = np.array(window, np.float64)
        program = choose(square(kernel, kernel), (kernel,) * 2, InputFacts(), Choice("tree", "branched"), "float32")
        got = float(program.program(x.astype(np.float32).reshape(1, 1, kernel, kernel)).item())
        ulps = abs(got - x.max()) / float(np.spacing(np.float32(abs(x.max()))))
        print(f"{kernel}x{kernel} {sign}: {share:.4f} of the bound, {ulps:g} ulp of the maximum")
        print(f"    [{', '.join(v.hex() for v in window)}]")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; 1 if a bound was exceeded."""
    parser = argparse.ArgumentParser(description="Measured error over printed bound.")
    parser.add_argument("--windows", type=int, default=250_000, help="per line and sign")
    parser.add_argument("--geometry", nargs="*", choices=GEOMETRIES)
    parser.add_argument("--dtypes", nargs="*", choices=DTYPES, default=DTYPES)
    parser.add_argument("--forms", nargs="*", choices=FORMS, default=FORMS)
    parser.add_argument("--schemes", nargs="*", choices=SCHEMES, default=SCHEMES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--adversary", action="store_true", help="only search the worst windows of pair trees")
    parser.add_argument("--json", type=Path, help="where to write the lines")
    given = parser.parse_args(arguments)
    if given.adversary:
        adversary()
        return 0
    started = time.monotonic()
    rows: list[Row] = []
    for variant in variants(given):
        rows.append(measure(variant, given.windows, given.seed))
        row = rows[-1]
        print(
            f"{row.geometry} {row.form} {row.scheme} {row.dtype} {row.sign}: {row.windows:,} windows, "
            f"{row.ratio:.3g} of {row.bound:.4g} u M on {row.worst or 'nothing'}, {row.seconds:.1f} s",
            file=sys.stderr,
            flush=True,
        )
    print(table(rows, given.dtypes))
    broken = [row for row in rows if row.ratio > 1]
    for row in broken:
        print(f"EXCEEDED: {row.geometry} {row.form} {row.scheme} {row.dtype} {row.sign}: {row.ratio:.3g}, {row.worst}")
    wall = time.monotonic() - started
    print(f"{sum(row.windows for row in rows):,} windows, {len(broken)} bounds exceeded; {wall:.0f} s")
    if given.json is not None:
        about = {"seconds": wall, "exceeded": len(broken), "rows": [asdict(row) for row in rows]}
        given.json.write_text(json.dumps(about, indent=1) + "\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

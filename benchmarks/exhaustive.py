"""Every pair there is: gates Y and K in float16 and bfloat16, quantised pools in int8 and uint8. 0 may be wrong.

    python benchmarks/exhaustive.py --json out.json     everything: about 10 minutes on two free cores
    python benchmarks/exhaustive.py --sample 300        the pairs of 300 values: seconds
    python benchmarks/exhaustive.py --gates Y --dtypes float16

Floating point: the programs that `synthesize` gives for a window of two run in NumPy's float16 and in ml_dtypes'
bfloat16, where every operation is rounded. Gate Y on all pairs with |x| <= MAX / 2, gate K on all pairs of finite
x >= 0, -0 included. The values are sorted, so the maximum of a pair is the one that stands later: no other maximum
is needed to know it. Branched programs run on all pairs; the two other forms, the same sums in other tensors, on
the pairs of 4,096 values (--all-forms: on all).

Integers: each of the 65,536 pairs stands in each two positions of a 2x2 window, whose other two elements are the
lowest number, the same pair again, or drawn; converted models run in ONNX Runtime at every optimisation level.

Exits with 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import combinations, product
from math import inf
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from depool.choice import FormName
from depool.choose import synthesize
from depool.geometry import PoolSpec
from depool.numerics import TYPES
from depool.program import Array, Program

FLOATS = ("float16", "bfloat16")
INTEGERS = ("uint8", "int8")
FORMS: tuple[FormName, ...] = ("branched", "concat", "sequential")
SIDE_FORMS = 4096
"""Values for forms other than branched."""
CHUNK = 64
"""First elements of pairs per task."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: the gate or the model.
        dtype: it ran in.
        how: form, or runtime and optimisation level.
        cases: pairs or windows.
        wrong: how many were not equal to the maximum.
        first: the first that was wrong, in words.
        complete: whether the cases are all there are.
        seconds: of one core.
    """

    what: str
    dtype: str
    how: str
    cases: int
    wrong: int
    first: str
    complete: bool
    seconds: float


@dataclass(frozen=True)
class Task:
    """Pairs of `gate`'s values, the first from positions start to stop."""

    dtype: str
    gate: str
    form: FormName
    sample: int | None
    start: int = 0
    stop: int = 0


@cache
def values(dtype: str, gate: str, sample: int | None = None) -> Array:
    """All numbers on which a gate is exact, in ascending order; or so many of them, both ends and 0 included."""
    kind = np.dtype(TYPES.get(dtype, dtype))
    found = np.arange(2**16, dtype=np.uint16).view(kind)
    with np.errstate(invalid="ignore"):
        wide = found.astype(np.float64)
    top = float(ml_dtypes.finfo(kind).max)
    keep = np.abs(wide) <= top / 2 if gate == "Y" else (wide >= 0) & (wide <= top)
    found, wide = found[keep], wide[keep]
    found = found[np.argsort(wide, kind="stable")]
    if sample is None or sample >= len(found):
        return found
    drawn = np.random.default_rng(0).choice(len(found), sample, replace=False)
    ends = [0, 1, len(found) - 2, len(found) - 1, *np.flatnonzero(found == 0)]
    return np.asarray(found[np.unique([*drawn, *ends])])


@cache
def gate_program(dtype: str, gate: str, form: FormName) -> Program:
    """The program for a window of two rows: Y where nothing is known of the sign, K for values >= 0.

    Any other name is the plain pair gate, which is not exact.
    """
    lower = 0.0 if gate == "K" else -inf
    kind = np.dtype(TYPES.get(dtype, dtype))
    return synthesize(PoolSpec((2, 1)), "tree", form, lower_bound=lower, exact=gate in {"Y", "K"}, dtype=kind)


def wrong_pairs(program: Program, ordered: Array, start: int, stop: int) -> tuple[int, str]:
    """How many pairs (a, b), a from ordered[start:stop], b from all, do not give the later one; and the first."""
    x = np.empty((1, 1, 2, len(ordered)), ordered.dtype)
    x[0, 0, 1] = ordered
    wrong, first = 0, ""
    for i in range(start, min(stop, len(ordered))):
        x[0, 0, 0] = ordered[i]
        expected = ordered.copy()
        expected[:i] = ordered[i]
        with np.errstate(over="ignore"):  # K s overflows by design: a - inf is no maximum
            differs = program(x)[0, 0, 0] != expected
        count = int(np.count_nonzero(differs))
        if count and not wrong:
            j = int(np.argmax(differs))
            first = f"max({float(ordered[i])!r}, {float(ordered[j])!r})"
        wrong += count
    return wrong, first


def run_task(task: Task) -> tuple[int, str, float]:
    """(wrong, the first wrong one, seconds) of a task."""
    started = time.process_time()
    program, ordered = gate_program(task.dtype, task.gate, task.form), values(task.dtype, task.gate, task.sample)
    return *wrong_pairs(program, ordered, task.start, task.stop), time.process_time() - started


def check_gate(task: Task, jobs: int = 1) -> Row:
    """A gate on all pairs of its values, or of a sample."""
    count, everything = len(values(task.dtype, task.gate, task.sample)), len(values(task.dtype, task.gate))
    parts = [
        Task(task.dtype, task.gate, task.form, task.sample, start, start + CHUNK) for start in range(0, count, CHUNK)
    ]
    wrong, first, seconds = 0, "", 0.0
    for found, example, spent in _mapped(parts, jobs, f"gate {task.gate} {task.dtype} {task.form}"):
        wrong, first, seconds = wrong + found, first or example, seconds + spent
    return Row(f"gate {task.gate}", task.dtype, task.form, count**2, wrong, first, count == everything, seconds)


def _mapped(parts: Sequence[Task], jobs: int, label: str) -> Iterator[tuple[int, str, float]]:
    if jobs == 1:
        yield from map(run_task, parts)
        return
    started = time.monotonic()
    with get_context("spawn").Pool(jobs) as pool:
        for i, result in enumerate(pool.imap(run_task, parts), 1):
            yield result
            if i % 64 == 0:
                left = (time.monotonic() - started) / i * (len(parts) - i)
                print(f"{label}: {i / len(parts):.0%}, {left:.0f} s left", file=sys.stderr, flush=True)


def integer_windows(dtype: str, seed: int = 0) -> Array:
    """[windows, 1, 2, 2]: every pair in every two positions, three kinds of company each."""
    info = np.iinfo(dtype)
    numbers = np.arange(info.min, info.max + 1, dtype=dtype)
    a, b = (grid.ravel() for grid in np.meshgrid(numbers, numbers, indexing="ij"))
    rng = np.random.default_rng(seed)
    blocks = []
    for (i, j), company in product(combinations(range(4), 2), ("lowest", "equal", "drawn")):
        window = np.full((len(a), 4), info.min, dtype)
        others = [k for k in range(4) if k not in {i, j}]
        if company == "equal":
            window[:, others[0]], window[:, others[1]] = b, a
        elif company == "drawn":
            window[:, others] = rng.integers(info.min, info.max + 1, (len(a), 2))
        window[:, i], window[:, j] = a, b
        blocks.append(window)
    return np.concatenate(blocks).reshape(-1, 1, 2, 2)


def integer_models(dtype: str) -> dict[str, str]:
    """Models in ONNX's text format, from integers to integers."""
    zero = 3 if dtype == "uint8" else -5
    pool = "MaxPool <kernel_shape = [2, 2], strides = [2, 2]>"
    quantised = f"<float scale = {{0.05}}, {dtype} zero = {{{zero}}}>"
    head = '<ir_version: 8, opset_import: ["" : 13]>'
    ends = f"({dtype}[N,1,2,2] x) => ({dtype}[N,1,1,1] y)"
    return {
        "MaxPool": f"{head} g {ends} {{ [pool] y = {pool}(x) }}",
        "QDQ": f"{head} g {ends} {quantised} {{ f = DequantizeLinear(x, scale, zero) [pool] m = {pool}(f) "
        "y = QuantizeLinear(m, scale, zero) }",
    }


def check_integers(dtype: str, sample: int | None = None) -> Iterator[Row]:
    """All windows, or a sample, through the converted models."""
    import onnx
    from onnx import parser

    import depool

    x = integer_windows(dtype)
    complete = sample is None or sample >= len(x)
    if not complete:
        x = np.random.default_rng(0).permutation(x)[:sample]
    expected = x.max((2, 3), keepdims=True)
    for name, text in integer_models(dtype).items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "pool.onnx"
            onnx.save(parser.parse_model(text), path)
            model = depool.convert(path, verify=False).model
        left = {node.op_type for node in model.graph.node} - {"QLinearConv"}
        if left:
            raise SystemExit(f"{name} {dtype}: {', '.join(left)} was left")
        for level, session in sessions(model):
            started = time.process_time()
            wrong = session.run(None, {"x": x})[0] != expected
            first = f"window {x[np.argmax(wrong)].ravel().tolist()}" if wrong.any() else ""
            spent = time.process_time() - started
            yield Row(f"{name} 2x2", dtype, f"ONNX Runtime, {level}", len(x), int(wrong.sum()), first, complete, spent)


def sessions(model: Any) -> Iterator[tuple[str, Any]]:
    """The model at every optimisation level of ONNX Runtime."""
    import onnxruntime as ort

    for level in ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL"):
        options = ort.SessionOptions()
        options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        yield level, ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def table(rows: Sequence[Row]) -> str:
    """For people."""
    lines = [f"{'what':12} {'type':9} {'how':35} {'cases':>15} {'wrong':>6} {'core s':>8}"]
    for row in rows:
        part = "all" if row.complete else "sample"
        lines.append(
            f"{row.what:12} {row.dtype:9} {row.how:35} {row.cases:15,} {row.wrong:6,} {row.seconds:8.1f}  {part}"
            + (f"  first: {row.first}" if row.wrong else "")
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description="Every pair there is; 0 may be wrong.")
    parser.add_argument("--sample", type=int, help="only so many values of each type, its square of integer windows")
    parser.add_argument("--gates", nargs="*", choices=("Y", "K"), default=("Y", "K"))
    parser.add_argument("--dtypes", nargs="*", choices=FLOATS + INTEGERS, default=FLOATS + INTEGERS)
    parser.add_argument(
        "--all-forms", action="store_true", help="all pairs in the other two forms too: 45 minutes more"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, help="where to write the counts")
    given = parser.parse_args(arguments)
    started = time.monotonic()
    rows: list[Row] = []
    for dtype in given.dtypes:
        if dtype in INTEGERS:
            rows += check_integers(dtype, given.sample and given.sample**2)
            continue
        for gate, form in product(given.gates, FORMS):
            sample = given.sample or (None if form == "branched" or given.all_forms else SIDE_FORMS)
            rows.append(check_gate(Task(dtype, gate, form, sample), given.jobs))
            print(table(rows[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    print(table(rows))
    wrong, wall = sum(row.wrong for row in rows), time.monotonic() - started
    print(f"{sum(row.cases for row in rows):,} cases, {wrong:,} wrong; {wall:.0f} s on {given.jobs} cores")
    if given.json is not None:
        about = {"wrong": wrong, "seconds": wall, "jobs": given.jobs, "machine": platform.machine()}
        versions = {"python": platform.python_version(), "numpy": np.__version__, "ml_dtypes": ml_dtypes.__version__}
        text = json.dumps(about | {"versions": versions, "rows": [asdict(row) for row in rows]}, indent=1)
        given.json.write_text(text + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

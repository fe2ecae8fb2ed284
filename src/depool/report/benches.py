"""What `depool bench` prints, for people and for machines."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from depool.bench.results import Bench, PoolTimes, Row, WholeTimes
from depool.report import machine, words
from depool.report.tables import print_refusals


def bench_object(found: Bench) -> dict[str, Any]:
    """The object of `depool bench --json`."""
    return machine.whole("bench", **asdict(found))


def print_bench(console: Console, found: Bench) -> None:
    """A block for each pool and one for the model; times, and ratios with their quartiles."""
    facts = found.machine
    cpus = f"{facts.cpus} processor{'s' * (facts.cpus != 1)}"
    console.print(Text(found.model, style="bold"), soft_wrap=True)
    console.print(Text(f"ONNX Runtime {facts.onnxruntime} on {cpus}, {facts.cpu} {' '.join(facts.vectors)}".rstrip()))
    console.print("ratio: converted / native, the median over the rounds")
    for pool in found.pools:
        _print_pool(console, pool)
    _print_whole(console, found.whole)
    print_refusals(console, found.refused)
    for note in found.notes:
        console.print(Text(f"note: {note}", style="yellow"))


def _print_pool(console: Console, pool: PoolTimes) -> None:
    others = len(pool.where) - 1
    alike = f" and {others} more like it" if others else ""
    console.print()
    console.print(Text(f"{pool.where[0]}{alike}", style="bold"))
    batch = f"{pool.batch}x" if pool.batch > 1 else ""
    tensor = words.tensor(pool.channels, pool.sizes, pool.dtype)
    relu = ", and the ReLU behind it" if pool.facts.relu_follows else ""
    sign = "non-negative" if pool.facts.lower >= 0 else "signed"
    console.print(Text(f"  {words.geometry(pool.op_type, pool.spec)} on {batch}{tensor}, {sign}{relu}"))
    if pool.nominal:
        console.print("  its sizes are open; --shape fixes them, which is faster")
    _print_rows(
        console,
        pool.rows,
        {name: words.how(how.scheme, how.form, how.layout, how.gate) for name, how in pool.how.items()},
        pool.untimed,
    )


def _print_whole(console: Console, whole: WholeTimes) -> None:
    console.print()
    console.print(Text("the whole model", style="bold"))
    shapes = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in whole.inputs.items())
    console.print(Text(f"  on {shapes}"))
    if whole.nominal:
        console.print(
            Text(f"  the size of {', '.join(whole.nominal)} is open and was chosen here; --shape gives another")
        )
    apart = {name: f"differs by {value:.2g}" if value else "no difference" for name, value in whole.differences.items()}
    _print_rows(console, whole.rows, apart, whole.untimed)


def _print_rows(console: Console, rows: tuple[Row, ...], about: dict[str, str], untimed: str) -> None:
    if untimed:
        console.print(Text(f"  not timed: {untimed}", style="yellow"))
    if not rows:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("", "threads", "time", "ratio", "quartiles", ""):
        table.add_column(name, justify="right" if name else "left")
    previous = rows[0].threads
    for row in rows:
        if row.threads != previous:
            table.add_row()
        previous = row.threads
        ratio = row.ratio
        table.add_row(
            row.candidate,
            str(row.threads),
            words.seconds(row.seconds.median),
            f"{ratio.median:.2f}" if ratio else "",
            f"{ratio.low:.2f}-{ratio.high:.2f}" if ratio else "",
            Text(about.get(row.candidate, "") if row.threads == rows[0].threads else ""),
        )
    console.print(Padding(table, (0, 0, 0, 2), expand=False))

"""What the commands print for people: narrow enough for 80 columns, plain without colour."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from depool.errors import Refusal
from depool.onnx.caveats import Caveat
from depool.onnx.convert import Result
from depool.onnx.inspect import Cost, Planned, Survey, cost
from depool.report import words
from depool.report.blocks import print_block
from depool.verification.verdict import OutputCheck, PoolCheck, SpecialCheck, Verdict


def print_survey(console: Console, survey: Survey, *, verbose: bool) -> None:
    """What convert would do."""
    selected = len(survey.pools) + sum(r.code != "NOT_A_MAX_POOL" for r in survey.left)
    opset = f"opset {survey.opset}, IR {survey.ir_version}, {words.size(survey.file_bytes)}"
    console.print(f"[bold]{_safe(survey.name)}[/bold]: {words.many(selected, 'pool')} to convert; {opset}")
    for planned in survey.pools:
        _print_planned(console, planned, verbose=verbose)
    print_refusals(console, survey.left)
    _print_caveats(console, survey.caveats)
    added = sum(planned.cost.weight_bytes for planned in survey.pools if planned.cost)
    macs = sum(planned.cost.macs for planned in survey.pools if planned.cost)
    if survey.pools:
        console.print()
        console.print(f"in all: {words.count(macs)} MACs for one sample, {words.size(added)} added to the file")
    if survey.refused:
        console.print(f"[yellow]{words.many(survey.refused, 'pool')} would be refused[/yellow]")


def print_result(console: Console, result: Result, name: str, *, verbose: bool) -> None:
    """What was converted, and how equal it is."""
    target = str(result.path) if result.path is not None else "standard output"
    title = "standard input" if name == "-" else _safe(name)
    kinds = ", ".join(
        sorted({"QLinearConv" if r.gate == "saturating" else "Conv, Relu, Add, Concat" for r in result.records})
    )
    pools = f"{words.many(len(result.records), 'pool')} became {kinds}"
    console.print(f"[bold]{title}[/bold]: {pools if result.records else 'no pool was converted'}")
    checks = {check.where: check for check in result.verdict.pools} if result.verdict else {}
    for record, conversion in zip(result.records, result.conversions, strict=True):
        rows = [
            ("input", words.facts(record.facts)),
            ("border", f"{record.border}: {record.reason}"),
            ("plan", words.how(record.scheme, record.form, record.layout, record.gate)),
            ("", words.relus(conversion)),
            *_cost(cost(conversion, record.channels or 1, record.sizes, record.dtype)),
        ]
        if record.folded:
            rows.append(("folded", f"folded into {_safe(', '.join(record.folded))}"))
        check = checks.get(record.where)
        if check is not None:
            rows += _measured(check, verbose=verbose)
        title = words.geometry(record.op_type, record.spec)
        channels = record.channels or None
        print_block(console, record.where, f"{title} on {words.tensor(channels, record.sizes, record.dtype)}", rows)
    print_refusals(console, (*result.refusals, *result.left))
    _print_caveats(console, result.caveats)
    if result.records:
        if result.verdict is not None:
            print_verdict(console, result.verdict, pools=False, verbose=verbose)
        _print_proof(console, result)
        shows = "; depool verify --nonfinite shows what inf and NaN become" if result.model is not None else ""
        console.print(f"for finite input only{shows}")
    else:
        console.print("the file is a copy of the model")
    if result.refusals:
        console.print(f"[yellow]{words.many(len(result.refusals), 'pool')} left as before, see above[/yellow]")
    console.print(f"written: [bold]{_safe(target)}[/bold]", soft_wrap=True)
    if result.verdict is None:
        console.print("[yellow]not verified (--no-verify)[/yellow]")


def _print_proof(console: Console, result: Result) -> None:
    if result.certificate is not None:
        console.print("proved over the reals, from the two files alone (depool prove shows how)")
        for text in result.certificate["hypotheses"][1:]:  # the first is that all values are finite
            console.print(Text(f"  provided that {text}"))
    elif result.unproved:
        console.print(Text(f"not proved over the reals, measured only: {result.unproved}", style="yellow"))


def print_verdict(console: Console, verdict: Verdict, *, pools: bool = True, verbose: bool) -> None:
    """Pools against their promise, outputs as measured, notes, and the sentence that counts."""
    if pools:
        for check in verdict.pools:
            print_block(console, check.where, "", _measured(check, verbose=verbose))
    if verdict.outputs:
        console.print()
        console.print("end to end, as measured")
        console.print(_outputs(verdict.outputs))
    if verdict.special:
        console.print()
        console.print(_special(verdict.special))
    console.print()
    for note in verdict.notes:
        console.print(Text(f"note: {note}", style="yellow"))
    style = {True: "bold green", False: "bold red", None: "bold yellow"}[verdict.equal]
    console.print(Text(verdict.summary, style=style))
    if verdict.counterexample is not None:
        console.print(f"counterexample: {_safe(str(verdict.counterexample))}", soft_wrap=True)


def print_written(console: Console, what: str, path: Path | None) -> None:
    """Another file that the command wrote, if it did."""
    if path is not None:
        console.print(f"{what}: [bold]{_safe(str(path))}[/bold]", soft_wrap=True)


def _print_planned(console: Console, planned: Planned, *, verbose: bool) -> None:
    site, conversion, price = planned.site, planned.conversion, planned.cost
    title = words.geometry(site.node.op_type, site.spec)
    rows = [
        ("input", f"from {planned.preceded_by}; {words.facts(site.facts)}"),
    ]
    if conversion is not None and price is not None:
        rows += [
            ("border", f"{conversion.border.rule}: {conversion.border.reason}"),
            ("plan", words.how(conversion.scheme, conversion.form, conversion.channels, conversion.gate)),
            ("", words.relus(conversion)),
            ("promise", planned.promise),
            *_cost(price),
            ("", f"{words.size(price.activation_bytes)} of activations alive at once"),
        ]
        if price.nominal:
            rows.append(("", f"counted at {'x'.join(map(str, price.sizes))}, since the sizes are dynamic"))
        if verbose:
            rows.append(("nodes", repr(conversion.program)))
        if planned.warning:
            rows.append(("warning", planned.warning))
    if planned.refusal is not None:
        rows += [("refused", f"{planned.refusal.code}: {planned.refusal.reason}"), ("to do", planned.refusal.fix)]
    print_block(console, site.where, f"{title} on {words.tensor(site.channels, site.sizes, site.dtype)}", rows)


def _cost(price: Cost) -> list[tuple[str, str]]:
    parameters = f"{words.count(price.parameters)} parameters ({words.size(price.weight_bytes)})"
    against = f"{words.count(price.macs)} MACs against {words.count(price.comparisons)} comparisons"
    return [("cost", f"{against}, {parameters}")]


def _measured(check: PoolCheck, *, verbose: bool) -> list[tuple[str, str]]:
    rows = [("promise", check.promise)]
    if check.equal is None:
        return [*rows, ("checked", f"NO: {check.note}")]
    if not check.equal:
        return [*rows, ("checked", f"BROKEN: {check.note}")]
    found = check.difference
    if found is None or check.bound == 0:
        rows.append(("checked", f"{check.windows:,} outputs, all identical"))
    else:
        rows.append(("checked", f"{check.windows:,} outputs stay within {check.share:.0%} of the bound"))
        size = f"{found.max_abs:.3g} ({found.max_ulp:.3g} ulp)"
        rows.append(("", f"worst: {size} off {found.expected:.3g}, on input {check.kind!r}"))
    if verbose:
        rows.append(("oracle", check.oracle))
        if found is not None:
            rows.append(("worst at", f"{list(found.index)}: expected {found.expected!r}, got {found.got!r}"))
    return rows


def _outputs(outputs: tuple[OutputCheck, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("output", overflow="fold", ratio=1)
    swaps = any(check.noticed is not None for check in outputs)
    for name in ("difference", "ulps", "tolerance that passes", *(["average pools would give"] if swaps else [])):
        table.add_column(name, justify="right", max_width=13)
    for check in outputs:
        found = check.difference
        swapped = "-" if check.noticed is None else f"{check.swapped:.2g}"
        numbers = [f"{found.max_abs:.3g}", words.count(found.max_ulp), f"{found.tolerance:.2g}"]
        table.add_row(Text(check.name), *numbers, *([swapped] if swaps else []))
    return table


def _special(checks: tuple[SpecialCheck, ...]) -> Table:
    title = "special values; finite input is a condition of every promise"
    table = Table(box=None, pad_edge=False, title=title, title_justify="left", title_style="")
    table.add_column("pool", overflow="fold", ratio=1)
    for name in ("value", "native", "converted", "differ", "promised"):
        table.add_column(name)
    for check in checks:
        differ = f"{check.differ} of {check.outputs}" if check.differ else "none"
        table.add_row(
            Text(check.where), check.value, check.native, check.converted, differ, "yes" if check.promised else "no"
        )
    return table


def print_refusals(console: Console, refusals: tuple[Refusal, ...]) -> None:
    """Each pool that stays, why, and what to do."""
    for refusal in refusals:
        rows = [("left", f"{refusal.code}: {refusal.reason}"), ("to do", refusal.fix)]
        print_block(console, refusal.where, "", rows)


def _print_caveats(console: Console, caveats: tuple[Caveat, ...]) -> None:
    """What the target does with the rest of the model."""
    rows = [("silent" if caveat.silent else "refused", str(caveat)) for caveat in caveats]
    if rows:
        print_block(console, "the target and the rest of the model", "", rows, style="yellow")


def _safe(text: str) -> str:
    from rich.markup import escape

    return escape(str(Path(text)) if text else text)

"""From measurements to a verdict: what decides, in which order, and what is worth a note."""

from __future__ import annotations

from math import isfinite, isinf

from depool.record import Record
from depool.verification.models import EndToEnd, Ranges
from depool.verification.verdict import OutputCheck, PoolCheck


def broken_assumptions(records: tuple[Record, ...], seen: Ranges) -> list[tuple[Record, str]]:
    """Records whose pool met values outside the range that its conversion relies on."""
    found = []
    for record in records:
        facts = record.facts
        low, high = seen.get(record.source, (facts.lower, facts.upper))
        if low < facts.lower or high > facts.upper:
            assumed = f"[{facts.lower:.6g}, {facts.upper:.6g}] ({facts.reason})"
            found.append((record, f"{record.where}: its input reaches [{low:.6g}, {high:.6g}], outside {assumed}"))
    return found


def notes(
    whole: EndToEnd, records: tuple[Record, ...], changes: list[str], checks: tuple[OutputCheck, ...]
) -> tuple[str, ...]:
    """What the user should know besides the verdict."""
    said = list(whole.notes)
    for seen in (whole.ranges, whole.given):
        for record, text in broken_assumptions(records, seen):
            kind = "a broken assumption, not a wrong conversion" if record.facts.declared else "the analysis is wrong"
            said.append(f"{text}: {kind}")
    if changes:
        said.append(f"besides the pools, {len(changes)} things differ, first: {changes[0]}")
    blind = [check.name for check in checks if check.noticed is False]
    if blind:
        said.append(
            f"average pools instead of the max pools would not be noticed at {', '.join(blind)}: "
            "what is known of these outputs rests on the pools' own comparison"
        )
    return tuple(dict.fromkeys(said))


def judge(
    pools: tuple[PoolCheck, ...],
    checks: tuple[OutputCheck, ...],
    whole: EndToEnd,
    changes: list[str],
    records: tuple[Record, ...],
    tolerance: float,
) -> tuple[bool | None, str]:
    """Equal or not, and why; the first reason that decides."""
    bad = [pool for pool in pools if pool.equal is False]
    if bad:
        return False, f"{len(bad)} of {len(pools)} pools break their promise; {bad[0].where}: {bad[0].note}"
    if whole.failed is not None:
        return False, whole.notes[-1]
    outside = [*broken_assumptions(records, whole.ranges), *broken_assumptions(records, whole.given)]
    unlicensed = [text for record, text in outside if not record.facts.declared]
    if unlicensed:
        return False, f"{unlicensed[0]}, which the analysis had excluded"
    if any(c.within is False for c in checks):
        worst = max(checks, key=lambda c: c.difference.tolerance)
        smallest = worst.difference.tolerance
        return False, f"output {worst.name!r} differs; the smallest tolerance that would pass is {smallest:.3g}"
    lost = [c for c in checks if isinf(c.difference.max_abs) and isfinite(c.difference.expected)]
    if lost:
        return False, (
            f"output {lost[0].name!r} is no longer finite on {lost[0].kind}: a pool meets values beyond its promise; "
            "give --input-range if such inputs do not occur"
        )
    open_pools = [pool for pool in pools if pool.equal is None]
    if open_pools:
        return None, f"{open_pools[0].where} could not be run: {open_pools[0].note}"
    if whole.undeclared:
        return None, f"{whole.undeclared}; the conversion promises nothing there"
    if any(record.facts.declared for record, _ in broken_assumptions(records, whole.given or whole.ranges)):
        met = "the given data" if whole.given else "drawn inputs (give real ones with --data FILE)"
        return None, f"{met} lie outside what was declared; the conversion promises nothing there"
    if records and not changes:
        kept = "1 pool keeps its promise" if len(pools) == 1 else f"{len(pools)} pools keep their promise"
        folded = sum(bool(record.folded) for record in records)
        joint = f" ({folded} together with the convolution next to it)" if folded else ""
        return True, f"equal: {kept}{joint}, and nothing else was changed"
    if not checks:
        return None, "nothing could be compared; see the notes"
    return True, f"equal within {tolerance:g} as measured end to end; nothing is promised"

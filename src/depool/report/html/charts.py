"""Two charts: the errors of the verification against their bound, and what a pool costs before and after."""

from __future__ import annotations

from math import log10

from depool.report import words
from depool.report.html.svg import Drawn, picture, tag, text
from depool.verification.histogram import HALVINGS, Histogram

STEP, TALL, LEFT, TOP = 26.0, 110.0, 36.0, 38.0
"""Between columns, of the tallest column, room for the axes' words."""


def errors(key: str, found: Histogram) -> Drawn:
    """Columns of outputs by |difference| / bound, halves of the bound on a logarithmic axis of counts."""
    names = ["0", *(f"1/{2**k}" for k in range(HALVINGS - 1, 0, -1)), "1"]
    counts = [found.identical, *reversed(found.within)]
    if found.beyond:
        names.append(">1")
        counts.append(found.beyond)
    scale = TALL / max(log10(max(counts) + 1), 1)
    base = TOP + TALL
    parts = []
    for power in range(int(TALL / scale) + 1):
        y = base - log10(10**power + 1) * scale
        if y >= TOP - 4:
            parts.append(tag("line", x1=LEFT, x2=LEFT + STEP * len(counts), y1=y, y2=y, class_="grid"))
            parts.append(text(words.count(10**power), LEFT - 5, y + 4, "more", "end"))
    for n, (name, count) in enumerate(zip(names, counts, strict=True)):
        x = LEFT + n * STEP
        height = log10(count + 1) * scale
        kind = "same" if n == 0 else "broken" if name == ">1" else "differs"
        parts.append(tag("rect", x=x + 3, y=base - height, width=STEP - 6, height=height, class_=f"column {kind}"))
        if count:
            parts.append(text(_short(count), x + STEP / 2, base - height - 4, "count"))
        if n % 2 == HALVINGS % 2 or n == 0:  # every other one, and the bound itself
            parts.append(text(name, x + STEP / 2, base + 14, "tick"))
    width = LEFT + STEP * len(counts) + 8
    at = LEFT + STEP * (1 + HALVINGS)
    parts += [
        tag("line", x1=LEFT, x2=LEFT + STEP * len(counts), y1=base, y2=base, class_="axis"),
        tag("line", x1=at, x2=at, y1=TOP - 12, y2=base, class_="limit"),
        text("bound", at - 4, TOP - 4, "more", "end"),
        text("outputs", 0, 12, "more", "start"),
        text("up to this share of the bound", LEFT + STEP * len(counts) / 2, base + 31, "more"),
    ]
    said = "; ".join(
        f"{'identical' if n == 0 else f'share {name}'}: {count:,}"
        for n, (name, count) in enumerate(zip(names, counts, strict=True))
        if count
    )
    title = "Outputs by their difference, as a share of the promised bound"
    return picture(key, title, said, width, base + 38, *parts)


def cost(key: str, rows: list[tuple[str, float]]) -> Drawn:
    """Bars on one scale.

    Args:
        key: of the picture's ids.
        rows: what is counted, and how many there are for one sample.
    """
    largest = max(1, *(number for _, number in rows))
    left, room, height = 92.0, 170.0, 22.0
    parts = []
    for n, (what, number) in enumerate(rows):
        y = 4 + n * height
        length = max(room * number / largest, 1.0)
        parts += [
            text(what, left - 6, y + 13, "more", "end"),
            tag("rect", x=left, y=y + 3, width=length, height=13, rx=2, class_=f"bar b{n}"),
            text(words.count(number), left + length + 5, y + 13.5, "value", "start"),
        ]
    said = "; ".join(f"{what}: {number:,.0f}" for what, number in rows)
    return picture(key, "Operations for one sample", said, left + room + 60, 8 + height * len(rows), *parts)


def _short(count: int) -> str:
    return str(count) if count < 1000 else words.count(float(f"{count:.2g}")).replace(" ", "")

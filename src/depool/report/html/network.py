"""Boxes as a small graph: layers from top to bottom, long edges led around what lies between.

A box stands one layer below the lowest that it reads. An edge over several layers gets a waypoint in each; boxes
and waypoints of a layer are ordered by the mean place of what they read, which keeps crossings few.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from depool.report.html.boxes import Box
from depool.report.html.svg import Drawn, picture, tag, text

WIDTH, GAP, WAY = 152.0, 16.0, 18.0
"""Of a box, between neighbours, of a waypoint."""
LINE, ROW, CELL = 15.0, 28.0, 11.0
"""Between lines of text, between layers, of a kernel's cell."""
MARGIN = 6.0


@dataclass
class Spot:
    """A box or a waypoint in its place; x is its middle, y its top."""

    box: Box | None
    above: list[int]
    layer: int
    x: float = 0.0
    y: float = 0.0

    @property
    def width(self) -> float:
        """In pixels."""
        return WIDTH if self.box is not None else WAY

    @property
    def height(self) -> float:
        """In pixels."""
        if self.box is None:
            return 0.0
        rows = 0.0 if self.box.kernel is None else self.box.kernel.shape[2] * CELL + 5
        return 12 + LINE * (1 + len(self.box.lines)) + rows


def network(key: str, title: str, boxes: list[Box]) -> Drawn:
    """The picture of a graph.

    Args:
        key: of the picture's ids.
        title: of the picture.
        boxes: each reads only earlier ones.
    """
    spots = _spots(boxes)
    layers = _ordered(spots)
    width = max(sum(spots[i].width for i in layer) + GAP * (len(layer) - 1) for layer in layers)
    y = MARGIN
    for layer in layers:
        tall = max(spots[i].height for i in layer)
        taken = sum(spots[i].width for i in layer) + GAP * (len(layer) - 1)
        x = MARGIN + (width - taken) / 2
        for i in layer:
            spot = spots[i]
            spot.x, spot.y = x + spot.width / 2, y + (tall - spot.height) / 2
            x += spot.width + GAP
        y += tall + ROW
    _straighten(layers, spots, width)
    edges = [_edge(spots[above], spot) for spot in spots for above in spot.above]
    drawn = [_drawn(spot, spot.box) for spot in spots if spot.box is not None]
    said = "; ".join(
        f"{n}: {box.sentence}" + (f", reads {', '.join(str(r) for r in box.reads)}" if box.reads else "")
        for n, box in enumerate(boxes)
    )
    return picture(key, title, said, width + 2 * MARGIN, y - ROW + MARGIN, *edges, *drawn)


def _spots(boxes: list[Box]) -> list[Spot]:
    spots: list[Spot] = []
    place: list[int] = []
    for box in boxes:
        layer = 1 + max((spots[place[r]].layer for r in box.reads), default=-1)
        above = []
        for r in dict.fromkeys(box.reads):
            last = place[r]
            for between in range(spots[last].layer + 1, layer):
                spots.append(Spot(None, [last], between))
                last = len(spots) - 1
            above.append(last)
        spots.append(Spot(box, above, layer))
        place.append(len(spots) - 1)
    return spots


def _ordered(spots: list[Spot]) -> list[list[int]]:
    layers: list[list[int]] = [[] for _ in range(1 + max(spot.layer for spot in spots))]
    for i, spot in enumerate(spots):
        layers[spot.layer].append(i)
    place: dict[int, float] = {}
    for layer in layers:
        means = {i: _mean([place[a] for a in spots[i].above]) for i in layer}
        layer.sort(key=lambda i: (means[i], i))
        for n, i in enumerate(layer):
            place[i] = (n + 0.5) / len(layer)
    return layers


def _straighten(layers: list[list[int]], spots: list[Spot], width: float) -> None:
    """Move what stands alone in its layer under what it reads."""
    for layer in layers:
        if len(layer) == 1:
            spot = spots[layer[0]]
            wanted = _mean([spots[a].x for a in spot.above])
            half = spot.width / 2
            spot.x = min(max(wanted, MARGIN + half), MARGIN + width - half) if isfinite(wanted) else spot.x


def _mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers) if numbers else float("nan")


def _edge(above: Spot, below: Spot) -> Drawn:
    x1, y1, x2, y2 = above.x, above.y + above.height, below.x, below.y
    middle = (y1 + y2) / 2
    path = f"M{x1:g},{y1:g} C{x1:g},{middle:g} {x2:g},{middle:g} {x2:g},{y2:g}"
    end = {"marker_end": "url(#arrow)"} if below.box is not None else {}
    return tag("path", d=path, class_="edge", **end)


def _drawn(spot: Spot, box: Box) -> Drawn:
    left = spot.x - WIDTH / 2
    round_ = {"tensor": 14.0, "join": 8.0}.get(box.kind, 4.0)
    parts = [
        tag("rect", x=left, y=spot.y, width=WIDTH, height=spot.height, rx=round_, class_="box"),
        text(box.title, spot.x, spot.y + LINE + 3, "name"),
        *(text(line, spot.x, spot.y + LINE * (n + 2) + 3, "more") for n, line in enumerate(box.lines)),
    ]
    if box.kernel is not None:
        parts += _kernels(box, spot.x, spot.y + 10 + LINE * (1 + len(box.lines)))
    return tag("g", *parts, class_=box.kind)


def _kernels(box: Box, middle: float, top: float) -> list[Drawn]:
    """One square per weight: what is added has a plus, what is subtracted a minus, other weights their number."""
    kernel = box.kernel
    if kernel is None:
        return []
    out, into, rows, columns = kernel.shape
    step = (columns + 1) * CELL
    x = middle - (out * into * step - CELL) / 2
    parts = []
    for m in range(out * into):
        taps = kernel.reshape(-1, rows, columns)[m]
        for r in range(rows):
            for c in range(columns):
                weight = float(taps[r, c])
                at = x + m * step + c * CELL, top + r * CELL
                sign = "zero" if weight == 0 else "plus" if weight > 0 else "minus"
                parts.append(tag("rect", x=at[0], y=at[1], width=CELL - 1, height=CELL - 1, class_=f"tap {sign}"))
                if weight:
                    glyph = {1.0: "+", -1.0: "−"}.get(weight, "·")
                    parts.append(text(glyph, at[0] + CELL / 2 - 0.5, at[1] + CELL - 2.5, "glyph"))
    return parts
